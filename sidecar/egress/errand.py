"""One small request of the sidecar's own to an upstream that was checked: sent, its answer read within bounds, closed.
It decides nothing: where it goes, and with which credential, is its caller's doing."""

import asyncio
from dataclasses import dataclass, field

import h11
from OpenSSL import SSL

from sidecar.egress.reach import Destination, Reach, Streams
from sidecar.egress.tls import Upstreams

MOST_ANSWER = 64 * 1024
PIECE = 64 * 1024


class ErrandFailed(Exception):
    """No answer that can be used. The text is for a log."""


@dataclass(frozen=True)
class Errand:
    host: str
    secure: bool
    target: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    """They may hold a credential."""
    body: bytes = field(repr=False)
    method: str = "POST"
    most: int = MOST_ANSWER


async def run(errand: Errand, destination: Destination, reach: Reach, upstreams: Upstreams) -> tuple[int, bytes]:
    """Status and body of the answer. Raises ErrandFailed, Unreachable and OSError; takes as long as it takes."""
    streams, _ = await reach.open(destination)
    try:
        line = await Tls.over(streams, upstreams, errand.host) if errand.secure else Plain(*streams)
        return await _ask(errand, line)
    finally:
        streams[1].transport.abort()


class Plain:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(PIECE)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


class Tls:
    """OpenSSL between the two, in memory: the same verifying context as for the agent's own requests."""

    def __init__(self, plain: Plain, connection: SSL.Connection) -> None:
        self._plain = plain
        self._connection = connection

    @classmethod
    async def over(cls, streams: Streams, upstreams: Upstreams, host: str) -> "Tls":
        made = cls(Plain(*streams), upstreams.connection(host, (b"http/1.1",)))
        while True:
            try:
                made._connection.do_handshake()
                await made._flush()
                return made
            except SSL.WantReadError:
                await made._flush()
                await made._more()
            except SSL.Error:
                raise ErrandFailed("the certificate was not accepted") from None

    async def read(self) -> bytes:
        while True:
            try:
                return self._connection.recv(PIECE)
            except SSL.WantReadError:
                await self._flush()
                await self._more()
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error:
                raise ErrandFailed("TLS broke off") from None

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._connection.send(view[:PIECE]) :]
            await self._flush()

    async def _more(self) -> None:
        data = await self._plain.read()
        if not data:
            raise ErrandFailed("the connection was closed")
        self._connection.bio_write(data)

    async def _flush(self) -> None:
        while True:
            try:
                data = self._connection.bio_read(PIECE)
            except SSL.WantReadError:
                return
            await self._plain.write(data)


async def _ask(errand: Errand, line: Plain | Tls) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    try:
        head = http.send(h11.Request(method=errand.method, target=errand.target, headers=errand.headers)) or b""
        body = http.send(h11.Data(data=errand.body)) or b""
        await line.write(head + body + (http.send(h11.EndOfMessage()) or b""))
        return await _answer(http, line, errand.most)
    except h11.ProtocolError:
        raise ErrandFailed("no HTTP answer") from None


async def _answer(http: h11.Connection, line: Plain | Tls, most: int) -> tuple[int, bytes]:
    status, pieces, size = 0, list[bytes](), 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await line.read())
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            pieces.append(bytes(event.data))
            size += len(event.data)
            if size > most:
                raise ErrandFailed("the answer is too long")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return status, b"".join(pieces)
