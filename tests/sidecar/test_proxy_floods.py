"""A bottle that opens, holds, repeats and dribbles: each must end within a limit, in bounded memory, and while it goes
on others are served. Limits are shortened so that reaching them takes a second."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import psutil
import pytest
import trustme

from sidecar.contract import Route
from sidecar.egress.backlog import LEAST, MOST, piece
from sidecar.tasks import spawn
from tests.conftest import until
from tests.sidecar.attack_kit import GREETING, H2, Tap, ask, code_of, fields, read_some, server, tap, tunnel
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem

HOST, SILENT = "api.example.com", "silent.example.com"
GET = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
RESET = b"\x00\x00\x04\x03\x00\x00\x00\x00\x01"
ASKED = b"\x01\x05\x00\x00\x00\x01"  # the head of the first stream, whole and without a body
"""How a RST_STREAM of stream 1 begins."""
POST = f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@contextlib.asynccontextmanager
async def running(**limits: float) -> AsyncIterator[tuple[Bottle, Tap, Tap]]:
    """A sidecar, an upstream that answers, and one that never does."""
    ca = authority()
    async with tap(ca, HOST) as up, tap(ca, SILENT, reply=b"") as silent:
        mapped = {f"{HOST}:443": f"127.0.0.1:{up.port}", f"{SILENT}:443": f"127.0.0.1:{silent.port}"}
        routes = (Route(host=HOST), Route(host=SILENT))
        async with bottle(*routes, extra_ca=(pem(ca),), connect_to=mapped, limits=limits) as box:
            yield box, up, silent


async def health(box: Bottle) -> dict[str, Any]:
    answer, _ = await box.channel.call("health", timeout=120)
    return answer


async def settles(box: Bottle, **wanted: int) -> None:
    async with asyncio.timeout(20):
        while not wanted.items() <= (await health(box)).items():
            await asyncio.sleep(0.05)


async def pour(writer: asyncio.StreamWriter, chunk: bytes, total: int) -> bool:
    """Write until it is all gone or the peer has had enough; True where it had."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(20):
            for _ in range(total // len(chunk)):
                if writer.transport.is_closing():
                    return True
                writer.write(chunk)
                await writer.drain()
        return False
    return True


async def seconds_until_closed(reader: asyncio.StreamReader, limit: float = 60) -> float:
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(limit):
            while await reader.read(65536):
                continue
    return time.monotonic() - started


# --- memory ----------------------------------------------------------------------------------------------------------


async def test_what_does_not_end_is_not_kept():
    async with running() as (box, _, _silent):
        process = psutil.Process(box.process.pid)
        await ask(box, GET, f"{HOST}:443", HOST)
        before = process.memory_info().rss
        for name, start, chunk in (
            ("chunk extension", POST + b"1;", b"a" * 65536),
            ("trailers", POST + b"0\r\n", b"a: " + b"a" * 60_000 + b"\r\n"),
            ("head", b"GET /x HTTP/1.1\r\n", b"a: " + b"a" * 60_000 + b"\r\n"),
        ):
            _, writer = await tunnel(box, f"{HOST}:443", HOST)
            writer.write(start)
            await pour(writer, chunk, 32 << 20)
            writer.transport.abort()
            assert process.memory_info().rss - before < 12 << 20, name
        # pipelined behind a request that is not answered yet
        _, writer = await tunnel(box, f"{SILENT}:443", SILENT)
        writer.write(GET.replace(HOST.encode(), SILENT.encode()))
        await pour(writer, b"a" * 65536, 32 << 20)
        writer.transport.abort()
        assert process.memory_info().rss - before < 12 << 20
        await settles(box, live=0)


async def test_answers_that_nobody_reads_are_bounded_over_all_connections():
    """HTTP/2's flow control lets a client ask for all and take nothing: eight megabytes on each were four gigabytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (12 << 20))
        with contextlib.suppress(ConnectionError):
            for _ in range(192):
                writer.write(b"a" * 65536)
                await writer.drain()

    ca, number = authority(), 32
    async with to(serve, ca, alpn=(), waiting_total=8 << 20) as box:
        process = psutil.Process(box.process.pid)
        before = process.memory_info().rss
        clients = [await H2.open(box, HOST) for _ in range(number)]
        streams = [client.request(fields(HOST)) for client in clients]
        await settles(box, live=number)
        largest, growing = 0, True
        while growing:
            await asyncio.sleep(1)
            size = process.memory_info().rss - before
            largest, growing = max(size, largest), size > largest + (1 << 20)
        assert largest < (16 << 20) + number * (3 << 19)
        # who reads after all gets all of it
        assert await clients[-1].answer(streams[-1], 60) == "200"
        assert len(clients[-1].body[streams[-1]]) == 12 << 20
        for client in clients:
            client.close()
        await settles(box, live=0)


def test_many_connections_take_little_at_a_time():
    assert [piece(number) for number in (0, 1, 64, 128, 512)] == [MOST, MOST, MOST, MOST // 2, LEAST]


async def test_a_hello_in_a_million_pieces_holds_up_nobody():
    async with running() as (box, _, _silent):
        process = psutil.Process(box.process.pid)
        for piece in (b"\x16\x03\x01\x00\x01a" * 10_000, b"\x16\x03\x01\x40\x00" + b"a" * 0x4000):
            _, writer = await tunnel(box, f"{HOST}:443")
            writer.write(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff")
            await pour(writer, piece, 2 << 20)
            cpu = sum(process.cpu_times()[:2])
            assert (await ask(box, GET, f"{HOST}:443", HOST)).startswith(b"HTTP/1.1 200")
            assert sum(process.cpu_times()[:2]) - cpu < 3
            writer.transport.abort()


async def test_empty_lines_without_end_hold_up_nobody():
    async with running() as (box, _, _silent):
        process = psutil.Process(box.process.pid)
        cpu = sum(process.cpu_times()[:2])
        plain = b"GET http://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\n\r\n"
        for lines in (b"\n" * 500_000, b"\r\n" * 250_000):
            _, writer = await tunnel(box, "")
            writer.write(lines + plain)
            assert code_of(await ask(box, plain)) == "host_not_allowed"
            writer.close()
        assert sum(process.cpu_times()[:2]) - cpu < 1


async def test_the_operators_word_comes_through_whatever_is_sent_on_many_connections():
    """Chunks of a byte each, which cost most: what asks is answered between them, not behind all of them."""
    start = b"POST http://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running() as (box, _, _silent):
        flooding = [await asyncio.open_connection("127.0.0.1", box.port) for _ in range(10)]
        for _, writer in flooding:
            writer.write(start)
        await settles(box, live=10)
        for _, writer in flooding:
            writer.write(b"1\r\na\r\n" * 32_000 + b"0\r\n\r\n")
        answers = 0
        while (await health(box))["live"]:
            answers += 1
        assert answers > 5
        for _, writer in flooding:
            writer.close()


async def test_http2_frames_and_header_blocks_are_bounded_before_they_are_decoded():
    def frame(kind: int, flags: int, body: bytes) -> bytes:
        return len(body).to_bytes(3, "big") + bytes([kind, flags]) + (1).to_bytes(4, "big") + body

    letters = int("00011" * 8, 2).to_bytes(5, "big") * 20_000  # Huffman: five bits for an `a`
    block = b"\x00\x01x\xff" + (0x7FFFFFF).to_bytes(4, "little") + letters
    async with running() as (box, _, _silent):
        process = psutil.Process(box.process.pid)
        before, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
        for data in (
            frame(1, 0, block) + frame(9, 0, letters) * 62 + frame(9, 4, letters),
            b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"a" * (8 << 20),
        ):
            reader, writer = await tunnel(box, f"{HOST}:443", HOST, ("h2",))
            writer.write(GREETING + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            await pour(writer, data, len(data))
            assert await seconds_until_closed(reader) < 55
            writer.transport.abort()
        assert process.memory_info().rss - before < 6 << 20
        assert sum(process.cpu_times()[:2]) - cpu < 1.5


# --- frames that cost nothing to send -------------------------------------------------------------------------------


async def test_rapid_resets_end_the_connection_and_leave_nothing_behind():
    async with running(control_burst=50) as (box, up, silent):
        client = await H2.open(box, SILENT)
        try:
            for _ in range(300):
                client.conn.reset_stream(client.request(fields(SILENT)), 8)
                client.flush()
            await client.writer.drain()
            while await client.pump():
                continue
            assert client.over
        except ConnectionError:
            pass  # over as well, while it was still being written to
        await settles(box, live=0, upstreams=0)
        assert len(silent.connections) <= 60
        assert (await ask(box, GET, f"{HOST}:443", HOST)).startswith(b"HTTP/1.1 200")
        assert len(up.connections) == 1


@pytest.mark.parametrize("body", [None, b"x"])
async def test_a_reset_that_comes_together_with_its_request_ends_it(body: bytes | None):
    """To HTTP/2 such a stream is no longer there, so none of the hundred at once: without end they would be live."""
    async with running() as (box, _, silent):
        client = await H2.open(box, SILENT)
        for _ in range(150):
            headers = [(str(name), str(value)) for name, value in fields(SILENT, "/x", "POST")]
            stream = client.conn.get_next_available_stream_id()
            client.conn.send_headers(stream, headers, end_stream=body is None)
            if body is not None:
                client.conn.send_data(stream, body, end_stream=True)
            client.conn.reset_stream(stream, 8)
        assert await client.answer(client.request(fields("other.example.org")), 20) == "names_disagree"
        await settles(box, live=0, upstreams=0)
        assert (await box.event(phase="closed", host=SILENT)).code == "client_closed"
        assert silent.live == 0
        client.close()


@pytest.mark.parametrize("reset", [True, False])
async def test_what_comes_on_a_stream_that_is_closed_is_not_answered(reset: bool):
    """An upstream that does not read would have the answers pile up here."""
    read, number = bytearray(), 2000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def until_here(mark: bytes) -> None:
            while mark not in read:
                read.extend(await reader.readexactly(1))

        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        if reset:
            await until_here(RESET)
        else:
            await until_here(ASKED)
            writer.write(b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88")  # 200, and that is all
        writer.write(b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x" * number)
        writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00abcdefgh")
        await until_here(b"abcdefgh")
        over.set()

    over, ca = asyncio.Event(), authority()
    async with to(serve, ca) as box:
        client = await H2.open(box, HOST)
        stream = client.request(fields(HOST))
        if reset:
            async with asyncio.timeout(20):
                while ASKED not in read:
                    await asyncio.sleep(0.02)
            client.conn.reset_stream(stream, 8)
            client.flush()
        async with asyncio.timeout(30):
            await over.wait()
        assert read.count(RESET) == reset
        client.close()


@pytest.mark.parametrize("kind", ["ping", "settings"])
async def test_floods_of_control_frames_end_the_connection(kind: str):
    frames = {
        "ping": b"\x00\x00\x08\x06\x00\x00\x00\x00\x00abcdefgh",
        "settings": b"\x00\x00\x06\x04\x00\x00\x00\x00\x00",
    }
    one = frames[kind] + (b"\x00\x01\x00\x00\x10\x00" if kind == "settings" else b"")
    async with running() as (box, _, _silent):
        process = psutil.Process(box.process.pid)
        client = await H2.open(box, HOST)
        before = process.memory_info().rss
        await pour(client.writer, one * 4000, 8 << 20)
        assert await seconds_until_closed(client.reader) < 55
        assert process.memory_info().rss - before < 8 << 20
        client.close()


async def test_a_client_that_allows_a_huge_table_of_headers_holds_up_nobody():
    """What is in it is searched for each field of each answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            more = b"".join(b"x-%s: %s\r\n" % (os.urandom(6).hex().encode(), b"a" * 16) for _ in range(900))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + more + b"\r\n")

    ca = authority()
    async with (
        server(serve, ca, HOST) as port,
        bottle(Route(host=HOST), extra_ca=(pem(ca),), connect_to={f"{HOST}:443": f"127.0.0.1:{port}"}) as box,
    ):
        process = psutil.Process(box.process.pid)
        client = await H2.open(box, HOST)
        client.writer.write(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x01" + (1 << 30).to_bytes(4, "big"))
        cpu = sum(process.cpu_times()[:2])
        for _ in range(20):
            assert await client.answer(client.request(fields(HOST)), 60) == "200"
        assert sum(process.cpu_times()[:2]) - cpu < 5
        client.close()


async def test_upstream_connections_are_counted():
    """One HTTP/2 client, an upstream that speaks HTTP/1 only: each stream has a connection of its own."""
    async with running(upstreams=16) as (box, _, silent):
        client = await H2.open(box, SILENT)
        streams = [client.request(fields(SILENT)) for _ in range(40)]
        codes = [await client.answer(stream, 10) for stream in streams[20:]]
        assert codes.count("upstream_unreachable") == 20
        assert silent.most <= 16
        assert (await health(box))["upstreams"] == 16
        client.close()
        await settles(box, upstreams=0, live=0)


async def test_idle_connections_do_not_keep_others_out():
    async with running(connections=8) as (box, _, _silent):
        idle = [await asyncio.open_connection("127.0.0.1", box.port) for _ in range(20)]
        assert (await ask(box, GET, f"{HOST}:443", HOST)).startswith(b"HTTP/1.1 200")
        assert (await health(box))["connections"] <= 8
        for _, writer in idle:
            writer.close()


async def test_busy_connections_are_not_ended_for_new_ones():
    async with running(connections=3) as (box, _, silent):
        clients = [await H2.open(box, SILENT) for _ in range(3)]
        for client in clients:
            client.request(fields(SILENT))
        async with asyncio.timeout(10):
            while silent.live < 3:
                await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
            assert await reader.read() == b""
            writer.close()
        assert (await health(box))["live"] == 3
        for client in clients:
            client.close()


OTHER = "other.example.org"
UNREAD = [(OTHER, "deny"), (HOST, "error")]
"""A host that the head refuses, and one that would have the body; and how the request ends."""


async def without_its_body(box: Bottle, host: str, http2: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body never comes."""
    if http2:
        client = await H2.open(box, host)
        client.conn.send_headers(1, [(str(name), str(value)) for name, value in fields(host, "/x", "POST")])
        client.flush()
        return client.reader, client.writer
    reader, writer = await tunnel(box, f"{host}:443", host)
    writer.write(f"POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\n".encode())
    return reader, writer


@pytest.mark.parametrize(("host", "decision"), UNREAD)
@pytest.mark.parametrize("http2", [False, True])
async def test_requests_whose_body_never_comes_do_not_keep_others_out(http2: bool, host: str, decision: str):
    async with running(connections=4) as (box, _, _silent):
        waiting = [await without_its_body(box, host, http2) for _ in range(4)]
        await settles(box, live=4)
        assert (await ask(box, GET, f"{HOST}:443", HOST)).startswith(b"HTTP/1.1 200")
        assert (await box.event(phase="closed", method="POST")).decision == decision
        for _, writer in waiting:
            writer.close()


@pytest.mark.parametrize(("host", "decision"), UNREAD)
@pytest.mark.parametrize("http2", [False, True])
async def test_a_request_whose_body_never_comes_is_idle(http2: bool, host: str, decision: str):
    async with running(idle_seconds=1.0) as (box, _, _silent):
        reader, writer = await without_its_body(box, host, http2)
        assert await seconds_until_closed(reader) < 55
        writer.close()
        await settles(box, live=0, connections=0)
        assert (await box.event(phase="closed")).decision == decision


async def test_a_body_that_comes_slowly_is_waited_for():
    async with running(idle_seconds=1.5) as (box, _, _silent):
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\n\r\n".encode())
        for _ in range(6):
            await asyncio.sleep(0.5)
            writer.write(b"a")
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), 5)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_fault_that_is_asked_for_again_and_again_fills_no_disk():
    fault = "sidecar.egress.addons.gate:_names:raise"
    async with bottle(Route(host=HOST), fault=fault) as box, box.client() as client:
        for _ in range(60):
            assert (await client.get(f"https://{HOST}/")).json()["code"] == "internal_error"
        async with asyncio.timeout(10):
            while not any("times more" in notice["text"] for notice in box.notices()):
                await asyncio.sleep(0.05)
        assert len(box.notices()) < 20


# --- time -----------------------------------------------------------------------------------------------------------


async def dribble(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("where", ["connect", "hello", "head"])
async def test_a_first_request_that_dribbles_in_is_cut_off(where: str):
    async with running(head_seconds=1.5) as (box, _, _silent):
        if where == "connect":
            reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
            slow = b"CONNECT " + b"a" * 1000
        elif where == "hello":
            reader, writer = await tunnel(box, f"{HOST}:443")
            slow = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 1000
        else:
            reader, writer = await tunnel(box, f"{HOST}:443", HOST)
            slow = b"GET /" + b"a" * 1000
        sending = spawn(dribble(writer, slow), name="dribble")
        assert await seconds_until_closed(reader) < 55
        sending.cancel()
        writer.transport.abort()
        await settles(box, connections=0)


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not():
    async with running(idle_seconds=1.0) as (box, _, _silent):
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        for _ in range(4):
            writer.write(GET)
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), 5)).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.5)
        assert await seconds_until_closed(reader) < 55
        writer.close()


async def test_a_request_on_which_nothing_moves_ends_and_is_recorded():
    async with running(stalled_seconds=1.0) as (box, _, _silent):
        got = await ask(box, GET.replace(HOST.encode(), SILENT.encode()), f"{SILENT}:443", SILENT)
        assert got == b""
        event = await box.event(phase="closed")
        assert (event.decision, event.code) == ("error", "killed")


async def pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP/2 server that is alive, and answers nothing."""
    writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    while True:
        writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00abcdefgh")
        await writer.drain()
        await asyncio.sleep(0.2)


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def to(
    serve: Serve, ca: trustme.CA, *, tls: bool = True, alpn: tuple[str, ...] = ("h2", "http/1.1"), **limits: float
) -> AsyncIterator[Bottle]:
    async with server(serve, ca if tls else None, HOST, alpn=alpn) as port:
        mapped = {f"{HOST}:443": f"127.0.0.1:{port}"}
        async with bottle(Route(host=HOST), extra_ca=(pem(ca),), connect_to=mapped, limits=limits) as box:
            yield box


async def test_an_upstreams_pings_are_no_sign_of_life():
    ca = authority()
    async with to(pings, ca, stalled_seconds=1.5) as box:
        client = await H2.open(box, HOST)
        client.request(fields(HOST))
        assert await seconds_until_closed(client.reader) < 55
        assert (await box.event(phase="closed")).code == "killed"


async def test_an_upstream_that_does_not_finish_its_handshake():
    ca = authority()
    async with to(never, ca, tls=False, handshake_seconds=1.0) as box:
        assert code_of(await ask(box, GET, f"{HOST}:443", HOST)) == "upstream_tls"


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers while it reads, and reads no more than it could write."""
    head = await reader.readuntil(b"\r\n\r\n")
    left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
    while left:
        data = await reader.read(65536)
        left -= len(data)
        writer.write(data)
        await writer.drain()


async def test_an_answer_that_starts_before_the_request_is_read():
    ca, size = authority(), 32 << 20
    async with to(echoes, ca) as box, box.client() as client:
        response = await client.post(f"https://{HOST}/x", content=b"x" * size)
        assert len(response.content) == size


# --- WebSocket ------------------------------------------------------------------------------------------------------

UPGRADE = (
    f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
).encode()
MASK = b"\0\0\0\0"


def frame(first: int, payload: bytes, claimed: int | None = None) -> bytes:
    return bytes([first, 0xFF]) + (len(payload) if claimed is None else claimed).to_bytes(8, "big") + MASK + payload


@contextlib.asynccontextmanager
async def websocket() -> AsyncIterator[tuple[Bottle, bytearray, asyncio.StreamReader, asyncio.StreamWriter]]:
    kept = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"permessage-deflate" not in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        while data := await reader.read(65536):
            kept.extend(data[-1000:])

    ca = authority()
    async with to(serve, ca) as box:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(UPGRADE)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in head
        yield box, kept, reader, writer
        writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        frame(0xC1, b"compressed"),
        frame(0xA1, b"reserved bit"),
        frame(0x83, b"reserved kind"),
        frame(0x89, b"a" * 200),
        frame(0x09, b"a fragmented ping"),
        frame(0x80, b"a continuation of nothing"),
        frame(0x01, b"first") + frame(0x81, b"not a continuation"),
        b"\x81\x05hello",
        frame(0x81, b"x", claimed=1 << 63),
        frame(0x81, b"\xff\xfe\xfd not text"),
        GET,
    ],
    ids=["rsv1", "rsv2", "kind", "ping", "fragment", "orphan", "interleaved", "unmasked", "huge", "utf8", "http"],
)
async def test_what_is_no_websocket_ends_it(data: bytes):
    async with websocket() as (box, kept, reader, writer):
        writer.write(data)
        assert await seconds_until_closed(reader) < 55
        assert b"hello" not in kept
        assert b"GET" not in kept
        assert b"compressed" not in kept
        await settles(box, live=0)


async def test_pings_without_end_end_it():
    async with websocket() as (box, _, reader, writer):
        for _ in range(400):
            writer.write(b"\x89\x85" + MASK + b"alive")
        assert (await asyncio.wait_for(reader.readexactly(400 * 7), 20)).endswith(b"alive")
        writer.write((b"\x89\x85" + MASK + b"alive") * 4000)
        assert await seconds_until_closed(reader) < 55
        await settles(box, live=0)


async def test_frames_of_any_size_are_collected_in_bounded_memory():
    """Of a message that does not end: what is looked for in a whole one needs memory of its own, some time later."""
    async with websocket() as (box, _, _reader, writer):
        process = psutil.Process(box.process.pid)
        before = process.memory_info().rss
        size = 48 << 20
        writer.write(frame(0x02, b"", claimed=size))
        for _ in range(size // 65536):
            writer.write(b"a" * 65536)
            await writer.drain()
        for _ in range(20_000):
            writer.write(b"\x00\x80" + MASK)
        await writer.drain()
        await until(lambda: process.memory_info().rss - before > size)
        # the message itself, and as much again while it grows
        assert process.memory_info().rss - before < 3 * size


async def test_a_dribbling_answer_keeps_its_connection():
    """Events far apart, each well inside the limit, over more than the limit."""

    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(8):
            writer.write(b"data: x\n\n")
            await writer.drain()
            await asyncio.sleep(0.5)

    ca = authority()
    async with to(events, ca, stalled_seconds=2.0) as box:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(GET)
        assert (await read_some(reader, quiet=1.9)).count(b"data: x") == 8
        writer.close()


async def test_a_body_in_pieces_of_two_bytes_takes_no_more_than_one_in_large_ones():
    """Each by itself would cost forty times its bytes, and no bound would count that."""
    async with running() as (box, _, _):
        await ask(box, GET, f"{HOST}:443", HOST)
        process = psutil.Process(box.process.pid)
        before = most = process.memory_info().rss
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(POST)
        answer = spawn(reader.read(12), name="answer")
        for _ in range(40):
            writer.write(b"2\r\nab\r\n" * 10_000)
            await writer.drain()
        writer.write(b"none\r\n")
        while not answer.done():
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.02)
        assert answer.result() == b"HTTP/1.1 400"
        assert most - before < 12 << 20
