"""What the log says of requests that came to no end: it must be true of each whether anything of it left."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sidecar.contract import Route, RouteDlp
from tests.security.evasions import TOKENS
from tests.sidecar.attack_kit import H2, Tap, ask, code_of, fields, tap, tunnel
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem

pytestmark = pytest.mark.e2e
HOST, MILD = "api.test", "mild.test"
TOKEN = TOKENS["github"]
_CHUNKED = f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "letters": "zz\r\nhello\r\n0\r\n\r\n",
    "signed": "+5\r\nhello\r\n0\r\n\r\n",
    "underscored": "0_5\r\nhello\r\n0\r\n\r\n",
    "of too many digits": f"{5:021}\r\nhello\r\n0\r\n\r\n",
    "longer than said": "5\r\nhelloXX\r\n0\r\n\r\n",
    "with a trailer": "5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n",
}


@pytest.fixture
async def world() -> AsyncIterator[tuple[Bottle, Tap]]:
    """An upstream that answers nothing."""
    ca = authority()
    routes = Route(host=HOST), Route(host=MILD, dlp=RouteDlp(outbound_on_match="redact"))
    async with tap(ca, HOST, MILD, reply=b"") as up:
        mapped = {f"{host}:443": f"127.0.0.1:{up.port}" for host in (HOST, MILD)}
        async with bottle(*routes, extra_ca=(pem(ca),), connect_to=mapped) as box:
            yield box, up


async def arrived(up: Tap) -> None:
    async with asyncio.timeout(10):
        while b"\r\n\r\n" not in up.data:
            await asyncio.sleep(0.01)


async def known(box: Bottle) -> None:
    """Its head is at the sidecar."""
    async with asyncio.timeout(10):
        while not (await box.channel.call("health"))[0]["live"]:
            await asyncio.sleep(0.01)


async def begun(box: Bottle) -> H2:
    """A client of HTTP/2 whose request has a head and no end."""
    client = await H2.open(box, HOST)
    stream = client.conn.get_next_available_stream_id()
    client.conn.send_headers(stream, [(str(name), str(value)) for name, value in fields(HOST, "/x", "POST")])
    client.flush()
    return client


@pytest.mark.parametrize("chunks", BROKEN.values(), ids=BROKEN.keys())
async def test_chunks_that_are_none_are_told_and_refused(world: tuple[Bottle, Tap], chunks: str) -> None:
    box, up = world
    got = await ask(box, (_CHUNKED + chunks).encode(), f"{HOST}:443", HOST)
    assert (got[:12], code_of(got)) == (b"HTTP/1.1 400", "bad_request")
    event = await box.event(phase="closed")
    assert (event.decision, event.code) == ("deny", "bad_request")
    assert up.data == b""


async def test_a_client_that_breaks_http2_did_not_go_away(world: tuple[Bottle, Tap]) -> None:
    box, up = world
    client = await begun(box)
    await known(box)
    client.writer.write(b"\x00\x00\x00\x09\x04\x00\x00\x00\x01")  # a continuation of nothing
    event = await box.event(phase="closed")
    assert (event.decision, event.code) == ("deny", "bad_request")
    assert up.data == b""
    client.close()


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_who_leaves_before_all_of_the_request_came(world: tuple[Bottle, Tap], http2: bool) -> None:
    box, up = world
    if http2:
        writer = (await begun(box)).writer
    else:
        _, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(f"{_CHUNKED}5\r\nhel".encode())
    await known(box)
    writer.close()
    event = await box.event(phase="closed")
    assert (event.decision, event.code) == ("error", "client_closed")
    assert "before" in event.reason
    assert up.data == b""


@pytest.mark.parametrize(("host", "decision"), [(HOST, "allow"), (MILD, "redact")])
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_who_leaves_after_it_was_sent(world: tuple[Bottle, Tap], http2: bool, host: str, decision: str) -> None:
    box, up = world
    body = TOKEN if host == MILD else "hello"
    if http2:
        client = await H2.open(box, host)
        client.request(fields(host, "/x", "POST"), body.encode())
        writer = client.writer
    else:
        _, writer = await tunnel(box, f"{host}:443", host)
        writer.write(f"POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    await arrived(up)
    writer.close()
    event = await box.event(phase="closed")
    assert (event.decision, event.code) == (decision, "client_closed")
    assert TOKEN.encode() not in up.data
