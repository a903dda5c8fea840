"""One connection of the agent: mitmproxy's layers on asyncio streams, our hooks, our dialler, our limits.

mitmproxy starts a task for each hook and hides what a hook raises. Here hooks run in line, through the guard, and a
fault anywhere in the layers ends the connection with everything on it: nothing is sent after a fault.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.server import ConnectionIO, LiveConnectionHandler
from mitmproxy.tls import TlsData

from sidecar.contract import LISTEN_PORT
from sidecar.egress import layers
from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.policy import CompiledPolicy
from sidecar.egress.proxy_types import Engine, Origin
from sidecar.egress.reach import Destination, Unreachable
from sidecar.egress.turns import AT_A_STRETCH, PIECE
from sidecar.egress.wire import Front2, Rest, RestCompleted
from sidecar.meter.ledger import suspended_too
from sidecar.tasks import spawn

log = logging.getLogger(__name__)

REGULAR = mode_specs.ProxyMode.parse("regular")
REQUEST_BYTES = 16 * 1024
"""What a request costs while it lives, beside its head and body (measured: 14 kB)."""


class _Reader:
    """A stream read in pieces of our size: mitmproxy reads 64 KiB at a time, and each time goes through all of its
    layers. All that it does with a reader is `read`."""

    def __init__(self, stream: asyncio.StreamReader, engine: Engine) -> None:
        self._stream = stream
        self._engine = engine

    async def read(self, size: int) -> bytes:
        return await self._stream.read(self._engine.piece())


class Watch:
    """Ends a connection on which nothing happens. In place of mitmproxy's watchdog, which knows one limit only.

    What counts is the client's bytes and what moves its requests on. An upstream's pings do not.
    """

    def __init__(self, edge: "Edge") -> None:
        self._edge = edge
        self.started = self.last = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def register_activity(self) -> None:
        self.last = time.monotonic()

    @contextmanager
    def disarm(self) -> Any:
        yield

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        limits = self._edge.limits
        first = min(limits.head_seconds, limits.idle_seconds, limits.stalled_seconds)
        self._timer = loop.call_later(first, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        left = self._edge.deadline(self.started, self.last) - time.monotonic()
        if left <= 0:
            self._edge.end("nothing happened for too long")
        else:
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.1), self._look)


class Edge(LiveConnectionHandler):
    """An accepted connection and all upstream connections that it leads to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, engine: Engine) -> None:
        super().__init__(cast(Any, _Reader(reader, engine)), writer, cast(Any, engine.options), REGULAR)
        if writer.get_extra_info("socket").family == socket.AF_UNIX:
            # a unix socket, to which a bottle that cannot be entered is led from this port of its own
            self.client.sockname, self.client.peername = ("127.0.0.1", LISTEN_PORT), ("127.0.0.1", 0)
        self.engine = engine
        self.limits = engine.limits
        self.front: Front2 | None = None
        self.live: dict[str, HTTPFlow] = {}
        self.seen = False
        self.destinations: dict[Origin, Destination] = {}
        self.addresses: dict[str, str] = {}
        self._heard: dict[str, float] = {}
        self._events: deque[events.Event] = deque()
        self._busy = False
        self._turn_began = 0.0
        self._piece = PIECE
        self._dead = False
        self._resting = 0
        self._moved = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = Watch(self)
        self.timeout_watchdog = cast(Any, self._watch)
        setattr(self.client, "edge", self)  # noqa: B010  (read by layers.edge_of)
        self.layer = layers.Http(Context(self.client, cast(Any, engine.options)), HTTPMode.regular)

    # --- what the rest of the sidecar asks ----------------------------------------------------------------------------

    def room_for(self, size: int) -> bool:
        return self.engine.room_for(size)

    def touch(self) -> None:
        """Something of a request moved on."""
        self._watch.register_activity()

    def long_turn(self) -> bool:
        """What is being done of it now has taken long enough for the others to have their turn."""
        return time.perf_counter() - self._turn_began > AT_A_STRETCH

    def forgotten(self, connection: Connection) -> bool:
        """Nothing is under way on this connection to an upstream, and nothing came on it for long."""
        if any(flow.server_conn is connection for flow in self.live.values()):
            return False
        return suspended_too() - self._heard.get(connection.id, 0.0) > self.limits.pooled_seconds

    @property
    def last_activity(self) -> float:
        return self._watch.last

    @property
    def busy(self) -> bool:
        """Somebody works on an answer. A request whose body still comes is as idle as its client: with as many of
        them as there is room for connections, a body that never comes would keep all others out for half an hour."""
        return any(exchange_of(flow).whole and exchange_of(flow).refusal is None for flow in self.live.values())

    def deadline(self, started: float, last: float) -> float:
        """When to give up, after an accept at `started` and the last sign of life at `last`."""
        if any(exchange_of(flow).held for flow in self.live.values()):
            return time.monotonic() + self.limits.stalled_seconds  # the operator takes the time that the policy gives
        if self.busy:
            return last + self.limits.stalled_seconds
        return last + self.limits.idle_seconds if self.seen else started + self.limits.head_seconds

    def covered_by(self, policy: CompiledPolicy) -> bool:
        """True if `policy` allows all that is going on here. Requests that are not sent yet follow its routes."""
        for (host, port), destination in self.destinations.items():
            if not policy.reaches(host, port, private=destination.private and not destination.mapped):
                return False
        return all(_still_allowed(exchange_of(flow), policy) for flow in self.live.values())

    def end(self, reason: str) -> None:
        """Close this connection and all behind it; what was under way is recorded as killed."""
        if self._dead:
            return
        self._dead = True
        log.info("connection ended: %s", reason)
        self._watch.stop()
        for flow in list(self.live.values()):
            self.engine.killed(flow, reason)
        self.live.clear()
        for io in list(self.transports.values()):
            if io.writer is not None:
                cast(asyncio.StreamWriter, io.writer).transport.abort()
            if io.handler is not None:
                io.handler.cancel("ended")
        for task in list(self._tasks):
            task.cancel()

    # --- events in, commands out --------------------------------------------------------------------------------------

    async def handle_client(self) -> None:
        try:
            await super().handle_client()
        finally:
            self._watch.stop()
            self._moved.set()
            self.engine.backlog.forget(self)
            if self.live:  # a check that still runs would send its request when it is done
                self.end("the client is gone")
            self._dead = True

    async def server_event(self, event: events.Event) -> None:
        closed = isinstance(event, events.ConnectionClosed) and event.connection is self.client
        if closed and any(_waits(exchange_of(flow)) for flow in self.live.values()):
            # the layers would only look at this after the answer that is being waited for
            self.end("the client is gone")
        elif isinstance(event, events.DataReceived):
            if event.connection is not self.client:
                self._heard[event.connection.id] = suspended_too()
            await self._take_in_turn(event)
        else:
            self._take(event)

    async def _take_in_turn(self, event: events.DataReceived) -> None:
        task, left = cast(asyncio.Task[None], asyncio.current_task()), event.data
        try:
            while left and not task.cancelling():  # it reads on for a while once its connection was closed
                piece, left = left[: self._piece], left[self._piece :]
                work = partial(self._take, events.DataReceived(event.connection, piece))
                most = self.engine.piece()
                self._piece = most if await self.engine.turns.take(work) else min(PIECE, most)
        except asyncio.CancelledError:
            # told again at the next wait: mitmproxy closes a connection properly there, and knows of no wait here
            task.cancel()

    def _take(self, event: events.Event) -> None:
        self._events.append(event)
        if self._busy or self._dead:
            return
        self._busy, self._turn_began = True, time.perf_counter()
        if isinstance(event, events.DataReceived) and event.connection is self.client:
            self._watch.register_activity()
        try:
            while self._events and not self._dead:
                for command in self.layer.handle_event(self._events.popleft()):
                    self._obey(command)
                    if self._dead:
                        return
        except Exception as error:
            self.engine.guard.failed("connection", None, error)
            self.end("a fault in the proxy")
        finally:
            self._busy = False
            self._moved.set()

    def _obey(self, command: commands.Command) -> None:
        if isinstance(command, commands.SendData):
            io = self.transports.get(command.connection)
            if io is not None and io.writer is not None and not io.writer.is_closing():
                io.writer.write(command.data)
        elif isinstance(command, commands.StartHook):
            self._hook(command)
        elif isinstance(command, commands.OpenConnection):
            server = command.connection
            task = spawn(self.open_connection(command), name="upstream")
            self.transports[server] = ConnectionIO(handler=task)
        elif isinstance(command, commands.RequestWakeup):
            task = spawn(self.wakeup(command), name="wakeup")
            self.wakeup_timer.add(task)
            task.add_done_callback(self.wakeup_timer.discard)
        elif isinstance(command, (layers.NextPiece, Rest)):
            work = self._next_piece(command) if isinstance(command, layers.NextPiece) else self._rest(command)
            task = spawn(work, name=type(command).__name__)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(command, commands.CloseTcpConnection):
            self._close(command, command.half_close)
        elif isinstance(command, commands.CloseConnection):
            self._close(command, False)
        elif isinstance(command, commands.Log):
            log.debug("engine: %s", command.message[:200])
        else:
            raise TypeError(f"an unknown command: {type(command).__name__}")

    def _close(self, command: commands.CloseConnection, half: bool) -> None:
        if command.connection in self.transports:
            self.close_connection(command.connection, half)

    def _hook(self, command: commands.StartHook) -> None:
        waiting = self._run_hook(command)
        if waiting is not None:
            task = spawn(self._finish(command, waiting), name=f"hook-{command.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif command.blocking:
            self._events.append(events.HookCompleted(command))

    async def _finish(self, command: commands.StartHook, waiting: Coroutine[Any, Any, None]) -> None:
        await waiting
        if command.blocking:
            self._take(events.HookCompleted(command))

    async def _next_piece(self, command: layers.NextPiece) -> None:
        piece = None
        try:
            # a client that does not read gets no more
            await self._client_follows()
            piece = await command.source.next()
        except ConnectionError:
            self.end("the client is gone")
        except Exception as error:
            self.engine.guard.failed("local answer", None, error)
        finally:
            if not piece:
                command.source.close()
        self._take(layers.NextPieceCompleted(command, piece))

    async def _rest(self, command: Rest) -> None:
        self._resting += 1
        try:
            await self._client_follows()
        finally:
            self._resting -= 1
        await self.engine.turns.take(partial(self._take, RestCompleted(command)))

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """mitmproxy's own way in (connected, disconnected): the same as for hooks from the layers."""
        waiting = self._run_hook(hook)
        if waiting is not None:
            await waiting

    def _run_hook(self, hook: commands.StartHook) -> Coroutine[Any, Any, None] | None:
        (data,) = hook.args()
        if isinstance(data, HTTPFlow):
            return self._flow_hook(hook, data)
        try:
            if isinstance(data, layer.NextLayer):
                layers.choose(data)
            elif isinstance(data, TlsData):
                self._tls(hook.name, data)
        except Exception as error:
            self.engine.guard.failed(hook.name, data, error)
            if isinstance(data, layer.NextLayer):
                data.layer = layers.closed(data.context)
        return self.engine.guard.run(hook)

    def _flow_hook(self, hook: commands.StartHook, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        if hook.name == "requestheaders":
            self.seen = True
            self.live[flow.id] = flow
            exchange_of(flow).edge = self
            self._account(flow)
        elif hook.name == "request":
            exchange_of(flow).whole = True
        waiting = self.engine.guard.run(hook)
        if hook.name in ("error", "websocket_end") or (hook.name == "response" and flow.websocket is None):
            self.live.pop(flow.id, None)
            if waiting is not None:
                return self._then_done(waiting, flow)
            self.engine.done(flow)
        return waiting

    async def _then_done(self, waiting: Coroutine[Any, Any, None], flow: HTTPFlow) -> None:
        try:
            await waiting
        finally:
            self.engine.done(flow)

    def _account(self, flow: HTTPFlow) -> None:
        """Its head counts as memory: a hundred streams of 64 KiB on each of 500 connections would be 3 GB."""
        size = REQUEST_BYTES + sum(len(name) + len(value) for name, value in flow.request.headers.fields)
        if self.room_for(size):
            exchange_of(flow).buffered += size
        else:
            refuse(flow, "headers_too_large", "too many requests at once")

    def _tls(self, name: str, data: TlsData) -> None:
        """Give mitmproxy the OpenSSL object that it asks for. Without one it closes the connection."""
        if name == "tls_start_client":
            target = data.context.server.address
            data.ssl_conn = self.engine.leaf(self.client.sni, target[0] if target else None)
        elif name == "tls_start_server":
            server = cast(Server, data.conn)
            assert server.address is not None
            offers = tuple(offer for offer in self.client.alpn_offers if offer in (b"h2", b"http/1.1"))
            server.sni = server.address[0]
            server.alpn_offers = offers
            data.ssl_conn = self.engine.upstreams.connection(server.address[0], offers)

    # --- upstream connections -----------------------------------------------------------------------------------------

    async def open_connection(self, command: commands.OpenConnection) -> None:
        server = command.connection
        with self.engine.slot() as free:
            try:
                if not free:
                    raise Unreachable("upstream_unreachable", "this bottle has too many connections open")
                (reader, writer), address = await self._dial(server.address)
            except Unreachable as error:
                server.error = f"{layers.DIAL}{error.code}:{error.reason}"
            except Exception as error:
                self.engine.guard.failed("dial", None, error)
                server.error = f"{layers.DIAL}upstream_unreachable:the connection failed"
            else:
                await self._serve_upstream(command, server, reader, writer, address)
                return
        self.transports.pop(server, None)
        self._take(events.OpenConnectionCompleted(command, server.error))

    async def _dial(self, address: tuple[str, int] | None) -> Any:
        destination = self.destinations.get((address[0], address[1])) if address else None
        if destination is None:
            raise Unreachable("upstream_unreachable", "nothing was checked for this address")
        return await self.engine.reach.open(destination)

    async def _serve_upstream(
        self,
        command: commands.OpenConnection,
        server: Server,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: str,
    ) -> None:
        if self._dead:
            writer.transport.abort()
            self.transports.pop(server, None)
            return
        server.timestamp_start = server.timestamp_tcp_setup = time.time()
        server.state = ConnectionState.OPEN
        server.peername = writer.get_extra_info("peername")
        server.sockname = writer.get_extra_info("sockname")
        self.addresses[server.id] = address
        self._heard[server.id] = suspended_too()
        self.transports[server] = ConnectionIO(
            handler=asyncio.current_task(), reader=cast(Any, _Reader(reader, self.engine)), writer=writer
        )
        self._take(events.OpenConnectionCompleted(command, None))
        limit = asyncio.get_running_loop().call_later(self.limits.handshake_seconds, _give_up_handshake, server, writer)
        try:
            await self.handle_connection(server)
        finally:
            limit.cancel()
            server.timestamp_end = time.time()
            self.addresses.pop(server.id, None)
            self._heard.pop(server.id, None)

    async def drain_writers(self) -> None:
        """Hold a sender back until its receivers follow, on the sockets and in HTTP/2's windows.

        What an upstream sends waits for the client alone: an upstream that answers before it has read everything would
        otherwise wait for us, and we for it.
        """
        client = self.transports.get(self.client)
        if client is not None and asyncio.current_task() is client.handler:
            self._count_waiting()
            for io in list(self.transports.values()):
                await _drain(io)
        else:
            await self._client_follows()
            while self._resting and not self._dead:  # what came is still being unpacked
                self._moved.clear()
                await self._moved.wait()

    async def _client_follows(self) -> None:
        client = self.transports.get(self.client)
        if client is not None:
            await _drain(client)
        self._count_waiting()
        while not self._dead and self.engine.backlog.full(self):
            self._moved.clear()
            await self._moved.wait()
            self._count_waiting()

    def _count_waiting(self) -> None:
        if self.front is not None:
            self.engine.backlog.count(self, self.front.waiting_bytes())

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        log.debug("engine: %s", message[:200])


async def _drain(io: ConnectionIO) -> None:
    if io.writer is None:
        return
    try:
        await cast(asyncio.StreamWriter, io.writer).drain()
    except OSError:
        if io.handler is not None:
            io.handler.cancel("its peer is gone")


def _waits(exchange: Exchange) -> bool:
    return exchange.source is not None or exchange.held > 0


def _still_allowed(exchange: Exchange, policy: CompiledPolicy) -> bool:
    if exchange.facts is None or exchange.refusal is not None:
        return True
    verdict = policy.decide(exchange.facts)
    if not verdict.allowed or verdict.route is None:
        return False
    if not exchange.sent and exchange.route is not None and verdict.route.auth != exchange.route.auth:
        return False
    exchange.route = verdict.route  # messages of a WebSocket that is open go by it from now on
    return True


def _give_up_handshake(server: Server, writer: asyncio.StreamWriter) -> None:
    if server.tls and not server.tls_established:
        writer.transport.abort()
