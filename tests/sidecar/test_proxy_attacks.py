"""Requests that try to leave as something else than what was decided: framing, names, methods, header look-alikes. The
upstream here keeps every byte, so that what is asserted is what was on the wire."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.contract import Route
from tests.sidecar.attack_kit import H2, Fields, Tap, ask, code_of, fields, read_some, tap, tunnel
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem

HOST, OTHER = "api.example.com", "other.example.com"
TOKEN = "sk-real-credential-123456"
INNER = b"GET /evil HTTP/1.1\r\nHost: evil.example.org\r\n\r\n"


@pytest.fixture
async def up() -> AsyncIterator[Tap]:
    ca = authority()
    async with tap(ca, HOST, OTHER) as running:
        setattr(running, "ca", ca)  # noqa: B010
        yield running


@pytest.fixture
async def box(up: Tap) -> AsyncIterator[Bottle]:
    auth = {"scheme": {"header": "x-api-key"}, "token_ref": "KEY"}
    async with bottle(
        Route.model_validate({"host": HOST, "auth": auth}),
        Route.model_validate({"host": OTHER, "matches": [{"methods": ["POST"]}]}),
        extra_ca=(pem(up.ca),),  # type: ignore[attr-defined]
        connect_to={f"{name}:443": f"127.0.0.1:{up.port}" for name in (HOST, OTHER)},
        secrets={"KEY": TOKEN},
    ) as running:
        yield running


# --- one request is one request ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_an_http2_body_is_no_second_request_for_an_http1_upstream(box: Bottle, up: Tap, method: str):
    """HTTP/2 needs no content-length. Without one, the body would follow the head as a request of its own: to any
    host, with any path, never judged."""
    client = await H2.open(box, HOST)
    assert await client.answer(client.request(fields(HOST, "/x", method), INNER)) == "200"
    client.close()
    head, _, body = up.data.partition(b"\r\n\r\n")
    assert body == INNER
    assert b"content-length: %d" % len(INNER) in head.lower()


async def test_an_announced_body_that_does_not_come_leaves_no_gap(box: Bottle, up: Tap):
    client = await H2.open(box, HOST)
    await client.answer(client.request(fields(HOST, "/x", "POST", ("content-length", "5"))))
    client.close()
    assert b"content-length: 5" not in up.data.lower()


async def test_chunks_end_at_the_proxy(box: Bottle, up: Tap):
    data = (
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b;c\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert (await ask(box, data.encode(), f"{HOST}:443", HOST)).startswith(b"HTTP/1.1 200")
    head, _, body = up.data.partition(b"\r\n\r\n")
    assert body == b"abcde"
    assert b"transfer-encoding" not in head.lower()
    assert b"content-length: 5" in head.lower()


REFUSED = [
    (
        "bad_request",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "bad_request",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    ),
    ("bad_request", f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent_Length: 3\r\nContent-Length: 0\r\n\r\n"),
    ("bad_request", f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer_Encoding: chunked\r\n\r\n"),
    ("bad_request", f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent.Length: 3\r\n\r\n"),
    ("bad_request", f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nX: a\r\n\tb\r\n\r\n"),
    ("bad_request", f"GET /x HTTP/1.9\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"GET /x HTTP/0.9\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"GET /x HTTP/2.0\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"GET https://{HOST}/x HTTP/2.0\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"GET https://{OTHER}/x HTTP/3.0\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"GET *x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"GET * HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("bad_request", f"head /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("b''", f"PO\u017fT /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("names_disagree", f"GET https://{OTHER}/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("names_disagree", f"GET https://evil.example.org/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("names_disagree", f"GET http://evil.example.org/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("names_disagree", f"GET HTTPS://{HOST}/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ("names_disagree", "GET /x HTTP/1.1\r\nHost: a\u00adpi.example.com\r\n\r\n"),
    ("names_disagree", "GET /x HTTP/1.1\r\nHost: \u00aapi.example.com\r\n\r\n"),
    ("headers_too_large", f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n" + "a:\r\n" * 2000 + "\r\n"),
    ("headers_too_large", f"GET /x?{'&' * 100_000} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
]


async def test_what_two_servers_could_read_differently_never_leaves(box: Bottle, up: Tap):
    wrong: list[tuple[str, str, str]] = []
    for code, data in REFUSED:
        encoding = "utf-8" if "\u017f" in data else "latin-1"
        got = code_of(await ask(box, data.encode(encoding), f"{HOST}:443", HOST))
        if got != code or up.data:
            wrong.append((code, got, data[:80]))
            up.connections.clear()
    assert wrong == []


H2_REFUSED: list[Fields] = [
    fields(HOST, "/x", "POST", ("transfer-encoding", "chunked")),
    fields(HOST, "/x", "GET", ("host", OTHER)),
    fields(HOST, "/x", "GET", ("host", HOST), ("host", HOST)),
    fields(OTHER),
    fields(f"x@{HOST}"),
    fields(f"{HOST}."),
    fields(f"{HOST}:80"),
    fields(HOST, "/x", "GET", ("x", "a\r\nx-evil: b")),
    fields(HOST, "/x", "GET", ("x", "a\0b")),
    fields(HOST, "/x", "GET", ("x: a\r\ny", "b")),
    fields(HOST, "/x", "GET", ("connection", "x-api-key")),
    fields(HOST, "/x", "GET", ("upgrade", "websocket")),
    fields(HOST, "/x HTTP/1.1\r\nX: y\r\n\r\nGET /"),
    fields(HOST, "/x y"),
    fields(HOST, "/x", "GET /y HTTP/1.1\r\nX: y\r\n\r\nGET"),
    fields(HOST, "/x", "TRACE"),
    fields(HOST, f"https://{OTHER}/x"),
    fields(HOST, "x"),
    fields(HOST, ""),
    fields(HOST, "/x", "POST", ("content-length", "3"), ("content-length", "3")),
    fields(HOST, "/x", "GET", ("te", "gzip")),
    [(":method", "CONNECT"), (":authority", f"{OTHER}:443")],
    [(":method", "CONNECT"), (":protocol", "websocket"), *fields(HOST)[1:]],
    [(":method", "GET"), (":scheme", "https"), (":path", "/x")],
    [(":method", "GET"), (":scheme", "https"), (":path", "/x"), ("host", HOST)],
    [*fields(HOST), (":authority", OTHER)],
    [("x", "y"), *fields(HOST)],
]


async def test_nor_over_http2(box: Bottle, up: Tap):
    wrong: list[tuple[str, Fields]] = []
    for headers in H2_REFUSED:
        client = await H2.open(box, HOST)
        answer = await client.answer(client.request(headers))
        client.close()
        refused = answer in ("names_disagree", "bad_request", "method_not_allowed", "not_http", "over", "ended")
        if not refused or up.data:
            wrong.append((answer, headers))
            up.connections.clear()
    assert wrong == []


async def test_credentials_of_the_agents_own_do_not_ride_along_under_a_name_that_looks_alike(box: Bottle, up: Tap):
    names = ("X_Api_Key", "x.api.key", "Authorization", "API_KEY", "X-API_KEY", "X-Api-Key")
    mine = "".join(f"{name}: mine\r\n" for name in names)
    data = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n{mine}X-Kept: yes\r\n\r\n"
    await ask(box, data.encode(), f"{HOST}:443", HOST)
    assert b"mine" not in up.data
    assert b"X-Kept: yes" in up.data
    assert up.data.count(TOKEN.encode()) == 1


async def test_the_method_is_judged_as_it_is_sent(box: Bottle, up: Tap):
    lower = f"post /x HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()
    assert code_of(await ask(box, lower, f"{OTHER}:443", OTHER)) == "bad_request"
    assert up.data == b""


async def test_empty_lines_before_a_request_mean_nothing(box: Bottle):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    request = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    writer.write(request)
    assert (await read_some(reader)).startswith(b"HTTP/1.1 200")
    writer.write(b"\r\n\r\n" + request)
    assert (await read_some(reader)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_http2_connections_are_not_shared_by_hosts(box: Bottle, up: Tap):
    client = await H2.open(box, HOST)
    assert await client.answer(client.request(fields(HOST))) == "200"
    assert await client.answer(client.request(fields(OTHER, "/x", "POST"), b"x")) == "names_disagree"
    assert await client.answer(client.request(fields(HOST, "/again"))) == "200"
    client.close()
    assert len(up.connections) == 2
    assert b"/again" in up.connections[1]


async def test_requests_of_two_hosts_on_one_plain_connection_are_judged_each(box: Bottle, up: Tap):
    reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
    refusals = {OTHER: "method_not_allowed", "evil.example.org": "host_not_allowed"}
    for target in (*refusals, *refusals):
        writer.write(f"PUT http://{target}/x HTTP/1.1\r\nHost: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        assert code_of(await read_some(reader)) == refusals[target]
    writer.close()
    assert up.data == b""


# --- whatever the bytes --------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"hello"),
        *(b"GET ", b"POST ", b"/x", b"/y?z", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"*", b"https://evil.example.org/"),
        *(b"Host: api.example.com\r\n", b"Host: evil.example.org\r\n", b"host:api.example.com\r\n"),
        *(
            b"Content-Length: 5\r\n",
            b"Content-Length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 50\r\n",
        ),
        *(
            b"Transfer-Encoding: identity\r\n",
            b"Connection: close\r\n",
            b"Connection: keep-alive\r\n",
            b"Expect: 100-continue\r\n",
        ),
        *(b"Upgrade: websocket\r\n", b"X: y\r\n", b"X: y\r\n z\r\n", b"Transfer-Encoding:\x0bchunked\r\n"),
    ]
)
WHOLE = st.sampled_from(
    [
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(),
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(INNER)}\r\n\r\n".encode() + INNER,
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n{len(INNER):x}\r\n".encode()
        + INNER
        + b"\r\n0\r\n\r\n",
    ]
)


def requests_in(data: bytes) -> list[tuple[bytes, bytes]]:
    """Head and body of each request in a stream, read by length alone, as the strictest server would."""
    found: list[tuple[bytes, bytes]] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, data
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        assert len(lengths) <= 1
        length = int(lengths[0]) if lengths else 0
        assert len(rest) >= length, data
        found.append((head, rest[:length]))
        data = rest[length:]
    return found


async def test_what_arrives_is_whole_requests_for_the_host_that_was_decided(box: Bottle, up: Tap):
    """Hypothesis puts pieces of requests together; all that reaches the upstream must read as requests for it."""

    async def attempt(parts: list[bytes]) -> None:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        try:
            for part in parts:
                writer.write(part)
            writer.write_eof() if writer.can_write_eof() else None
            await read_some(reader, quiet=0.02, first=0.05)
        finally:
            writer.transport.abort()

    seen = 0
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(st.one_of(PIECES, WHOLE), min_size=1, max_size=12))
    def run(parts: list[bytes]) -> None:
        asyncio.run_coroutine_threadsafe(attempt(parts), loop).result(20)

    await asyncio.to_thread(run)
    for kept in up.connections:
        for head, _ in requests_in(bytes(kept)):
            seen += 1
            line, _, headers = head.partition(b"\r\n")
            assert line.split(b" ")[1].startswith(b"/"), head
            assert line.endswith((b"HTTP/1.1", b"HTTP/1.0")), head
            hosts = [item for item in headers.lower().split(b"\r\n") if item.startswith(b"host:")]
            assert [item.split(b":", 1)[1].strip() for item in hosts] in ([HOST.encode()], []), head
            assert headers.lower().count(b"x-api-key:") == 1, head
            assert b"transfer-encoding" not in headers.lower(), head
    assert seen > 10
    health, _ = await box.channel.call("health")
    assert health["live"] == 0
    assert box.notices() == []
