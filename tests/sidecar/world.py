"""Run by test_proxy_world.py inside namespaces of its own: a name server, public addresses that are this machine's, a
sidecar that resolves and dials as it does in earnest. Nothing is mapped, and nothing private is allowed."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from sidecar.contract import Route
from sidecar.tasks import spawn
from tests.sidecar.attack_kit import OK, ask, code_of, server
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem

V4, V6, SECOND = "93.184.215.14", "2606:2800:21f::1", "93.184.215.15"
NAMES: dict[str, list[str]] = {
    "four.example.com": [V4],
    "six.example.com": [V6],
    "both.example.com": [V6, V4],
    "half.example.com": ["93.184.215.99", V4],
    "inside.example.com": [V4, "10.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "loop.example.com": ["127.0.0.1"],
}
asked: list[str] = []
swaps: dict[str, list[list[str]]] = {}


class NameServer(asyncio.DatagramProtocol):
    """Enough of RFC 1035 for glibc: A and AAAA, NXDOMAIN for what it does not know, silence for `slow.`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question, kind = data[12 : at + 5], struct.unpack("!H", data[at + 1 : at + 3])[0]
        name = ".".join(labels).lower()
        asked.append(name)
        if name.startswith("slow."):
            return
        later = swaps.get(name)
        addresses = (later.pop(0) if len(later) > 1 else later[0]) if later else NAMES.get(name)
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        fitting = [item for item in addresses or [] if (":" in item) == (family == socket.AF_INET6)] if family else []
        records = b"".join(
            b"\xc0\x0c"
            + struct.pack("!HHIH", kind, 1, 1, 16 if ":" in item else 4)
            + socket.inet_pton(family or 0, item)
            for item in fitting
        )
        flags = 0x8180 if addresses is not None else 0x8183
        self.transport.sendto(data[:2] + struct.pack("!HHHHH", flags, 1, len(fitting), 0, 0) + question + records, addr)


class Counting:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.seen.append(writer.get_extra_info("sockname")[0])
            writer.write(OK)


@pytest.fixture
async def seen() -> AsyncIterator[list[str]]:
    """Every address that an upstream answered on; the certificate is for all names here."""
    asked.clear()
    swaps.clear()
    loop, counting = asyncio.get_running_loop(), Counting()
    transport, _ = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 53))
    ca = authority()
    async with contextlib.AsyncExitStack() as stack:
        for address in (V4, V6, SECOND, "127.0.0.1"):
            await stack.enter_async_context(server(counting, ca, "*.example.com", V4, V6, host=address, port=443))
        Trusted.pem = pem(ca)
        yield counting.seen
    transport.close()


class Trusted:
    """The authority of the present test's upstreams."""

    pem = ""


async def get(box: Bottle, host: str, path: str = "/x") -> str:
    authority = f"[{host}]:443" if ":" in host else f"{host}:443"
    name = f"[{host}]" if ":" in host else host
    data = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    got = await ask(box, data, authority, host)
    return "200" if got.startswith(b"HTTP/1.1 200") else code_of(got)


async def test_names_are_resolved_and_the_checked_address_is_dialled(seen: list[str]):
    routes = (Route(host="*.example.com"), Route(host=V4), Route(host=V6))
    async with bottle(*routes, extra_ca=(Trusted.pem,)) as box:
        assert await get(box, "four.example.com") == "200"
        assert await get(box, "six.example.com") == "200"
        assert await get(box, V6) == "200"
        assert await get(box, V4) == "200"
        assert seen == [V4, V6, V6, V4]
        assert await get(box, "both.example.com") == "200"
        # the first address does not answer: the next one is tried after a quarter of a second
        assert await get(box, "half.example.com") == "200"
        assert (await box.event(host="six.example.com")).address == V6


async def test_one_private_address_among_public_ones_refuses(seen: list[str]):
    async with bottle(Route(host="*.example.com"), extra_ca=(Trusted.pem,)) as box:
        for name in ("inside", "metadata", "mapped", "loop"):
            assert await get(box, f"{name}.example.com") == "private_address"
        assert seen == []


async def test_a_name_that_changes_its_mind_is_not_followed(seen: list[str]):
    """DNS rebinding: public when it is checked, private a moment later."""
    swaps["four.example.com"] = [[V4], [V4], ["127.0.0.1"]]
    async with bottle(Route(host="*.example.com"), extra_ca=(Trusted.pem,)) as box:
        for _ in range(5):
            assert await get(box, "four.example.com") == "200"
        assert set(seen) == {V4}


async def test_nothing_is_asked_before_the_verdict(seen: list[str]):
    routes = (Route.model_validate({"host": "*.example.com", "matches": [{"paths": [{"value": "/ok"}]}]}),)
    async with bottle(*routes, extra_ca=(Trusted.pem,)) as box:
        assert await get(box, "stolen-data.example.org") == "host_not_allowed"
        assert await get(box, "stolen-data.example.com", "/no") == "path_not_allowed"
        assert await get(box, "example.com", "/ok") == "host_not_allowed"
        assert asked == []
        assert await get(box, "nobody.example.com", "/ok") == "upstream_unreachable"
        assert set(asked) == {"nobody.example.com"}
        assert seen == []


async def test_slow_names_do_not_hold_up_others(seen: list[str]):
    async with bottle(Route(host="*.example.com"), extra_ca=(Trusted.pem,)) as box:
        slow = [spawn(get(box, f"slow.n{number}.example.com"), name="slow") for number in range(3)]
        async with asyncio.timeout(10):
            while len(set(asked)) < 3:
                await asyncio.sleep(0.02)
            assert await get(box, "four.example.com") == "200"
        for task in slow:
            task.cancel()


async def test_the_hosts_proxy_gets_the_checked_address_and_the_name_only_where_we_have_none(seen: list[str]):
    targets: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        targets.append(head.split(b" ")[1].decode())
        inner_reader, inner_writer = await asyncio.open_connection(V4, 443)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async with server(proxy, None) as port:
        settings = f"http://127.0.0.1:{port}"
        routes = (Route(host="*.example.com"), Route(host="10.1.2.3"))
        async with bottle(*routes, extra_ca=(Trusted.pem,), upstream_proxy=settings) as box:
            assert await get(box, "four.example.com") == "200"
            assert await get(box, "six.example.com") == "200"
            assert await get(box, "unknown-here.example.com") == "200"
            assert await get(box, "metadata.example.com") == "private_address"
            assert await get(box, "10.1.2.3") == "private_address"
            assert targets == [f"{V4}:443", f"[{V6}]:443", "unknown-here.example.com:443"]
            told = await box.event(host="unknown-here.example.com")
            assert told.detail["resolved_by"] == "upstream proxy"
            assert "resolved_by" not in (await box.event(host="four.example.com")).detail
