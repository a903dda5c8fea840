"""A policy that changes under what is going on: what it no longer allows ends, before and after it was sent."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.contract import Narrowing, Policy, Route
from sidecar.egress.reach import MAX_LOOKUPS, Reach, Unreachable, UpstreamSettings
from tests.sidecar.attack_kit import H2, Tap, fields, read_some, tap, tunnel
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem

HOST, OTHER = "api.example.com", "other.example.com"


def route(host: str = HOST, path: str = "/", **more: Any) -> Route:
    return Route.model_validate({"host": host, "matches": [{"paths": [{"value": path}]}], **more})


@pytest.fixture
async def up() -> AsyncIterator[Tap]:
    ca = authority()
    async with tap(ca, HOST, OTHER, reply=b"") as running:
        setattr(running, "ca", ca)  # noqa: B010
        yield running


@pytest.fixture
async def box(up: Tap) -> AsyncIterator[Bottle]:
    mapped = {f"{name}:443": f"127.0.0.1:{up.port}" for name in (HOST, OTHER)}
    async with bottle(route(), route(OTHER), extra_ca=(pem(up.ca),), connect_to=mapped) as running:  # type: ignore[attr-defined]
        yield running


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(100), 5) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "policy", [Policy(version=2, routes=(route(OTHER),)), Policy(version=2, routes=(route(HOST, "/y"),))]
)
async def test_a_request_whose_body_is_still_coming(box: Bottle, up: Tap, policy: Policy):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbo".encode())
    async with asyncio.timeout(5):
        while not (await box.channel.call("health"))[0]["live"]:
            await asyncio.sleep(0.02)
    await box.set_policy(policy)
    writer.write(b"dy")
    assert await ended(reader)
    writer.close()
    assert up.data == b""
    assert (await box.event(phase="closed")).code == "killed"


async def test_a_credential_that_the_route_got_meanwhile_is_not_mixed_with_the_agents_own(box: Bottle, up: Tap):
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: mine\r\nContent-Length: 4\r\n\r\nbo".encode())
    async with asyncio.timeout(5):
        while not (await box.channel.call("health"))[0]["live"]:
            await asyncio.sleep(0.02)
    await box.channel.call("secrets", {"secrets": {"KEY": "sk-real-credential-1"}})
    await box.set_policy(Policy(version=2, routes=(route(auth={"token_ref": "KEY"}),)))
    writer.write(b"dy")
    assert await ended(reader)
    assert up.data == b""
    writer.close()


async def test_what_is_sent_ends_when_its_path_goes_and_lives_on_when_others_go(box: Bottle, up: Tap):
    streams = {}
    for host in (HOST, OTHER):
        streams[host] = await tunnel(box, f"{host}:443", host)
        streams[host][1].write(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while up.data.count(b"\r\n\r\n") < 2:
            await asyncio.sleep(0.02)
    await box.set_policy(
        Policy(version=2, routes=(route(HOST, "/y"), route(OTHER, dlp={"outbound_on_match": "block"})))
    )
    assert await ended(streams[HOST][0])
    assert (await box.channel.call("health"))[0]["live"] == 1
    assert await read_some(streams[OTHER][0], first=0.3) == b""
    assert not streams[OTHER][0].at_eof()
    for _, writer in streams.values():
        writer.close()


async def test_a_connection_into_a_private_network_ends_with_the_permission():
    async with Upstream((HOST,), authority(), tls=False).run() as upstream:
        mine = route("localhost", ports=[upstream.port], allow_private=True)
        async with bottle(mine) as box:
            reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
            writer.write(
                f"GET http://localhost:{upstream.port}/ HTTP/1.1\r\nHost: localhost:{upstream.port}\r\n\r\n".encode()
            )
            assert (await read_some(reader)).startswith(b"HTTP/1.1 200")
            await box.set_policy(Policy(version=2, routes=(route("localhost", ports=[upstream.port]),)))
            assert await ended(reader)
            writer.close()


async def test_http2_streams_of_one_connection_end_together(box: Bottle, up: Tap):
    client = await H2.open(box, HOST)
    client.request(fields(HOST, "/x"))
    client.request(fields(HOST, "/y"))
    async with asyncio.timeout(10):
        while up.data.count(b"\r\n\r\n") < 2:
            await asyncio.sleep(0.02)
    await box.set_policy(Policy(version=2, routes=(route(HOST, "/y"),)))
    async with asyncio.timeout(10):
        while not client.over:
            try:
                await client.pump()
            except ConnectionError:
                break
    client.close()


async def test_an_address_is_private_whoever_asks():
    reach = Reach(UpstreamSettings())
    assert reach.known("127.0.0.1", 80, True).private is True  # type: ignore[union-attr]
    assert reach.known("1.1.1.1", 80, True).private is False  # type: ignore[union-attr]
    with pytest.raises(Unreachable):
        reach.known("::ffff:127.0.0.1", 80, False)


async def test_a_look_up_that_gets_no_thread_keeps_no_place(monkeypatch: pytest.MonkeyPatch):
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reach = Reach(UpstreamSettings())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        for number in range(2 * MAX_LOOKUPS):
            with pytest.raises(Unreachable, match="could not be resolved"):
                await asyncio.wait_for(reach.find(f"host{number}.example", 443, False), 5)
    assert (await reach.find("localhost", 80, True)).private


@pytest.mark.parametrize("away", [2.0, -5.0])
async def test_what_was_allowed_for_a_while_ends_without_a_controller(box: Bottle, up: Tap, away: float):
    wide = (route(), route(OTHER))
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    await box.set_policy(
        Policy(version=2, routes=wide, narrows=Narrowing(at=time.time() + away, routes=(route(OTHER),)))
    )
    box.channel.close()  # whoever gave it is killed
    assert await ended(reader)
    writer.close()
    reader, writer = await tunnel(box, f"{HOST}:443", HOST)
    writer.write(f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert b" 403 " in await read_some(reader)
    writer.close()


async def test_a_sidecar_that_is_started_again_later_has_only_what_is_allowed_by_then(up: Tap):
    mapped = {f"{HOST}:443": f"127.0.0.1:{up.port}"}
    narrows = Narrowing(at=time.time() - 1)
    async with bottle(route(), policy={"narrows": narrows}, connect_to=mapped) as box:
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert b" 403 " in await read_some(reader)
        writer.close()
