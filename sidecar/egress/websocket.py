"""WebSocket, relayed frame by frame as it comes, parsed on both sides. Where somebody reads whole messages
(`Exchange.socket`), the agent's wait until they are whole and were asked about (hook `agent_message`); the upstream's
frames go on at once, and a copy is collected.

Extensions were not offered upstream (the gate removes them), so frames are plain. What is no WebSocket ends the
connection.
"""

# mitmproxy, h2 and wsproto are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportPrivateImportUsage=false

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import wsproto
from mitmproxy import flow as mflow
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketStartHook
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from sidecar.egress.exchange import exchange_of
from sidecar.egress.limits import Bucket
from sidecar.egress.messages import Collector, TooLarge, content
from sidecar.egress.refusal import Refusal
from sidecar.egress.turns import AT_A_STRETCH
from sidecar.egress.wire import Hold, Rest, edge_of

POLICY = 1008
"""Close code for what policy does not allow (RFC 6455 7.4.1)."""

_REASON = 123
"""Bytes that a closing frame has for it."""

type Commands = Generator[commands.Command, Any]


@dataclass
class AgentMessageHook(commands.StartHook):
    """A whole message of the agent's (`Exchange.message`) is about to leave. A refusal ends the connection."""

    flow: HTTPFlow


class Relay(layer.Layer):
    """Both ends of one WebSocket."""

    def __init__(self, ctx: context.Context, flow: HTTPFlow) -> None:
        super().__init__(ctx)
        self.flow = flow
        self._client = wsproto.Connection(wsproto.ConnectionType.SERVER)
        self._server = wsproto.Connection(wsproto.ConnectionType.CLIENT)
        self._over = False
        self._came = 0
        self._waking = False
        self._up = Collector()
        self._down = Collector()
        limits = edge_of(ctx).limits
        self._pings = {side: Bucket(limits.control_burst, limits.control_rate) for side in (True, False)}

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Start):
            yield WebsocketStartHook(self.flow)
            if self.flow.error is not None:
                yield from self._end()
        elif isinstance(event, (events.Wakeup, events.DataReceived, events.ConnectionClosed)) and not self._over:
            try:
                if isinstance(event, events.Wakeup):
                    yield from self._woken(event)
                else:
                    yield from self._relay(event, event.connection == self.context.client)
            except (RemoteProtocolError, LocalProtocolError):
                yield from self._end()
            except Exception:
                self.flow.error = mflow.Error(mflow.Error.KILLED_MESSAGE)
                yield from self._end()

    def _relay(self, event: events.DataReceived | events.ConnectionClosed, from_client: bool) -> Commands:
        edge_of(self.context).touch()
        source, target = (self._client, self._server) if from_client else (self._server, self._client)
        ends = self.context.client, self.context.server
        source_conn, target_conn = ends if from_client else ends[::-1]
        source.receive_data(event.data if isinstance(event, events.DataReceived) else None)
        started = time.perf_counter()
        for item in source.events():
            if time.perf_counter() - started > AT_A_STRETCH:  # thousands of messages of a letter each
                yield Rest()
                started = time.perf_counter()
            if isinstance(item, Message):
                self._count(item, from_client)
                for frame in (yield from self._ask(item, from_client)):
                    yield commands.SendData(target_conn, target.send(_copy(frame)))
                if self._over:
                    return
            elif isinstance(item, Ping):
                if not self._pings[from_client].take():
                    raise RemoteProtocolError("too many pings")  # each is answered, whether that is read or not
                # answered here and passed on empty: what a control frame carries nobody looks through
                yield commands.SendData(source_conn, source.send(Pong(bytes(item.payload))))
                yield commands.SendData(target_conn, target.send(Ping(b"")))
            elif isinstance(item, CloseConnection):
                yield from self._close(item, from_client)
                return

    def _ask(self, item: Message, from_client: bool) -> Generator[commands.Command, Any, list[Message]]:
        """The frames that may go on now."""
        exchange = exchange_of(self.flow)
        frames = [item] if len(item.data) or item.message_finished else []
        if from_client and exchange.socket is None and not exchange.inspected:
            return frames
        if not from_client and exchange.socket is None and exchange.frames is None:
            return frames
        whole = self._collect(item, self._up if from_client else self._down)
        if not from_client:
            if whole is not None and exchange.socket is not None:
                exchange.socket.down(whole)
            if exchange.frames is None:
                return frames
            return (yield from self._down_filtered(whole))
        if whole is None:
            return []
        exchange.message = whole
        yield AgentMessageHook(self.flow)
        whole, exchange.message = exchange.message, b""
        if self.flow.error is not None or exchange.refusal is not None:
            yield from self._refused(exchange.refusal)
            return []
        return [type(item)(data=whole)]

    def _collect(self, item: Message, collector: Collector) -> str | bytes | None:
        """The message that ends with this frame. What is kept of an unfinished one counts as the request's memory."""
        before = collector.held
        whole = collector.add(item)
        change = collector.held - before
        if not edge_of(self.context).room_for(change):
            raise TooLarge
        exchange_of(self.flow).buffered += change
        return whole

    def _down_filtered(self, whole: str | bytes | None) -> Generator[commands.Command, Any, list[Message]]:
        exchange = exchange_of(self.flow)
        if whole is None or exchange.frames is None:
            return []
        going = [_as_message(each) for each in exchange.frames.down(whole)]
        if exchange.refusal is not None:
            yield from self._refused(exchange.refusal)
            return []
        self._came += 1
        yield from self._hold()
        return going

    def _hold(self) -> Commands:
        """Come back to a message that waits for the next."""
        frames = exchange_of(self.flow).frames
        if frames is not None and frames.holding and not self._waking:
            self._waking = True
            yield Hold(self._came)

    def _woken(self, event: events.Wakeup) -> Commands:
        self._waking = False
        frames = exchange_of(self.flow).frames
        open_ = self._client.state is wsproto.connection.ConnectionState.OPEN
        if not open_ or frames is None or not isinstance(event.command, Hold):
            return
        if event.command.came == self._came:
            for each in frames.release():
                yield commands.SendData(self.context.client, self._client.send(_as_message(each)))
        yield from self._hold()

    def _refused(self, refusal: Refusal | None) -> Commands:
        """Tell the agent in a message of the API's own form, then close."""
        if refusal is not None and self._client.state is wsproto.connection.ConnectionState.OPEN:
            yield commands.SendData(self.context.client, self._client.send(TextMessage(data=refusal.event())))
            close = CloseConnection(code=POLICY, reason=refusal.code)
            yield commands.SendData(self.context.client, self._client.send(close))
        yield from self._end()

    def _count(self, item: Message, from_client: bool) -> None:
        exchange = exchange_of(self.flow)
        size = len(content(item))
        if from_client:
            exchange.bytes_up += size
            exchange.messages_up += bool(item.message_finished)
        else:
            exchange.bytes_down += size
            exchange.messages_down += bool(item.message_finished)

    def _close(self, item: CloseConnection, from_client: bool) -> Commands:
        """Pass a closing handshake on to both, as far as each can still hear it. An agent gives no reason."""
        frames = exchange_of(self.flow).frames
        for each in frames.finish() if frames is not None else ():
            if self._client.state is wsproto.connection.ConnectionState.OPEN:
                yield commands.SendData(self.context.client, self._client.send(_as_message(each)))
        reason = "" if from_client else self._reason(item.reason or "")
        for peer, conn in ((self._client, self.context.client), (self._server, self.context.server)):
            if peer.state in (
                wsproto.connection.ConnectionState.OPEN,
                wsproto.connection.ConnectionState.REMOTE_CLOSING,
            ):
                yield commands.SendData(conn, peer.send(CloseConnection(code=item.code, reason=reason)))
        yield from self._end()

    def _reason(self, reason: str) -> str:
        """What the upstream says at the end, looked through like its messages."""
        exchange = exchange_of(self.flow)
        if exchange.frames is None or not reason:
            return reason
        said = [*exchange.frames.down(reason), *exchange.frames.finish()]
        text = "".join(each for each in said if isinstance(each, str))
        return "" if exchange.refusal is not None or len(text.encode()) > _REASON else text

    def _end(self) -> Commands:
        self._over = True
        yield commands.CloseConnection(self.context.server)
        yield commands.CloseConnection(self.context.client)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False


def _as_message(data: str | bytes) -> Message:
    return TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data)


def _copy(item: Message) -> Message:
    if isinstance(item, TextMessage):
        return TextMessage(data=item.data, message_finished=item.message_finished)
    return BytesMessage(data=bytes(item.data), message_finished=item.message_finished)
