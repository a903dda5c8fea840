"""Upstreams that are down, slow, broken or enormous, proxies on the way out, and what the sidecar does about them."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import trustme

from sidecar.contract import Route, RouteAuth
from sidecar.control import connect
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem

HOST = "api.example.com"
PUBLIC = "192.88.98.1"
"""An address that is nobody's private one. Never dialled."""

type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(serve: Serve, ca: trustme.CA | None = None) -> AsyncIterator[int]:
    context: ssl.SSLContext | None = None
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(HOST).configure_cert(context)

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(Exception):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context, limit=8 * 1024 * 1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def to(port: int, ca: trustme.CA | None = None) -> AsyncIterator[Bottle]:
    extra = (pem(ca),) if ca is not None else ()
    async with bottle(Route(host=HOST), extra_ca=extra, connect_to={f"{HOST}:443": f"127.0.0.1:{port}"}) as box:
        yield box


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await reader.read()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\x01 what \x1b[31m is this\r\n\r\n")
    await writer.drain()


async def huge_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    await reader.read()


async def smuggles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    await writer.drain()


async def switches(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: something\r\nConnection: upgrade\r\n\r\nraw bytes")
    await writer.drain()
    await reader.read()


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("serve", [closes, nonsense, huge_header, smuggles])
async def test_broken_answers_become_a_clear_502(serve: Serve, http2: bool):
    ca = authority()
    async with raw_server(serve, ca) as port, to(port, ca) as box, box.client(http2=http2) as client:
        response = await client.get(f"https://{HOST}/")
        assert (response.status_code, response.json()["code"]) == (502, "upstream_failed")
        event = await box.event(phase="closed")
        assert (event.decision, event.code, event.status) == ("error", "upstream_failed", 502)
        assert "\x1b" not in response.text


async def hints(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20")
        await writer.drain()
        writer.write(b"0 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_interim_answers_are_not_taken_for_the_final_one():
    ca = authority()
    async with raw_server(hints, ca) as port, to(port, ca) as box, box.client() as client:
        for _ in range(3):
            response = await client.get(f"https://{HOST}/")
            assert (response.status_code, response.text) == (200, "ok")


@pytest.mark.parametrize("http2", [False, True])
async def test_long_connections_do_not_grow(http2: bool):
    ca = authority()
    async with Upstream((HOST,), ca).run() as upstream, to(upstream.port, ca) as box:
        process = psutil.Process(box.process.pid)
        async with box.client(http2=http2) as client:
            for _ in range(300):
                await client.get(f"https://{HOST}/")
            before = process.memory_info().rss
            for _ in range(700):
                await client.get(f"https://{HOST}/")
            upstream.seen.clear()
        assert (process.memory_info().rss - before) / 700 < 8 * 1024


async def test_a_switch_to_another_protocol_is_not_followed():
    ca = authority()
    async with raw_server(switches, ca) as port, to(port, ca) as box, box.client() as client:
        with contextlib.suppress(httpx.HTTPError):
            response = await client.get(f"https://{HOST}/")
            assert b"raw bytes" not in response.content


async def test_down_and_tls_broken():
    ca, other = authority(), authority()
    async with to(1) as box, box.client() as client:
        response = await client.get(f"https://{HOST}/")
        assert (response.status_code, response.json()["code"]) == (502, "upstream_unreachable")
    async with raw_server(closes, other) as port, to(port, ca) as box, box.client() as client:
        response = await client.get(f"https://{HOST}/")
        assert (response.status_code, response.json()["code"]) == (502, "upstream_tls")
        assert (await box.event(phase="closed")).code == "upstream_tls"
    async with raw_server(greets) as port, to(port, ca) as box, box.client() as client:
        assert (await client.get(f"https://{HOST}/")).json()["code"] == "upstream_tls"


async def test_the_certificate_must_be_for_the_name():
    ca = authority()
    async with Upstream(("other.example.com",), ca).run() as upstream, to(upstream.port, ca) as box:
        async with box.client() as client:
            assert (await client.get(f"https://{HOST}/")).json()["code"] == "upstream_tls"
        assert upstream.seen == []


async def test_a_connection_that_breaks_in_the_middle():
    ca = authority()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    async with raw_server(half, ca) as port, to(port, ca) as box, box.client() as client:
        with pytest.raises(httpx.HTTPError):
            await client.get(f"https://{HOST}/")
        event = await box.event(phase="closed")
        assert (event.decision, event.code) == ("error", "upstream_failed")


@pytest.mark.parametrize("http2", [False, True])
async def test_much_passes_with_flat_memory(http2: bool):
    """A quarter of a gigabyte, of which eight megabytes are held at a time."""
    ca, size = authority(), 256 * 1024 * 1024

    async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        block = b"x" * 262_144
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()

    async with raw_server(big, ca) as port, to(port, ca) as box, box.client(http2=http2) as client:
        process, sizes, got = psutil.Process(box.process.pid), list[int](), 0
        async with client.stream("GET", f"https://{HOST}/") as response:
            async for chunk in response.aiter_raw():
                got += len(chunk)
                # from the first piece on: by then its engines are compiled, on a busy machine not before
                if not sizes or got % (32 * 1024 * 1024) < len(chunk):
                    sizes.append(process.memory_info().rss)
        assert got == size
        # what is held for a client that is slow for a moment leaves at once: queued, framed, encrypted, being written
        assert max(sizes) - sizes[0] < 5 * 8 * 1024 * 1024
        assert (await box.event(phase="closed")).bytes_down == size


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_that_does_not_read_holds_the_upstream_back(http2: bool):
    ca, sent = authority(), 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 262_144)
            await writer.drain()
            sent += 262_144

    async with raw_server(endless, ca) as port, to(port, ca) as box:
        async with box.client(http2=http2) as client, client.stream("GET", f"https://{HOST}/") as response:
            assert response.status_code == 200
            before = -1
            async with asyncio.timeout(30):
                while before != sent:
                    before = sent
                    await asyncio.sleep(0.5)
            assert sent < 64 * 1024 * 1024
        assert (await box.event(phase="closed")).code == "client_closed"


async def connect_proxy(seen: list[bytes], target: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        if b"refuse" in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    return serve


async def test_through_the_hosts_own_proxy():
    ca, seen = authority(), list[bytes]()
    async with Upstream(("1.1.1.1", HOST), ca).run() as upstream:
        serve = await connect_proxy(seen, upstream.port)
        async with raw_server(serve) as port:
            proxy = f"http://user:p%40ss@127.0.0.1:{port}"
            routes = (Route(host="1.1.1.1"), Route(host=HOST), Route(host="10.0.0.1"))
            async with bottle(*routes, extra_ca=(pem(ca),), upstream_proxy=proxy) as box, box.client() as client:
                assert (await client.get("https://1.1.1.1/x")).text == "hello"
                assert (await client.get("https://10.0.0.1/x")).json()["code"] == "private_address"
    assert seen[0].startswith(b"CONNECT 1.1.1.1:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in seen[0]


async def test_the_next_address_is_tried():
    from sidecar.egress.reach import Destination, Reach, UpstreamSettings

    async with raw_server(closes) as port:
        reach = Reach(UpstreamSettings())
        (_, writer), address = await reach.open(Destination(("127.0.0.99", "::1", "127.0.0.1"), port))
        assert address == "127.0.0.1"
        writer.close()


async def test_too_many_connections_are_dropped_and_others_go_on():
    async with to(1) as box:
        many = [await asyncio.open_connection("127.0.0.1", box.port) for _ in range(520)]
        health, _ = await box.channel.call("health")
        assert health["connections"] <= 512
        for _, writer in many:
            writer.close()
        async with asyncio.timeout(10):
            while (await box.channel.call("health"))[0]["connections"]:
                await asyncio.sleep(0.05)
        async with box.client() as client:
            assert (await client.get("https://x.example.org/")).status_code == 403


async def test_the_control_socket_and_its_token():
    async with to(1) as box:
        with pytest.raises(PermissionError):
            await connect(box.config.control_socket, "wrong")
        channel = await connect(box.config.control_socket, box.config.control_token)
        health, _ = await channel.call("health")
        assert health["ok"] is True
        # the first controller dies: nothing changes for the bottle
        box.channel.close()
        async with box.client() as client:
            assert (await client.get("https://x.example.org/")).status_code == 403
        await channel.call("stop")
        assert await asyncio.to_thread(box.process.wait, 10) == 0


async def test_a_new_listener_takes_over():
    from tests.sidecar.proxy_kit import listening

    async with to(1) as box:
        sock = listening()
        await box.channel.call("listen", {}, [sock.fileno()])
        box.port = sock.getsockname()[1]
        sock.close()
        async with box.client() as client:
            assert (await client.get("https://x.example.org/")).status_code == 403


async def test_secrets_reach_neither_environment_nor_disk_nor_log(tmp_path: Path):
    secret = "sk-very-secret-value-0123456789"
    async with bottle(Route(host=HOST), secrets={"KEY": secret}, canary="canary-value-123456") as box:
        process = Path(f"/proc/{box.process.pid}")
        assert secret.encode() not in (process / "cmdline").read_bytes()
        for path in box.folder.rglob("*"):
            if path.is_file():
                assert secret not in path.read_text("utf-8", "replace")


AUTH = {"scheme": {"header": "x-api-key"}, "token_ref": "KEY"}


async def test_a_credential_without_tls_stays_in_a_private_network():
    """`allow_private` lets a name lead there; it does not send credentials over the internet in the clear."""
    async with Upstream(("localhost",), authority(), tls=False).run() as upstream:
        routes = [
            Route.model_validate({"host": host, "ports": [port], "allow_private": True, "auth": AUTH})
            for host, port in (("localhost", upstream.port), (PUBLIC, 80))
        ]
        async with bottle(*routes, secrets={"KEY": "a-key-of-the-test"}) as box, box.client() as client:
            assert (await client.get(f"http://localhost:{upstream.port}/")).status_code == 200
            refused = await client.get(f"http://{PUBLIC}/")
            assert (refused.status_code, refused.json()["code"]) == (403, "credential_plaintext")
    assert [seen.header("x-api-key") for seen in upstream.seen] == [["a-key-of-the-test"]]


def _old(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1


def _asks(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    def demand(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(context)
        context.minimum_version = context.maximum_version = version

    return demand


def _odd_protocol(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["spdy/3"])


_YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize(
    ("leaf", "change", "codes"),
    [
        ({"not_after": _YESTERDAY}, None, {"upstream_tls"}),
        ({"not_before": _YESTERDAY + datetime.timedelta(days=30)}, None, {"upstream_tls"}),
        ({"names": (), "common_name": HOST}, None, {"upstream_tls"}),
        ({"names": ("*.com",)}, None, {"upstream_tls"}),
        ({}, _old, {"upstream_tls"}),
        ({}, _asks(ssl.TLSVersion.TLSv1_2), {"upstream_tls"}),
        # the server says so after the handshake, as for a request
        ({}, _asks(ssl.TLSVersion.TLSv1_3), {"upstream_tls", "upstream_failed"}),
        ({}, _odd_protocol, {""}),
    ],
    ids=["expired", "not-yet", "common-name", "top-level", "old", "asks-12", "asks-13", "odd-alpn"],
)
async def test_faults_of_an_upstreams_tls(
    leaf: dict[str, Any], change: Callable[[ssl.SSLContext], None] | None, codes: set[str], http2: bool
):
    seen, ca = bytearray(), authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    more: dict[str, Any] = {"names": (HOST,)} | leaf
    ca.issue_cert(*more.pop("names"), **more).configure_cert(context)
    if change is not None:
        change(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(Exception):
            seen.extend(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    auth = {"auth": RouteAuth(token_ref="KEY"), "allow_private": True}
    port = server.sockets[0].getsockname()[1]
    given = {"extra_ca": (pem(ca),), "connect_to": {f"{HOST}:443": f"127.0.0.1:{port}"}, "secrets": {"KEY": "k" * 20}}
    async with bottle(Route(host=HOST, **auth), **given) as box, box.client(http2=http2) as client:
        response = await client.get(f"https://{HOST}/")
        code = response.json()["code"] if response.content else ""
        assert code in codes
        assert response.status_code == (502 if code else 200)
        assert (b"k" * 20 in seen) == (not code), "no credential but to who was verified"
    server.close()
