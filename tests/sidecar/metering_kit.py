"""A metered bottle: a real sidecar before a provider whose answers, and what they cost, the test has written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import httpx

from sidecar.allowance import Allowance, IntentEvent, Lease, Metered, Standing, UsageEvent
from sidecar.contract import Route
from tests.sidecar.meter.meter_kit import Answer
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, authority, bottle, pem

HOST = "llm.example.com"
OTHER = "other.example.com"
PROVIDER = "claude"
UNLIMITED = Allowance(leases=(Lease(id="free", provider=PROVIDER),))


class Provider:
    """Serves `answers` by number (header `x-answer`), cut and encoded as each is told."""

    def __init__(self) -> None:
        self.bodies: dict[str, tuple[Answer, str, list[bytes]]] = {}
        self.pause = 0.0
        self.gate: asyncio.Event | None = None
        """Set: answers stop in the middle until it is."""

    def add(self, name: str, answer: Answer, encoding: str, pieces: list[bytes]) -> None:
        self.bodies[name] = (answer, encoding, pieces)

    async def __call__(self, seen: Seen, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        answer, encoding, pieces = self.bodies[seen.header("x-answer")[0]]
        headers = [(b"content-type", answer.content_type.encode())]
        if encoding:
            headers.append((b"content-encoding", encoding.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, piece in enumerate(pieces):
            if self.gate is not None and number == len(pieces) // 2:
                await self.gate.wait()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self.pause:
                await asyncio.sleep(self.pause)
        await send({"type": "http.response.body", "body": b""})


def allowance(*leases: Lease, version: int = 1, **more: Any) -> Allowance:
    return Allowance(version=version, leases=leases, **more)


def tokens(limit: float | None, *, lease: str = "L1", when_spent: str = "cutoff", **more: Any) -> Lease:
    data = {"id": lease, "provider": PROVIDER, "limit": limit, "when_spent": when_spent, "budget": "the test's budget"}
    return Lease.model_validate(data | more)


@contextlib.asynccontextmanager
async def metered_bottle(
    handler: Callable[..., Awaitable[None]],
    granted: Allowance | None = UNLIMITED,
    hold_seconds: float = 300.0,
    route: Route | None = None,
    vendor_fetch: bool = False,
    **kwargs: Any,
) -> AsyncIterator[tuple[Bottle, Upstream]]:
    """A bottle with a metered host and one that is not, both led to one upstream. With `vendor_fetch` what is sent need
    not be JSON."""
    async with Upstream((HOST, OTHER), authority(), handler=handler).run() as upstream:
        policy = {"metered": (Metered(provider=PROVIDER, host=HOST),), "hold_seconds": hold_seconds}
        policy["vendor_fetch"] = vendor_fetch
        mapped = {f"{host}:443": f"127.0.0.1:{upstream.port}" for host in (HOST, OTHER)}
        async with bottle(
            route or Route(host=HOST),
            Route(host=OTHER),
            policy=policy,
            allowance=granted,
            extra_ca=(pem(upstream.ca),),
            connect_to=mapped,
            **kwargs,
        ) as box:
            yield box, upstream


async def grant(box: Bottle, given: Allowance | None = None) -> Standing:
    body = {"allowance": given.model_dump(mode="json")} if given is not None else {}
    answer, _ = await box.channel.call("allowance", body)
    return Standing.model_validate(answer)


def intents(box: Bottle) -> list[IntentEvent]:
    return [IntentEvent.model_validate(line) for line in box.lines("intent")]


def usages(box: Bottle) -> list[UsageEvent]:
    return [UsageEvent.model_validate(line) for line in box.lines("usage")]


def numbers(event: UsageEvent) -> tuple[int, ...]:
    cached = (event.cache_read, event.cache_write_5m, event.cache_write_1h)
    return (event.input, event.output, *cached, event.reasoning)


async def ask(client: httpx.AsyncClient, name: str, answer: Answer) -> bytes:
    """Ask for an answer; the raw bytes of its body, as they came."""
    url = f"https://{HOST}{answer.path}"
    got: list[bytes] = []
    async with client.stream("POST", url, json=answer.request, headers={"x-answer": name}) as response:
        assert response.status_code == 200, await response.aread()
        async for chunk in response.aiter_raw():
            got.append(chunk)
    return b"".join(got)


async def ask_many(clients: Iterable[httpx.AsyncClient], asked: list[tuple[str, Answer]]) -> dict[str, bytes]:
    """All of them, each client one after the other, the clients at once."""
    waiting, got = list(asked), dict[str, bytes]()

    async def work(client: httpx.AsyncClient) -> None:
        while waiting:
            name, answer = waiting.pop()
            got[name] = await ask(client, name, answer)

    await asyncio.gather(*(work(client) for client in clients))
    return got
