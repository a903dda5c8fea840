"""Upstreams that attack: what they send reaches the agent in one reading only, or not at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psutil
import pytest
import trustme

from sidecar.contract import Route
from tests.sidecar.attack_kit import H2, Serve, ask, code_of, fields, read_some, server, tunnel
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, authority, bottle, pem

HOST = "api.example.com"
GET = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@contextlib.asynccontextmanager
async def to(serve: Serve, ca: trustme.CA) -> AsyncIterator[Bottle]:
    async with server(serve, ca, HOST) as port:
        mapped = {f"{HOST}:443": f"127.0.0.1:{port}"}
        async with bottle(Route(host=HOST), extra_ca=(pem(ca),), connect_to=mapped) as box:
            yield box


class Says:
    """Answers each request with the next of `answers`."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        """Of the requests, as they came."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.answers:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answers.pop(0))
            await writer.drain()
        await reader.read()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
REFUSED = {
    "a bare CR": OK + b"X: a\rSet-Cookie: b\r\n\r\nok",
    "NUL": OK + b"X: a\0b\r\n\r\nok",
    "escape sequences": OK + b"X: \x1b[31mred\r\n\r\nok",
    "a bad name": OK + b"X y: z\r\n\r\nok",
    "two lengths": OK + b"Content-Length: 3\r\n\r\nok",
    "length and chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw",
    "an interim status in disguise": b"HTTP/1.1  103 Early Hints\r\n\r\n" + OK + b"\r\nok",
    "a status with underscores": b"HTTP/1.1 1_01 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a status below all": b"HTTP/1.1 42 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status beyond all": b"HTTP/1.1 20000 OK\r\nContent-Length: 2\r\n\r\nok",
    "another protocol": b"HTTP/7.7.7 200 OK\r\n\r\n",
    "an empty line first": b"\r\n" + OK + b"\r\nok",
    "an empty line behind an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n\n" + OK + b"\r\nok",
    "a transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "too many headers": OK + b"a:\r\n" * 5000 + b"\r\nok",
}


@pytest.mark.parametrize("http2", [False, True])
async def test_heads_with_two_readings_become_a_502(http2: bool):
    says, ca, wrong = Says(), authority(), list[tuple[str, str]]()
    async with to(says, ca) as box:
        for name, answer in REFUSED.items():
            says.answers = [answer]
            if http2:
                client = await H2.open(box, HOST)
                got = await client.answer(client.request(fields(HOST)))
                client.close()
            else:
                got = code_of(await ask(box, GET, f"{HOST}:443", HOST))
            if got != "upstream_failed":
                wrong.append((name, got))
        assert wrong == []
        assert box.notices() == []


async def test_heads_are_brought_into_one_form():
    says, ca = Says(OK + b'X: a\r\n  b\r\nAlt-Svc: h3=":443"\r\nALT-SVC: h2\r\n\r\nok'), authority()
    async with to(says, ca) as box:
        got = await ask(box, GET, f"{HOST}:443", HOST)
        assert b"X: a b\r\n" in got
        assert b"alt-svc" not in got.lower()
        says.answers = [b"HTTP/1.1 200 \x1b]0;title\x07\r\nContent-Length: 2\r\n\r\nok"]
        got = await ask(box, GET, f"{HOST}:443", HOST)
        assert got.startswith(b"HTTP/1.1 200")
        assert b"\x1b" not in got


async def test_no_transfer_coding_is_asked_for():
    says, ca = Says(*[OK + b"\r\nok"] * 2), authority()
    async with to(says, ca) as box:
        for te, passes in (("gzip, trailers", False), ("trailers", True)):
            asked = GET.replace(b"\r\n\r\n", f"\r\nTE: {te}\r\n\r\n".encode())
            assert (await ask(box, asked, f"{HOST}:443", HOST)).startswith(b"HTTP/1.1 200")
            assert (b"te: " in says.heads[-1].lower()) is passes


@pytest.mark.parametrize("http2", [False, True])
async def test_trailers_of_an_http1_answer_are_left_out_and_nothing_breaks(http2: bool):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    says, ca = Says(answer, answer), authority()
    async with to(says, ca) as box, box.client(http2=http2) as client:
        for _ in range(2):
            response = await client.get(f"https://{HOST}/x")
            assert (response.status_code, response.text) == (200, "ok")
        assert (await box.event(code="ok")).bytes_down == 2
        assert box.notices() == []


async def test_trailers_over_http2_pass_but_for_what_leads_past_the_proxy():
    async def handler(seen: Seen, send: object) -> None:
        call = send
        start = {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}
        await call(start)  # type: ignore[operator]
        await call({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]
        fields = [(b"grpc-status", b"0"), (b"alt-svc", b"h3")]
        await call({"type": "http.response.trailers", "headers": fields, "more_trailers": False})  # type: ignore[operator]

    ca = authority()
    async with Upstream((HOST,), ca, handler=handler).run() as upstream:
        mapped = {f"{HOST}:443": f"127.0.0.1:{upstream.port}"}
        async with bottle(Route(host=HOST), extra_ca=(pem(ca),), connect_to=mapped) as box:
            client = await H2.open(box, HOST)
            stream = client.request(fields(HOST, "/x", "GET", ("te", "trailers")))
            assert await client.answer(stream) == "200"
            assert client.trailers.get(stream) == [(b"grpc-status", b"0")]
            client.close()


async def test_interim_answers_without_end_end_the_request_and_cost_little():
    interim = b"HTTP/1.1 103\r\n\r\n"
    few = Says(interim * 1000 + OK + b"\r\nok", interim * 16_000 + OK + b"\r\nok")
    ca = authority()
    async with to(few, ca) as box:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        for _ in range(2):
            writer.write(GET)
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), 40)).startswith(b"HTTP/1.1 200")
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(400):
            writer.write(interim * 4096)
            await writer.drain()

    async with to(serve, ca) as box:
        process = psutil.Process(box.process.pid)
        before = process.memory_info().rss
        assert code_of(await ask(box, GET, f"{HOST}:443", HOST)) == "upstream_failed"
        assert process.memory_info().rss - before < 12 << 20


@pytest.mark.parametrize("start", [b"1;", b"0\r\nx: "], ids=["extension", "trailer"])
async def test_a_chunks_head_without_end_costs_no_memory(start: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + start)
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()
            await asyncio.sleep(0)  # a TLS connection that is being closed holds no writer up

    ca = authority()
    async with to(serve, ca) as box:
        process = psutil.Process(box.process.pid)
        before = process.memory_info().rss
        await ask(box, GET, f"{HOST}:443", HOST)
        event = await box.event(phase="closed")
        assert (event.decision, event.code) == ("error", "upstream_failed")
        assert process.memory_info().rss - before < 12 << 20


@pytest.mark.parametrize("http2", [False, True])
async def test_a_failure_is_not_remembered_for_the_life_of_the_connection(http2: bool):
    """The upstream is down, then up; the agent's connection stays the same."""
    ca, refusing = authority(), True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if refusing:
            writer.transport.abort()
            return
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK + b"\r\nok")

    async with to(serve, ca) as box:
        if http2:
            client = await H2.open(box, HOST)
            first = await client.answer(client.request(fields(HOST)))
            refusing = False
            assert (first, await client.answer(client.request(fields(HOST)))) == ("upstream_failed", "200")
            client.close()
            return
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(GET)
        assert code_of(await read_some(reader)) in ("upstream_failed", "upstream_tls")
        refusing = False
        writer.write(GET)
        assert (await read_some(reader)).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("http2", [False, True])
async def test_a_name_that_was_down_is_dialled_again(http2: bool):
    ca, says = authority(), Says(OK + b"\r\nok")
    async with server(says, ca, HOST) as port:
        pass  # free again: the upstream comes up there later
    mapped = {f"{HOST}:443": f"127.0.0.1:{port}"}
    async with bottle(Route(host=HOST), extra_ca=(pem(ca),), connect_to=mapped) as box:
        client = await H2.open(box, HOST) if http2 else None
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)

        async def once() -> str:
            if client is not None:
                return await client.answer(client.request(fields(HOST)))
            writer.write(GET)
            return code_of(await read_some(reader))

        assert await once() == "upstream_unreachable"
        async with server(says, ca, HOST, port=port):
            assert "200" in await once()
        writer.close()
        if client is not None:
            client.close()


async def test_http2_streams_share_an_http1_upstream_one_connection_each():
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
        # one more, that nobody asked for: it must not become the answer to another stream
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await reader.read()

    ca = authority()
    async with to(serve, ca) as box:
        client = await H2.open(box, HOST)
        streams = {client.request(fields(HOST, f"/n{number}")): f"/n{number}" for number in range(20)}
        for stream, path in streams.items():
            assert await client.answer(stream) == "200"
            assert client.body[stream].decode() == path
        assert seen == 20
        client.close()


async def test_an_answer_nobody_asked_for_is_no_answer_to_the_next_request():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\nok" + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await reader.read()

    ca = authority()
    async with to(serve, ca) as box:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        for _ in range(2):
            writer.write(GET)
            got = await read_some(reader)
            assert got.endswith((b"ok", b"\r\nok\r\n0\r\n\r\n")), got
        writer.close()
