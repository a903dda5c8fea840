"""What attacks on the proxy are made of: an upstream that keeps every byte, clients that send what no library would."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import trustme

from tests.sidecar.proxy_kit import Bottle

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
type Fields = Sequence[tuple[str | bytes, str | bytes]]


def code_of(answer: bytes) -> str:
    """The refusal's code in an answer, or how the answer starts."""
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["code"]
    except (ValueError, KeyError):
        return f"{head[:60]!r}"


@dataclass
class Tap:
    """An HTTP/1.1-only upstream: keeps every byte of every connection, answers each head it sees with `reply`."""

    port: int = 0
    reply: bytes = OK
    connections: list[bytearray] = field(default_factory=list[bytearray])
    most: int = 0
    live: int = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.connections.append(kept)
        self.live += 1
        self.most = max(self.most, self.live)
        heads = 0
        try:
            while data := await reader.read(65536):
                kept += data
                now = kept.count(b"\r\n\r\n")
                if now > heads and self.reply:
                    heads = now
                    writer.write(self.reply)
        finally:
            self.live -= 1


@contextlib.asynccontextmanager
async def server(
    serve: Serve, ca: trustme.CA | None, *names: str, alpn: tuple[str, ...] = (), host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """A raw server, by TLS if it has a CA; gives its port."""
    context: ssl.SSLContext | None = None
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(Exception):
            await serve(reader, writer)
        writer.close()

    running = await asyncio.start_server(guarded, host, port, ssl=context, limit=8 * 1024 * 1024)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()


@contextlib.asynccontextmanager
async def tap(ca: trustme.CA | None, *names: str, reply: bytes = OK) -> AsyncIterator[Tap]:
    found = Tap(reply=reply)
    async with server(found.serve, ca, *names) as port:
        found.port = port
        yield found


type Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def tunnel(
    box: Bottle, target: str, sni: str | None = None, alpn: tuple[str, ...] = (), verify: bool = True
) -> Streams:
    """A connection to the sidecar, through CONNECT, and TLS if there is an SNI."""
    reader, writer = await asyncio.open_connection("127.0.0.1", box.port, limit=8 * 1024 * 1024)
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target:
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b" 200 " in head, head
    if sni is not None:
        context = box.tls()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        await writer.start_tls(context, server_hostname=sni)
    return reader, writer


async def read_some(reader: asyncio.StreamReader, quiet: float = 0.4, first: float = 5) -> bytes:
    """All that comes until it falls silent or ends."""
    got = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65536), quiet if got else first):
            got += chunk
    return got


async def ask(box: Bottle, data: bytes, target: str = "", sni: str | None = None) -> bytes:
    """Send bytes as they are; the answer as it is."""
    reader, writer = await tunnel(box, target, sni)
    try:
        writer.write(data)
        return await read_some(reader)
    finally:
        writer.close()


@dataclass
class H2:
    """An HTTP/2 client that checks nothing of what it sends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    conn: h2.connection.H2Connection
    status: dict[int, str] = field(default_factory=dict[int, str])
    body: dict[int, bytes] = field(default_factory=dict[int, bytes])
    trailers: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict[int, list[tuple[bytes, bytes]]])
    ended: set[int] = field(default_factory=set[int])
    over: bool = False

    @classmethod
    async def open(cls, box: Bottle, host: str, port: int = 443) -> "H2":
        reader, writer = await tunnel(box, f"{host}:{port}", host, ("h2",))
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        conn = h2.connection.H2Connection(config)
        conn.initiate_connection()
        conn.increment_flow_control_window(2**24)
        found = cls(reader, writer, conn)
        found.flush()
        return found

    def flush(self) -> None:
        self.writer.write(self.conn.data_to_send())

    def request(self, headers: Fields, body: bytes | None = None) -> int:
        """Send one request; gives its stream."""
        stream = self.conn.get_next_available_stream_id()
        plain = [(_bytes(name), _bytes(value)) for name, value in headers]
        self.conn.send_headers(stream, plain, end_stream=body is None)
        if body is not None:
            self.conn.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    async def pump(self) -> bool:
        """Take what comes next; False at the end."""
        data = await self.reader.read(65536)
        if not data:
            self.over = True
            return False
        for event in self.conn.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status[event.stream_id] = dict(event.headers)[b":status"].decode()
            elif isinstance(event, h2.events.DataReceived):
                self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers[event.stream_id] = [(bytes(name), bytes(value)) for name, value in event.headers]
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.over = True
        self.flush()
        return True

    async def answer(self, stream: int, seconds: float = 5) -> str:
        """The code of a refusal, else the status, or `ended` or `over` without one."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while stream not in self.ended and not self.over:
                    await self.pump()
        try:
            return json.loads(self.body.get(stream, b""))["code"]
        except (ValueError, KeyError):
            return self.status.get(stream) or ("over" if self.over else "ended" if stream in self.ended else "silent")

    def close(self) -> None:
        self.writer.close()


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def fields(host: str, path: str = "/x", method: str = "GET", *more: tuple[str, str]) -> Fields:
    return [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more]


@dataclass
class LooseH2:
    """An HTTP/2 server that checks nothing of what it sends; to be served with `server`."""

    status: bytes = b"200"
    body: bytes = b""
    interim: list[list[tuple[bytes, bytes]]] = field(default_factory=list[list[tuple[bytes, bytes]]])
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, validate_outbound_headers=False, header_encoding=None)
        conn = h2.connection.H2Connection(config)
        conn.initiate_connection()
        writer.write(conn.data_to_send())
        while data := await reader.read(65536):
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    for head in self.interim:
                        conn.send_headers(event.stream_id, head)
                    conn.send_headers(event.stream_id, [(b":status", self.status)])
                    conn.send_data(event.stream_id, self.body, end_stream=not self.trailers)
                    if self.trailers:
                        conn.send_headers(event.stream_id, self.trailers, end_stream=True)
            writer.write(conn.data_to_send())
