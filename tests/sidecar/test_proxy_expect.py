"""Requests that wait for `100 Continue`: told to go on where their body is needed, and refused without it where not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sidecar.contract import Route
from tests.sidecar.attack_kit import H2, Tap, code_of, fields, read_some, tap, tunnel
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem

HOST = "api.example.com"
BODY = b"0123456789"
CONTINUE = b"HTTP/1.1 100 "


@pytest.fixture
async def up() -> AsyncIterator[Tap]:
    ca = authority()
    async with tap(ca, HOST) as running:
        setattr(running, "ca", ca)  # noqa: B010
        yield running


@pytest.fixture
async def box(up: Tap) -> AsyncIterator[Bottle]:
    route = {"host": HOST, "max_body": 1000, "matches": [{"paths": [{"value": "/ok"}]}]}
    async with bottle(
        Route.model_validate(route),
        extra_ca=(pem(up.ca),),  # type: ignore[attr-defined]
        connect_to={f"{HOST}:443": f"127.0.0.1:{up.port}"},
    ) as running:
        yield running


def head(path: str, host: str = HOST, framing: str = f"Content-Length: {len(BODY)}") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n{framing}\r\n\r\n".encode()


REFUSED = {
    "path_not_allowed": head("/no"),
    "path_ambiguous": head("/ok/%EF%BC%8Fno", framing="Transfer-Encoding: chunked"),
    "names_disagree": head("/ok", "other.example.com"),
    "body_too_large": head("/ok", framing="Content-Length: 1001"),
}


@pytest.mark.parametrize("code", REFUSED)
async def test_what_the_head_decides_is_told_before_the_body(box: Bottle, up: Tap, code: str):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(REFUSED[code])
    got = await read_some(reader)
    writer.close()
    assert not got.startswith(CONTINUE)
    assert code_of(got) == code
    assert b"connection: close\r\n" in got.lower()
    assert up.data == b""
    event = await box.event(phase="closed", code=code)
    assert event.decision == "deny"
    assert (await box.channel.call("health"))[0]["live"] == 0
    assert box.notices() == []


async def test_a_body_that_comes_all_the_same_is_no_request(box: Bottle, up: Tap):
    inner = b"GET /ok HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(head("/no", framing=f"Content-Length: {len(inner)}"))
    assert code_of(await read_some(reader)) == "path_not_allowed"
    writer.write(inner[:20])
    await asyncio.sleep(0.1)
    writer.write(inner[20:] + inner)
    assert await asyncio.wait_for(reader.read(), 5) == b"", "and the connection is over"
    writer.close()
    assert up.data == b""


async def test_one_that_does_not_wait_gets_its_answer(box: Bottle):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(head("/no") + BODY)
    assert code_of(await asyncio.wait_for(reader.read(), 5)) == "path_not_allowed"
    writer.close()


@pytest.mark.parametrize("framing", [f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"])
async def test_what_is_allowed_is_told_to_go_on(box: Bottle, up: Tap, framing: str):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    for _ in range(2):
        writer.write(head("/ok", framing=framing))
        assert (await read_some(reader)).startswith(CONTINUE)
        writer.write(BODY if "Length" in framing else b"a\r\n" + BODY + b"\r\n0\r\n\r\n")
        assert (await read_some(reader)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert up.data.count(BODY) == 2
    assert b"expect" not in up.data.lower()


async def test_a_client_of_http10_waits_for_nothing(box: Bottle, up: Tap):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(head("/ok").replace(b"HTTP/1.1", b"HTTP/1.0") + BODY)
    assert (await read_some(reader)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert up.data.count(BODY) == 1
    assert b"expect" not in up.data.lower()


async def test_over_http2_the_stream_ends_and_no_other(box: Bottle, up: Tap):
    client = await H2.open(box, HOST)
    for path, code in (("/no", "path_not_allowed"), ("/ok", "200")):
        stream = client.conn.get_next_available_stream_id()
        wanted = fields(HOST, path, "POST", ("expect", "100-continue"))
        client.conn.send_headers(stream, [(str(name), str(value)) for name, value in wanted])
        client.flush()
        if code == "200":
            client.conn.send_data(stream, BODY, end_stream=True)
            client.flush()
        assert await client.answer(stream) == code
    client.close()
    assert up.data.count(BODY) == 1
    assert b"/no" not in up.data
