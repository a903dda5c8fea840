"""Upstreams that end a connection which requests are on, wait for, or are to go on: what is under way is brought to its
end where that can be, nobody waits for what will not come, and nothing is sent twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
import trustme

from sidecar.contract import Route
from sidecar.tasks import spawn
from tests.conftest import until
from tests.sidecar.attack_kit import H2, OK, Streams, fields, server, tunnel
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem
from tests.sidecar.supervise.mcp_kit import decide, proposal

HOST = "api.example.com"
TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"  # a made-up value with a right checksum


@dataclass
class Leaver:
    """An HTTP/2 server that keeps what is asked, and answers and leaves when it is told to."""

    at_once: int = 100
    """Streams that it takes at the same time."""
    lines: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Number of the connection and path of each request."""
    conns: list[h2.connection.H2Connection] = field(default_factory=list[h2.connection.H2Connection])
    writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.conns)
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        conn.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.at_once}
        )
        self.conns.append(conn)
        self.writers.append(writer)
        conn.initiate_connection()
        self._flush(number)
        while data := await reader.read(65536):
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[b":path"].decode()
                    self.lines.append((number, path))
                    if path == "/quick":
                        conn.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
            self._flush(number)

    def _flush(self, number: int) -> None:
        self.writers[number].write(self.conns[number].data_to_send())

    def begin(self, number: int, stream: int) -> None:
        self.conns[number].send_headers(stream, [(":status", "200")])
        self.conns[number].send_data(stream, b"the first half, ")
        self._flush(number)

    def finish(self, number: int, stream: int) -> None:
        self.conns[number].send_data(stream, b"the second half", end_stream=True)
        self._flush(number)

    def leave(self, number: int, last: int, error: int = 0) -> None:
        """Past the library, to which this is the end of the connection."""
        body = last.to_bytes(4, "big") + error.to_bytes(4, "big")
        self.writers[number].write(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + body)


@contextlib.asynccontextmanager
async def leaving(at_once: int = 100, **limits: float) -> AsyncIterator[tuple[Bottle, Leaver]]:
    leaver, ca = Leaver(at_once), authority()
    async with server(leaver, ca, HOST, alpn=("h2",)) as port, to(port, ca, **limits) as box:
        yield box, leaver


@contextlib.asynccontextmanager
async def to(port: int, ca: trustme.CA, **limits: float) -> AsyncIterator[Bottle]:
    mapped = {f"{HOST}:443": f"127.0.0.1:{port}"}
    async with bottle(Route(host=HOST), extra_ca=(pem(ca),), connect_to=mapped, limits=limits) as box:
        yield box


async def test_an_upstream_that_takes_no_more_requests_finishes_those_it_has() -> None:
    """As servers do after some thousand requests, and before they are restarted."""
    async with leaving() as (box, upstream):
        client = await H2.open(box, HOST)
        first, second = client.request(fields(HOST, "/1")), client.request(fields(HOST, "/2"))
        await until(lambda: len(upstream.lines) == 2)
        upstream.begin(0, 1)
        await until(lambda: client.body.get(first) or client.pump())
        upstream.leave(0, 2**31 - 1)
        upstream.leave(0, 3)
        third = client.request(fields(HOST, "/3"))
        await until(lambda: len(upstream.lines) == 3)
        upstream.finish(0, 1)
        upstream.begin(0, 3)
        upstream.finish(0, 3)
        upstream.begin(1, 1)
        upstream.finish(1, 1)
        for stream in (first, second, third):
            assert await client.answer(stream, 20) == "200"
            assert client.body[stream] == b"the first half, the second half"
        assert upstream.lines == [(0, "/1"), (0, "/2"), (1, "/3")]
        # who has left and has nothing more to say is left as well
        await until(upstream.writers[0].is_closing)
        assert not upstream.writers[1].is_closing()
        client.close()


@pytest.mark.parametrize("way", ["not taken", "an error", "end", "abort"])
async def test_whom_an_upstream_leaves_without_an_answer_is_told(way: str) -> None:
    """Also who waited for a free stream of its, and was never sent."""
    async with leaving(at_once=2) as (box, upstream):
        client = await H2.open(box, HOST)
        assert await client.answer(client.request(fields(HOST, "/quick")), 20) == "200"  # it has told its limit
        streams = [client.request(fields(HOST, f"/{number}")) for number in range(4)]
        await until(lambda: len(upstream.lines) == 3)
        if way == "not taken":
            upstream.leave(0, 1)
        elif way == "an error":
            upstream.leave(0, 3, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif way == "end":
            upstream.writers[0].close()
        else:
            upstream.writers[0].transport.abort()
        for stream in streams:
            assert await client.answer(stream, 20) == "upstream_failed"
        assert len(upstream.lines) == 3
        assert await client.answer(client.request(fields(HOST, "/quick")), 20) == "200"
        assert upstream.lines[3:] == [(1, "/quick")]
        client.close()


async def test_who_leaves_while_waiting_for_a_free_stream_is_never_sent() -> None:
    """Its exchange is over by then: it would be a request with a credential that nobody watches any more."""
    async with leaving(at_once=1) as (box, upstream):
        client = await H2.open(box, HOST)
        assert await client.answer(client.request(fields(HOST, "/quick")), 20) == "200"
        busy = client.request(fields(HOST, "/busy"))
        await until(lambda: len(upstream.lines) == 2)
        gone = client.request(fields(HOST, "/gone", "POST"), b"x")
        last = client.request(fields(HOST, "/quick"))
        client.conn.reset_stream(gone)
        client.flush()
        await box.event(phase="closed", path="/gone")
        upstream.begin(0, 3)
        upstream.finish(0, 3)
        for stream in (busy, last):
            assert await client.answer(stream, 20) == "200"
        assert [path for _, path in upstream.lines] == ["/quick", "/busy", "/quick"]
        client.close()


async def test_what_is_held_goes_on_a_new_connection_where_the_old_one_is_gone() -> None:
    """Once, and whole."""
    seen: list[bytearray] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        seen.append(kept)
        writers.append(writer)
        while data := await reader.read(65536):
            kept.extend(data)
            if kept.endswith((b"\r\n\r\n", TOKEN.encode())):
                writer.write(OK)

    async def asks(streams: Streams, data: str) -> bytes:
        streams[1].write(data.encode())
        return await asyncio.wait_for(streams[0].readuntil(b"ok"), 60)

    ca = authority()
    async with server(serve, ca, HOST) as port, to(port, ca) as box:
        for number, way in enumerate(("end", "abort", "408")):
            seen.clear()
            writers.clear()
            streams = await tunnel(box, f"{HOST}:443", HOST)
            assert b" 200 " in await asks(streams, f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            head = f"POST /{way} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(TOKEN)}\r\n\r\n"
            waiting = spawn(asks(streams, head + TOKEN), name="held")
            asked = await proposal(box, number + 1)
            if way == "408":  # what some say before they end an idle connection
                writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            if way == "abort":
                writers[0].transport.abort()
            else:
                writers[0].close()
            await until(lambda: upstreams(box, 0))
            assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="once")
            assert b" 200 " in await waiting
            assert [kept.count(TOKEN.encode()) for kept in seen] == [0, 1]
            assert seen[1].startswith(f"POST /{way} ".encode())
            streams[1].close()
            await until(lambda: upstreams(box, 0))


async def test_what_is_held_goes_past_an_http2_connection_that_takes_no_more() -> None:
    async with leaving() as (box, upstream):
        client = await H2.open(box, HOST)
        busy = client.request(fields(HOST, "/busy"))
        await until(lambda: len(upstream.lines) == 1)
        held = client.request(fields(HOST, "/quick", "POST"), TOKEN.encode())
        asked = await proposal(box)
        upstream.leave(0, 1)
        upstream.begin(0, 1)
        await until(lambda: client.body.get(busy) or client.pump())
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="once")
        assert await client.answer(held, 20) == "200"
        upstream.finish(0, 1)
        assert await client.answer(busy, 20) == "200"
        assert upstream.lines == [(0, "/busy"), (1, "/quick")]
        client.close()


async def test_a_connection_on_which_nothing_came_for_long_is_not_used_again() -> None:
    """Its other end may be gone without a word: the next request would wait for nothing."""
    heads: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(heads)
        heads.append(0)
        while await reader.readuntil(b"\r\n\r\n"):
            heads[number] += 1
            if heads[number] < 3:
                writer.write(OK)

    ca = authority()
    async with server(serve, ca, HOST) as port, to(port, ca, pooled_seconds=2.0) as box:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        for pause in (0.0, 0.1, 3.0):
            await asyncio.sleep(pause)
            writer.write(f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"ok"), 20)
        assert (sum(heads), max(heads) < 3) == (3, True), heads
        await until(lambda: upstreams(box, 1))
        writer.close()


async def test_one_with_something_under_way_is_used_however_long_that_takes() -> None:
    async with leaving(pooled_seconds=0.2) as (box, upstream):
        client = await H2.open(box, HOST)
        busy = client.request(fields(HOST, "/busy"))
        await until(lambda: len(upstream.lines) == 1)
        await asyncio.sleep(0.5)
        assert await client.answer(client.request(fields(HOST, "/quick")), 20) == "200"
        upstream.begin(0, 1)
        upstream.finish(0, 1)
        assert await client.answer(busy, 20) == "200"
        await asyncio.sleep(0.5)
        assert await client.answer(client.request(fields(HOST, "/quick")), 20) == "200"
        assert upstream.lines == [(0, "/busy"), (0, "/quick"), (1, "/quick")]
        client.close()


async def upstreams(box: Bottle, number: int) -> bool:
    return (await box.channel.call("health"))[0]["upstreams"] == number
