"""Both ends of the wire: mitmproxy's parsers of HTTP/1, HTTP/2 and TLS hellos, with bounds where they have none, and
nothing passed on that two readers could understand differently.

Generators without I/O, as all layers. Nothing here decides on policy.
"""

# mitmproxy, h2 and wsproto are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportPrivateImportUsage=false, reportPrivateUsage=false

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import h2.connection
import h2.errors
import h2.events
from h2.exceptions import ProtocolError
from h2.frame_buffer import FrameBuffer
from h11._receivebuffer import ReceiveBuffer as Buffer
from hpack import Encoder
from hpack.table import HeaderTable
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers import http as engine
from mitmproxy.proxy.layers.http import _http1, _http2
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError, ResponseProtocolError
from mitmproxy.proxy.layers.http._http2 import StreamState
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection
from mitmproxy.proxy.layers.tls import ClientTLSLayer
from mitmproxy.proxy.utils import ReceiveBuffer

from sidecar.egress.exchange import refusal_response
from sidecar.egress.limits import Bucket, Limits
from sidecar.egress.refusal import Refusal

MAX_HEAD = 256 * 1024
"""Bytes of a request's or response's head. The largest real ones (cookies, CSP) stay below 100 KiB."""
MAX_PARTIAL = 64 * 1024
"""Bytes of a chunk's first line, or of trailers, before they must end."""
MAX_DISCARD = 1024 * 1024 * 1024
"""A refused request's body is read and dropped, so that the client gets to read its answer; not for ever."""
MAX_HELLO = 32 * 1024
"""Bytes of a TLS hello: post-quantum key shares and encrypted ones stay below 4 KiB."""
MAX_HELLO_RECORDS = 32
"""Records that a hello may come in; each makes mitmproxy read all from the start."""
HOLD_SECONDS = 1.0
"""What ends in what may begin a credential waits no longer for what comes next: the agent may be waiting for it before
it says anything more."""
SMALL, TOGETHER = 4 * 1024, 64 * 1024
"""Bytes of a piece of a request's body that is kept by itself, and of the smaller ones that are put together."""
ITEM_BYTES = 128
"""What a piece of a response costs while it waits, beside its bytes."""
MALFORMED = ErrorCode.REQUEST_VALIDATION_FAILED
"""Of a request that ends here for what the client sent. mitmproxy has one code for that and for a client that left."""
_EMPTY_LINES = re.compile(rb"(?:\r?\n)+")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}")

type Commands = Generator[commands.Command, Any]


class Hold(commands.RequestWakeup):
    """Asks to be woken when what waits has waited long enough; `came`: what had come by then."""

    def __init__(self, came: int) -> None:
        super().__init__(HOLD_SECONDS)
        self.came = came


class Rest(commands.Command):
    """Lets the client take what there is, and others have their turn, before this stream goes on."""

    blocking = True


@dataclass(repr=False)
class RestCompleted(events.CommandCompleted):
    command: Rest  # pyright: ignore[reportIncompatibleVariableOverride]  (as mitmproxy does itself)
    reply: None = None


class EdgeConnection(Protocol):
    """What layers need of the connection they belong to (`connection.py`)."""

    front: "Front2 | None"
    limits: Limits

    def room_for(self, size: int) -> bool: ...
    def touch(self) -> None: ...
    def long_turn(self) -> bool: ...
    def forgotten(self, connection: Connection) -> bool: ...


def edge_of(ctx: context.Context) -> EdgeConnection:
    return cast(EdgeConnection, getattr(ctx.client, "edge"))  # noqa: B009  (set by our connection, unknown to the type)


def error_response(status: int, message: str = "") -> bytes:
    """The whole answer to what is no proper request, in the shape of all our refusals."""
    code = {502: "upstream_failed", 413: "body_too_large", 431: "headers_too_large"}.get(status, "bad_request")
    response = refusal_response(Refusal(code, message))
    response.status_code = status
    response.headers["connection"] = "close"
    return http1.assemble_response(response)


class Body(ReceiveBuffer):
    """A request's body as it comes. Small pieces are put together: of two bytes each, they would take forty times what
    they hold, and joining the millions of one body would stop everything for seconds."""

    def __iadd__(self, other: bytes) -> "Body":
        last = self._chunks[-1] if self._chunks else None
        if len(other) >= SMALL:
            self._chunks.append(other)
        elif isinstance(last, bytearray) and len(last) < TOGETHER:
            last += other
        else:
            cast(list[Any], self._chunks).append(bytearray(other))
        self._len += len(other)
        return self


def _head_too_large(buffer: Buffer) -> bool:
    return len(buffer) > MAX_HEAD and bytes(buffer).find(b"\r\n\r\n", 0, MAX_HEAD) < 0


def _first(buffer: Buffer) -> bytes:
    """How it begins. All of it would be copied whenever some comes."""
    return bytes(buffer._data[:12])


class Front1(_http1.Http1Server):
    """HTTP/1 towards the agent."""

    _behind = 0
    """Bytes of a body that came behind its answer."""

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        if isinstance(event, events.DataReceived):
            # an empty line before a request means nothing (RFC 9112 2.2), but would hold up what follows it
            if _EMPTY_LINES.match(_first(self.buf)) and (empty := _EMPTY_LINES.match(bytes(self.buf))):
                # all at once: each by itself would copy what is behind it
                self.buf.maybe_extract_at_most(empty.end())
            if _head_too_large(self.buf):
                yield commands.SendData(self.conn, error_response(431, f"a head larger than {MAX_HEAD} bytes"))
                yield commands.CloseConnection(self.conn)
                self.state = self.done
                return
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> Commands:
        if self.response_done and isinstance(event, events.DataReceived):
            self._behind += len(event.data)
            if self._behind > MAX_DISCARD:
                yield from self._broken("the body of a refused request does not end")
                return
        closing: list[commands.Command] = []
        try:
            for command in super().read_body(event):
                if isinstance(command, commands.CloseConnection):
                    closing.append(command)
                elif isinstance(event, events.DataReceived) and _tells_fault(command):
                    # mitmproxy only closes; not its words: they quote what was sent
                    yield from self._broken("the chunks of the body are not well-formed")
                    return
                else:
                    yield command
        except NotImplementedError:  # mitmproxy's way to say that there were trailers
            yield from self._broken("trailers in requests are not passed on")
            return
        yield from closing
        if self.state == self.read_body and len(self.buf) > MAX_PARTIAL:
            yield from self._broken("a chunk's head that does not end")

    def wait(self, event: events.Event) -> Commands:
        if isinstance(event, events.DataReceived) and len(self.buf) > MAX_HEAD:
            yield from self._broken("too much was sent before the answer")
            return
        yield from super().wait(event)

    def _broken(self, why: str) -> Commands:
        self.state = self.done
        if self.response is None:
            yield commands.SendData(self.conn, error_response(400, why))
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(RequestProtocolError(self.stream_id, why, MALFORMED))


def _tells_fault(command: commands.Command) -> bool:
    return isinstance(command, ReceiveHttp) and isinstance(command.event, RequestProtocolError)


class Frames(FrameBuffer):
    """h2's buffer of incoming frames, with bounds before anything is kept or decoded."""

    def __next__(self) -> Frame:
        if len(self._data) >= 9:
            # h2 looks at the length once the frame is here, up to 16 MB
            self._validate_frame_length(int.from_bytes(self._data[:3], "big"))
        return super().__next__()

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        found = super()._update_header_buffer(f)
        # decoding takes 0.3 s a megabyte, and h2 would let 8 through
        parts = [found] if isinstance(found, HeadersFrame) else self._headers_buffer
        if sum(len(part.data) for part in parts) > MAX_HEAD:
            raise ProtocolError("a header block that is too large")
        return found


class BoundedEncoder(Encoder):
    """hpack's, with a table no larger than the usual one, whatever the peer allows (RFC 7541 4.2): it is searched from
    end to end for every field that is sent."""

    @property
    def header_table_size(self) -> int:
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        cast(Any, Encoder.header_table_size).fset(self, min(value, HeaderTable.DEFAULT_SIZE))


@dataclass(kw_only=True)
class Leaving(h2.events.Event):
    """A server takes no more requests on this connection, and answers those up to `last` (RFC 9113 6.8)."""

    last: int


class Quiet(BufferedH2Connection):
    """mitmproxy's, which answers nothing on a stream that is closed (RFC 9113 5.1). h2 would send a reset for each
    frame that still comes, and all of them would be kept for a peer that does not read. And to h2 any GOAWAY is the
    end of the connection."""

    _silent = 0
    """The stream that is not answered now."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        if self.config.client_side and frame.error_code == h2.errors.ErrorCodes.NO_ERROR:
            return [], [Leaving(last=frame.last_stream_id)]
        return super()._receive_goaway_frame(frame)

    def _receive_frame(self, frame: Frame) -> list[h2.events.Event]:
        self._silent = 0 if self._stream_closed_by(frame.stream_id) is None else frame.stream_id
        try:
            return super()._receive_frame(frame)
        finally:
            self._silent = 0

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        if self._silent:
            frames = [frame for frame in frames if frame.stream_id != self._silent]
        super()._prepare_for_sending(frames)


class _Frames(_http2.Http2Connection):
    """What both sides of HTTP/2 have in common: frames that are free to send are not free to send without end."""

    def __init__(self, ctx: context.Context, *args: Any) -> None:
        super().__init__(ctx, *args)
        self.h2_conn.incoming_buffer = Frames(server=not self.h2_conf.client_side)
        self.h2_conn.encoder = BoundedEncoder()
        limits = edge_of(ctx).limits
        self._control = Bucket(limits.control_burst, limits.control_rate)

    def handle_h2_event(self, event: h2.events.Event) -> Generator[commands.Command, Any, bool]:
        control = (h2.events.StreamReset, h2.events.PingReceived, h2.events.RemoteSettingsChanged)
        if isinstance(event, control) and not self._control.take():
            yield from self.protocol_error(
                "too many frames that ask for nothing", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            )
            return True
        return (yield from super().handle_h2_event(event))


class Front2(_Frames, _http2.Http2Server):
    """HTTP/2 towards the agent."""

    def __init__(self, ctx: context.Context) -> None:
        super().__init__(ctx)
        edge_of(ctx).front = self

    def waiting_bytes(self) -> int:
        """What response bytes that the client's flow control holds back cost us."""
        buffers = self.h2_conn.stream_buffers
        return sum(len(item.data) + ITEM_BYTES for queue in buffers.values() for item in queue)

    def handle_h2_event(self, event: h2.events.Event) -> Generator[commands.Command, Any, bool]:
        stops = yield from super().handle_h2_event(event)
        if isinstance(event, h2.events.StreamEnded):
            # where the stream's reset or the connection's end came with it, mitmproxy forgets it, and would go on
            self.streams.setdefault(event.stream_id, StreamState.HEADERS_RECEIVED)
        return stops

    def protocol_error(self, message: str, error_code: int = h2.errors.ErrorCodes.PROTOCOL_ERROR) -> Commands:
        for command in super().protocol_error(message, error_code):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestProtocolError):
                command.event.code = MALFORMED
            yield command

    def _handle_event(self, event: events.Event) -> Commands:
        status = event.code.http_status_code() if isinstance(event, ResponseProtocolError) else None
        if isinstance(event, ResponseProtocolError) and status is not None and self._may_answer(event.stream_id):
            response = refusal_response(Refusal("upstream_failed" if status == 502 else "bad_request", event.message))
            content = response.raw_content or b""
            headers = [(b":status", b"%d" % status), (b"content-type", b"application/json")]
            self.h2_conn.send_headers(event.stream_id, headers)
            self.h2_conn.send_data(event.stream_id, content, end_stream=True)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
        else:
            yield from super()._handle_event(event)
            if isinstance(event, engine.ResponseEndOfMessage):
                yield from self._end(event.stream_id)

    def _end(self, stream_id: int) -> Commands:
        """After a whole answer: a body that is still to come is not wanted (RFC 9113 8.1)."""
        if not self.is_closed(stream_id) and not self.is_open_for_us(stream_id):
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
            self.streams.pop(stream_id, None)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def _may_answer(self, stream_id: int) -> bool:
        if not self.is_open_for_us(stream_id):
            return False
        stream = cast(h2.connection.H2Connection, self.h2_conn).streams[stream_id]
        return not stream.state_machine.headers_sent


class Back1(_http1.Http1Client):
    """HTTP/1 towards the upstream. Interim answers (100, 103 …) end here: mitmproxy takes them for the final one."""

    _interim = 0
    """Bytes of interim answers to the present request."""

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        waits = isinstance(event, events.DataReceived) and self.request is not None
        if waits and (problem := self._skip_interim()):
            yield from self._broken(problem)
            return
        yield from super().read_headers(event)
        if self.request is None or self.response is not None:
            self._interim = 0

    def _skip_interim(self) -> str:
        """Take interim answers off; returns what is wrong with the head behind them, as far as it is here."""
        before = len(self.buf)
        while _INTERIM.match(_first(self.buf)) and self.buf.maybe_extract_lines():
            continue
        self._interim += before - len(self.buf)
        if self._interim > MAX_HEAD:
            return "the server sent too many interim answers"
        if _EMPTY_LINES.match(_first(self.buf)):
            # tolerated before a request alone (RFC 9112 2.2); mitmproxy would wait for a head that is here
            return "the server's answer begins with an empty line"
        return "the server sent too large headers" if _head_too_large(self.buf) else ""

    def read_body(self, event: events.Event) -> Commands:
        try:
            yield from super().read_body(event)
        except NotImplementedError:  # trailers: they may be left out (RFC 9110 6.5.1)
            assert self.stream_id is not None
            yield ReceiveHttp(engine.ResponseEndOfMessage(self.stream_id))
            yield from self.mark_done(response=True)
            return
        if self.state == self.read_body and len(self.buf) > MAX_PARTIAL:
            yield from self._broken("the server sent a chunk's head that does not end")

    def _broken(self, why: str) -> Commands:
        assert self.stream_id is not None
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(ResponseProtocolError(self.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))


class Back2(_Frames, _http2.Http2Client):
    """HTTP/2 towards the upstream."""

    _over = ""
    """Why no request is sent here any more."""

    def __init__(self, ctx: context.Context) -> None:
        super().__init__(ctx)
        self._unsent: list[int] = []

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, RequestProtocolError) and self.stream_queue.pop(event.stream_id, None):
            return  # its client has left, or it was ended here: mitmproxy would send both, once there is a free stream
        yield from super()._handle_event(event)
        while self._unsent:
            yield ReceiveHttp(ResponseProtocolError(self._unsent.pop(0), self._over, self.ReceiveProtocolError.code))
        if self._over and self.conn.state & ConnectionState.CAN_READ and not self.h2_conn.open_outbound_streams:
            yield commands.CloseConnection(self.conn)

    def handle_h2_event(self, event: h2.events.Event) -> Generator[commands.Command, Any, bool]:
        if not isinstance(event, Leaving):
            return (yield from super().handle_h2_event(event))
        self._take_no_more("the server takes no more requests on this connection")
        self.conn.state &= ~ConnectionState.CAN_WRITE  # to mitmproxy: the next request needs another one
        for stream_id in [each for each in self.streams if each > event.last]:
            del self.streams[stream_id]
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            yield ReceiveHttp(ResponseProtocolError(stream_id, self._over, self.ReceiveProtocolError.code))
        return False

    def close_connection(self, msg: str) -> Commands:
        self._take_no_more(msg)
        yield from super().close_connection(msg)

    def _take_no_more(self, why: str) -> None:
        """Those that wait for a free stream would wait for ever."""
        self._over = why
        self._unsent += self.stream_queue
        self.stream_queue.clear()


class Hello(ClientTLSLayer):
    """TLS towards the agent."""

    def receive_handshake_data(self, data: bytes) -> Generator[commands.Command, Any, tuple[bool, str | None]]:
        if not self.client_hello_parsed and _hello_too_large(self.recv_buffer, data):
            return False, "a hello that is too large"
        return (yield from super().receive_handshake_data(data))


def _hello_too_large(before: bytearray, data: bytes) -> bool:
    if len(before) + len(data) > MAX_HELLO:
        return True
    offset, records, whole = 0, 0, bytes(before) + data
    while offset + 5 <= len(whole) and records <= MAX_HELLO_RECORDS:
        offset += 5 + int.from_bytes(whole[offset + 3 : offset + 5], "big")
        records += 1
    return records > MAX_HELLO_RECORDS
