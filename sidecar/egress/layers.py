"""mitmproxy's HTTP layers with our edges: no request body past its cap, failures as JSON, streams that cannot fail
open, WebSocket relayed as it comes. Importing this module puts them, and those of `wire.py`, in place of mitmproxy's.

The layers are generators without I/O: what they yield, `connection.py` does. Nothing here decides on policy.
"""

# mitmproxy, h2 and wsproto are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportPrivateImportUsage=false, reportPrivateUsage=false

import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, cast

from mitmproxy import flow as mflow
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.http import Request, Response
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers import http as engine
from mitmproxy.proxy.layers.http import _http1, _http2
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestProtocolError,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook

from sidecar.egress import answers
from sidecar.egress.exchange import Exchange, Source, exchange_of, refusal_response, refuse
from sidecar.egress.refusal import Refusal
from sidecar.egress.websocket import Relay
from sidecar.egress.wire import (
    MALFORMED,
    MAX_DISCARD,
    Back1,
    Back2,
    Body,
    Front1,
    Front2,
    Hello,
    Hold,
    Quiet,
    Rest,
    edge_of,
    error_response,
)

MAX_KEPT_CONNECTIONS = 32
MAX_DROPPED = 16 * 1024
"""Bytes of a refused request's body that are kept to look at."""
DIAL = "dial:"
"""Marks an error text as `dial:<code>:<reason>` from our own dialler; any other comes from TLS."""
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} ")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_CONTINUE = "100-continue"
_TOO_LARGE = "a body larger than {} bytes cannot be inspected"
_CHECK_FAILED = "a check of the response failed"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""They announce an empty body too (RFC 9110 8.6)."""

type Commands = Generator[commands.Command, Any]


class NextPiece(commands.Command):
    """Asks for the next piece of an answer that is made in this process. `reply` is None where that failed."""

    blocking = True

    def __init__(self, source: Source) -> None:
        self.source = source


@dataclass(repr=False)
class NextPieceCompleted(events.CommandCompleted):
    command: NextPiece  # pyright: ignore[reportIncompatibleVariableOverride]  (as mitmproxy does itself)
    reply: Response | bytes | None


class Stream(engine.HttpStream):
    """One request and its response."""

    _waits_for_100 = False
    """The client holds its body back until it is told to go on."""

    def __init__(self, ctx: context.Context, stream_id: int) -> None:
        super().__init__(ctx, stream_id)
        self.request_body_buf = Body()

    @property
    def exchange(self) -> Exchange:
        return exchange_of(self.flow)

    def handle_event(self, event: events.Event) -> Commands:
        if self._paused and isinstance(event, RequestProtocolError) and self.exchange.on_left is not None:
            # this layer would only look at it after the check that is being waited for
            self.exchange.on_left()
        yield from super().handle_event(event)

    _came = 0
    """Pieces of the answer so far."""
    _waking = False

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            yield from self._woken(event)
            return
        edge_of(self.context).touch()
        yield from super()._handle_event(event)

    def _hold(self) -> Commands:
        """Come back to what waits for the next piece of the answer."""
        answer = self.exchange.answer
        if answer is not None and answer.holding and not self._waking:
            self._waking = True
            yield Hold(self._came)

    def _woken(self, event: events.Wakeup) -> Commands:
        self._waking = False
        if self.server_state != self.state_stream_response_body or not isinstance(event.command, Hold):
            return
        if event.command.came == self._came and self.flow.response is not None:
            try:
                yield from self._go_on()
            except Exception:
                yield from self.cut(_CHECK_FAILED)
                return
        yield from self._hold()

    def _go_on(self) -> Commands:
        """Pass on what needs nothing more of the upstream's."""
        assert self.flow.response is not None
        for piece in cast(Any, self.flow.response.stream)(None):
            yield engine.SendHttp(engine.ResponseData(self.stream_id, piece), self.context.client)

    def _unpack(self) -> Commands:
        """The rest of what came, a turn each: a small piece may hold very much, or cost it. One turn brings thousands
        of pieces where they are of a letter each."""
        while self.exchange.packed or edge_of(self.context).long_turn():
            yield Rest()
            if any(isinstance(event, RequestProtocolError) for event in self._paused_event_queue):
                return  # its client is gone
            if self.exchange.packed:
                yield from self._go_on()

    def state_wait_for_request_headers(self, event: engine.RequestHeaders) -> Commands:
        if event.request.http_version == "HTTP/1.0" and event.request.headers.get("expect", "").lower() == _CONTINUE:
            del event.request.headers["expect"]  # such a client takes a 100 for its answer (RFC 9110 10.1.1)
        self._waits_for_100 = "expect" in event.request.headers and not event.end_stream
        yield from super().state_wait_for_request_headers(event)
        if self._waits_for_100 and self.client_state == self.state_consume_request_body and self.flow.response:
            # the final answer comes in place of the 100, and the body may follow it or not (RFC 9110 10.1.1)
            yield from self.state_consume_request_body(engine.RequestEndOfMessage(self.stream_id))

    def state_consume_request_body(self, event: events.Event) -> Commands:
        if isinstance(event, RequestData):
            yield from self._take_body(event.data)
        else:
            yield from super().state_consume_request_body(event)

    def _take_body(self, data: bytes) -> Commands:
        exchange = self.exchange
        exchange.bytes_up += len(data)
        if self.flow.response is not None:
            self._drop([data])
            if exchange.bytes_up > MAX_DISCARD:
                yield from self.cut("the body of a refused request does not end")
            return
        if exchange.intake is not None:
            if exchange.bytes_up > 4 * MAX_DISCARD:
                yield from self.cut("the body of a request does not end")
            else:
                exchange.intake.take(data)
            return
        limit = exchange.route.max_body if exchange.route is not None else exchange.max_body
        if exchange.bytes_up > limit or not edge_of(self.context).room_for(len(data)):
            self._drop([*self.request_body_buf._chunks, data])
            self.request_body_buf.clear()
            refuse(self.flow, "body_too_large", _TOO_LARGE.format(limit))
            return
        exchange.buffered += len(data)
        self.request_body_buf += data

    def _drop(self, chunks: list[bytes]) -> None:
        """Of what nobody reads, the beginning is kept: the canary may stand in it."""
        exchange = self.exchange
        for chunk in chunks:
            begins = chunk[: MAX_DROPPED - len(exchange.dropped)]
            if not begins or not edge_of(self.context).room_for(len(begins)):
                return
            exchange.buffered += len(begins)
            exchange.dropped += begins

    def check_body_size(self, request: bool) -> Generator[commands.Command, Any, bool]:
        yield from ()
        return False

    def make_server_connection(self) -> Generator[commands.Command, Any, bool]:
        if self.exchange.source is not None:
            yield from self._answer(self.exchange.source)
            return False
        request = self.flow.request
        wanted = engine.GetHttpConnection((request.host, request.port), request.scheme == "https", None, "tcp")
        connection, error = yield wanted
        if error:
            yield from self._upstream_failed(*_read_error(error))
            return False
        if (yield from self.check_killed(True)):
            # the client left while we dialled; on HTTP/1 nobody else may use what stands now
            if connection.alpn != b"h2":
                yield commands.CloseConnection(connection)
            return False
        self.context.server = self.flow.server_conn = connection
        _frame(self.flow.request)
        self.exchange.socket_nonce = answers.own_nonce(self.flow.request)
        self.exchange.sent = True
        return True

    def _answer(self, source: Source) -> Commands:
        """Pass on what `source` gives, as it comes. Events of the client wait meanwhile: its end comes by `close`."""
        head = yield NextPiece(source)
        if not isinstance(head, Response):
            yield from self.cut("an answer of the sidecar's own failed")
            return
        self.flow.response = head
        yield engine.SendHttp(engine.ResponseHeaders(self.stream_id, head, end_stream=False), self.context.client)
        while piece := (yield NextPiece(source)):
            yield engine.SendHttp(engine.ResponseData(self.stream_id, piece), self.context.client)
        if piece is None:
            yield from self.cut("an answer of the sidecar's own failed")
            return
        yield from self.send_response(already_streamed=True)

    def check_invalid(self, request: bool) -> Generator[commands.Command, Any, bool]:
        if request:
            return (yield from super().check_invalid(True))
        assert self.flow.response is not None
        problem = answers.mend(self.flow.request, self.flow.response)
        answers.answer_nonce(self.flow.request, self.flow.response, self.exchange.socket_nonce)
        if not problem and self.exchange.inspects:
            problem = answers.unreadable(self.flow.request, self.flow.response)
        if problem:
            # not a half of it more: on HTTP/2 the stream is all that ends
            if self.flow.server_conn.alpn == b"h2":
                reset = RequestProtocolError(self.stream_id, problem, ErrorCode.CANCEL)
                yield engine.SendHttp(reset, self.context.server)
            else:
                yield commands.CloseConnection(self.flow.server_conn)
            yield from self._upstream_failed("upstream_failed", problem)
            self.server_state = self.state_errored
        return bool(problem)

    def check_killed(self, emit_error_hook: bool) -> Generator[commands.Command, Any, bool]:
        for event in self._paused_event_queue:
            self._note_end(event)
        killed = yield from super().check_killed(emit_error_hook)
        if killed and self.exchange.sent:
            yield engine.SendHttp(RequestProtocolError(self.stream_id, "killed", ErrorCode.CANCEL), self.context.server)
        if not killed and self.client_state == self.state_wait_for_request_headers and self._waits_for_100:
            self._refuse_uninvited()
        return killed

    def _refuse_uninvited(self) -> None:
        """Once the head is judged: nobody is told to go on with a body that will be of no use."""
        exchange, headers = self.exchange, self.flow.request.headers
        limit = exchange.route.max_body if exchange.route is not None else exchange.max_body
        length = headers.get("content-length", "")
        if exchange.intake is None and length.isdecimal() and int(length[:20]) > limit:
            refuse(self.flow, "body_too_large", _TOO_LARGE.format(limit))
        if self.flow.response is not None:
            headers.pop("expect", None)  # it is this that mitmproxy answers with a 100
            if not self.flow.request.is_http2:
                self.flow.response.headers["connection"] = "close"

    def _note_end(self, event: events.Event) -> None:
        """Which side broke it off, where one did."""
        if self.exchange.ended_by:
            return
        if isinstance(event, ResponseProtocolError):
            self.exchange.ended_by = "upstream"
        elif isinstance(event, RequestProtocolError) and event.code is not MALFORMED:
            self.exchange.ended_by = "client"

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        self._note_end(event)
        before_headers = self.server_state == self.state_wait_for_response_headers
        if isinstance(event, ResponseProtocolError) and before_headers and self.client_state == self.state_done:
            yield from self._upstream_failed("upstream_failed", event.message.partition(":")[0])
        else:
            yield from super().handle_protocol_error(event)

    def state_stream_response_body(self, event: events.Event) -> Commands:
        if isinstance(event, ResponseTrailers):
            event.trailers = answers.trailers(event.trailers)
        try:
            yield from super().state_stream_response_body(event)
            if self.server_state == self.state_stream_response_body:
                yield from self._unpack()
        except Exception:
            yield from self.cut(_CHECK_FAILED)
            return
        self._came += 1
        if self.server_state == self.state_stream_response_body:
            yield from self._hold()

    def send_response(self, already_streamed: bool = False) -> Commands:
        if self.flow.request.data.method == b"HEAD" and self.flow.response is not None:
            # told as it would be, without it (RFC 9110 9.3.2): a client would take it for the next answer
            self.flow.response.data.content = b""
        yield from super().send_response(already_streamed)

    def flow_done(self) -> Commands:
        if self.flow.websocket is None:
            yield from super().flow_done()
            return
        self.child_layer = Relay(self.context, self.flow)
        self._handle_event = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield engine.SendHttp(engine.ResponseEndOfMessage(self.stream_id), self.context.client)

    def cut(self, reason: str) -> Commands:
        """Kill this flow on both sides, in the middle of whatever it was doing."""
        self.flow.error = mflow.Error(mflow.Error.KILLED_MESSAGE)
        yield HttpErrorHook(self.flow)
        if self.exchange.sent:
            yield engine.SendHttp(RequestProtocolError(self.stream_id, reason, ErrorCode.CANCEL), self.context.server)
        yield engine.SendHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.KILL), self.context.client)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        yield engine.DropStream(self.stream_id)

    def _upstream_failed(self, code: str, reason: str) -> Commands:
        """Tell the client, in our words, that the upstream did not answer."""
        exchange = self.exchange
        exchange.refusal = Refusal(code, reason, exchange.host)
        self.flow.response = refusal_response(exchange.refusal, self.flow.request)
        self.flow.response.timestamp_start = time.time()
        yield from self.send_response()


def _frame(request: Request) -> None:
    """Say how long the body is: it is all here. What the client said (chunks, HTTP/2's frames) was for the way to us,
    and an upstream that speaks another protocol would take an unannounced body for the next request."""
    content = request.raw_content or b""
    chunked = request.headers.pop("transfer-encoding", None) is not None
    if content or chunked or "content-length" in request.headers or request.method in _WITH_BODY:
        request.headers["content-length"] = str(len(content))


def _read_error(error: str) -> tuple[str, str]:
    if error.startswith(DIAL):
        _, code, reason = error.split(":", 2)
        return code, reason
    return "upstream_tls", error[:300]


class Http(engine.HttpLayer):
    """All streams of one client connection; forgets upstream connections that are long closed."""

    def make_stream(self, stream_id: int) -> Commands:
        if len(self.connections) > MAX_KEPT_CONNECTIONS:
            self._forget_closed()
        yield from super().make_stream(stream_id)

    def _forget_closed(self) -> None:
        busy = {id(command_layer) for command_layer in self.command_sources.values()}
        for connection, child in list(self.connections.items()):
            over = connection.state is ConnectionState.CLOSED and connection.timestamp_end is not None
            waiting = connection in self.waiting_for_establishment or id(child) in busy
            if over and not waiting and connection is not self.context.client:
                del self.connections[connection]

    def get_connection(self, event: engine.GetHttpConnection, *, reuse: bool = True) -> Commands:
        for connection in [*self.connections]:
            if not isinstance(connection, Server) or connection in self.waiting_for_establishment:
                continue
            if connection.error and not connection.connected:
                # mitmproxy answers with an old failure for as long as the client's connection lives
                del self.connections[connection]
            elif connection.connected and edge_of(self.context).forgotten(connection):
                yield commands.CloseConnection(connection)
        yield from super().get_connection(event, reuse=reuse)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.ConnectionEvent) and event.connection not in self.connections:
            known = event.connection == self.context.server
            if not known:
                return
        yield from super()._handle_event(event)


class Closed(layer.Layer):
    """What neither HTTP nor TLS gets."""

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


def choose(asked: layer.NextLayer) -> None:
    """Set what follows a CONNECT or a TLS handshake: TLS, HTTP, or nothing."""
    ctx, data = asked.context, asked.data_client()
    if ctx.client.tls:
        if ctx.client.alpn in (b"h2", b"http/1.1") or _METHOD.match(data):
            asked.layer = Http(ctx, engine.HTTPMode.transparent)
            return
    elif len(data) < 3:
        return
    elif starts_like_tls_record(data):
        ctx.server.tls = True
        asked.layer = Hello(ctx)
        return
    elif _METHOD.match(data):
        asked.layer = Http(ctx, engine.HTTPMode.transparent)
        return
    if len(data) > 32 or not _TOKEN.fullmatch(data):
        asked.layer = Closed(ctx)


def closed(ctx: context.Context) -> layer.Layer:
    return Closed(ctx)


# mitmproxy makes these by their module's names; there is no other seam (12.3: mitmproxy/proxy/layers/http/__init__.py)
_seams: Any = engine
_seams.HttpStream = Stream
_seams.Http1Server = Front1
_seams.Http2Server = Front2
_seams.Http1Client = Back1
_seams.Http2Client = Back2
cast(Any, _http1).make_error_response = error_response
cast(Any, _http2).BufferedH2Connection = Quiet
