"""Every hook of every addon, and every stream callable, broken in a real sidecar: before a request is sent the upstream
sees nothing; after that the flow is killed and recorded."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import websockets

from sidecar.allowance import Allowance, Lease, Metered
from sidecar.contract import Route
from sidecar.egress import addons
from sidecar.gitgate.addon import GitGate
from sidecar.guard import BEFORE_SENT
from sidecar.supervise.addon import Mcp
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, authority, bottle, pem

HOST = "api.example.com"
HOOKS = (
    *("requestheaders", "request", "responseheaders", "response", "error"),
    *("websocket_start", "agent_message", "websocket_end"),
    *("http_connect", "http_connect_error", "http_connected", "tls_clienthello", "tls_start_client"),
)


def every_addon() -> list[type]:
    """Whatever has a hook, so that one which is added later is broken here as well."""
    modules = [
        importlib.import_module(f"{addons.__name__}.{each.name}") for each in pkgutil.iter_modules(addons.__path__)
    ]
    own = [
        cls
        for module in modules
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__
    ]
    return [cls for cls in [*own, GitGate, Mcp] if any(inspect.isfunction(getattr(cls, hook, None)) for hook in HOOKS)]


ALL = [
    f"{cls.__module__}:{cls.__name__}.{name}"
    for cls in every_addon()
    for name, _ in inspect.getmembers(cls, inspect.isfunction)
    if name in HOOKS
]
EARLY = [fault for fault in ALL if fault.rpartition(".")[2] in BEFORE_SENT]
LATE = [fault for fault in ALL if fault.rpartition(".")[2] in ("responseheaders", "response")]
SOCKET = [fault for fault in ALL if fault.rpartition(".")[2] in ("websocket_start", "agent_message")]
STREAMS = [
    "sidecar.egress.addons.journal:_counter:stream",
    "sidecar.egress.addons.metering:_tap:stream",
    "sidecar.meter.meter:Meter.feed:raise",
    "sidecar.egress.answer:AnswerFilter.feed:raise",
    "sidecar.egress.addons.inbound:Inbound.echo:raise",
    "sidecar.dlp.injection:InjectionWatch.feed:raise",
    "sidecar.dlp.injection_deltas:AnswerWatch.feed:raise",
    "sidecar.dlp.echo:EchoRedactor.feed:raise",
]
"""What sees or changes an answer's bytes on their way."""
FRAMES = [
    "sidecar.egress.websocket:Relay._count",
    "sidecar.egress.websocket:Relay._relay",
    "sidecar.egress.addons.inbound:FrameFilter.down",
    "sidecar.dlp.injection_deltas:AnswerWatch.message",
    "sidecar.dlp.echo:FrameRedactor.message",
    "sidecar.egress.addons.sockets:Conversation.down",
]
INNER = [
    "sidecar.egress.addons.outbound:examine",
    "sidecar.egress.addons.outbound:judge",
    "sidecar.egress.addons.outbound:message_of",
    "sidecar.egress.scanner:Scanner.run",
    "sidecar.egress.scanner:_compiled",
    "sidecar.dlp.engine:Engine.scan",
    "sidecar.dlp.decode:parts",
    "sidecar.dlp.drip:Drips.add",
    "sidecar.dlp.drip:Scattered.before",
    "sidecar.dlp.drip:Scattered.add",
    "sidecar.egress.policy:CompiledPolicy.decide",
    "sidecar.egress.policy:CompiledPolicy.port_open",
    "sidecar.egress.reach:Reach.known",
    "sidecar.spool:SpoolWriter.ready",
    "sidecar.egress.addons.gate:_names",
    "sidecar.egress.connection:Edge._tls",
    "sidecar.egress.layers:choose",
    "sidecar.egress.tls:Leaves.connection",
    "sidecar.egress.tls:Upstreams.connection",
    "sidecar.egress.reach:Reach.open",
    "sidecar.egress.layers:Stream.make_server_connection",
    "sidecar.egress.layers:Stream._take_body",
    "sidecar.egress.connection:Edge._dial",
    "sidecar.egress.metered:MeteredHosts.provider_of",
    "sidecar.meter.ledger:Ledger.check",
    "sidecar.egress.books:Books.intend",
]


async def slow(seen: Seen, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for _ in range(20):
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b""})


async def collect(client: httpx.AsyncClient, into: list[bytes]) -> None:
    async with client.stream("GET", f"https://{HOST}/x") as response:
        async for chunk in response.aiter_raw():
            into.append(chunk)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream((HOST,), authority()).run() as running:
        yield running


def options(upstream: Upstream, **kwargs: Any) -> dict[str, Any]:
    mapped = {f"{HOST}:443": f"127.0.0.1:{upstream.port}"}
    return {
        "extra_ca": (pem(upstream.ca),),
        "connect_to": mapped,
        "placeholders": {"T": "placeholder-0123456789"},
        "secrets": {"T": "a-real-credential-of-the-host-0123456789"},
        "policy": {"metered": (Metered(provider="claude", host=HOST),), "vendor_fetch": True},
        "allowance": Allowance(leases=(Lease(id="free", provider="claude"),)),
        **kwargs,
    }


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("fault", [f"{name}:raise" for name in [*EARLY, *INNER]])
async def test_before_it_is_sent_nothing_leaves(upstream: Upstream, fault: str, http2: bool):
    async with bottle(Route(host=HOST), fault=fault, **options(upstream)) as box, box.client(http2=http2) as client:
        try:
            response = await client.post(f"https://{HOST}/x", content=b"secret body")
            assert response.status_code in (403, 502), response.text
            if "addons" in fault and "_names" not in fault:
                assert response.json()["code"] == "internal_error"
        except httpx.HTTPError:
            pass  # cut off is as good as refused
        assert upstream.seen == []
        async with asyncio.timeout(10):
            while not box.notices() and "Reach.open" not in fault and "port_open" not in fault:
                await asyncio.sleep(0.02)
        assert "sk-not-for-the-log" not in (box.folder / "log").read_text()
        assert b"sk-not-for-the-log" not in b"".join(path.read_bytes() for path in (box.folder / "spool").iterdir())
        if "SpoolWriter" not in fault:
            health, _ = await box.channel.call("health")
            assert health["ok"]


@pytest.mark.parametrize("how", ["hang", "later"])
@pytest.mark.parametrize(
    "fault", ["sidecar.egress.addons.gate:Gate.requestheaders", "sidecar.egress.reach:Reach.known"]
)
async def test_asynchronous_hooks_that_hang_or_fail_are_bounded(upstream: Upstream, fault: str, how: str):
    async with bottle(Route(host=HOST), fault=f"{fault}:{how}", **options(upstream)) as box, box.client() as client:
        response = await client.get(f"https://{HOST}/x")
        assert response.json()["code"] == "internal_error"
        assert upstream.seen == []


def both_protocols(fault: str) -> list[bool]:
    return [False, True] if "journal" in fault else [False]


@pytest.mark.parametrize(
    ("fault", "http2"),
    [(f, h2) for f in [*(f"{name}:raise" for name in LATE), *STREAMS] for h2 in both_protocols(f)],
)
async def test_after_it_was_sent_the_flow_is_killed_and_recorded(upstream: Upstream, fault: str, http2: bool):
    upstream.handler = slow
    async with bottle(Route(host=HOST), fault=fault, **options(upstream)) as box, box.client(http2=http2) as client:
        got: list[bytes] = []
        with pytest.raises(httpx.HTTPError):
            await collect(client, got)
        if ".response:" not in fault:
            assert got == []
        event = await box.event(phase="closed")
        assert (event.decision, event.code) in (("error", "killed"), ("error", "internal_error"))
        assert len(upstream.seen) == 1
        assert b"sk-not-for-the-log" not in b"".join(path.read_bytes() for path in (box.folder / "spool").iterdir())
        assert (await box.channel.call("health"))[0]["live"] == 0


async def talk(box: Bottle) -> None:
    async with websockets.connect(f"wss://{HOST}/ws", proxy=box.proxy, ssl=box.tls()) as socket:
        await socket.send("hello")
        await socket.recv()


@pytest.mark.parametrize("fault", [*SOCKET, *FRAMES])
async def test_websocket_faults_end_the_connection(upstream: Upstream, fault: str):
    async with bottle(Route(host=HOST), fault=f"{fault}:raise", **options(upstream)) as box:
        with pytest.raises((websockets.ConnectionClosed, websockets.InvalidHandshake, EOFError)):
            await talk(box)
        event = await box.event(phase="closed")
        assert (event.decision, event.code) in (("error", "killed"), ("error", "internal_error"))
        assert (await box.channel.call("health"))[0]["live"] == 0


@pytest.mark.parametrize("fault", [fault for fault in ALL if fault.endswith((".websocket_end", ".error"))])
async def test_a_failing_end_is_recorded_and_frees_everything(upstream: Upstream, fault: str):
    async def broken(seen: Seen, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise RuntimeError("the upstream breaks off")

    upstream.handler = broken
    async with bottle(Route(host=HOST), fault=f"{fault}:raise", **options(upstream)) as box, box.client() as client:
        if fault.endswith("_end"):
            async with websockets.connect(f"wss://{HOST}/ws", proxy=box.proxy, ssl=box.tls()) as socket:
                await socket.send("bye")
                with pytest.raises(websockets.ConnectionClosed):
                    await socket.recv()
        else:
            with pytest.raises(httpx.HTTPError):
                await client.get(f"https://{HOST}/x")
        await box.event(phase="closed")
        assert (await box.channel.call("health"))[0]["live"] == 0


async def test_a_failing_record_of_the_end_still_frees_everything(upstream: Upstream):
    fault = "sidecar.egress.addons.journal:Journal.response:raise"
    async with bottle(Route(host=HOST), fault=fault, **options(upstream)) as box, box.client() as client:
        for _ in range(3):
            with pytest.raises(httpx.HTTPError):
                await client.get(f"https://{HOST}/x")
        assert (await box.channel.call("health"))[0]["live"] == 0


async def test_a_spool_that_cannot_be_written_refuses_requests(upstream: Upstream):
    fault = "os:write:full"
    async with bottle(Route(host=HOST), fault=fault, **options(upstream)) as box, box.client() as client:
        first = await client.get(f"https://{HOST}/x")
        second = await client.get(f"https://{HOST}/x")
        assert first.status_code == 200
        assert second.json()["code"] == "spool_unavailable"
    assert len(upstream.seen) == 1
