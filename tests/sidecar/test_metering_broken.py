"""Every kind of stream, broken in the middle by the upstream, by the agent, and by kill -9 of the sidecar: its row, as
the controller keeps it, is marked and within ten percent of the provider's count by then: each, not their sum; of a
model that has answered before, and of one that never did."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import websockets

from app.controller.ingest import parse
from app.core.usage import UsageRow
from app.demo.pretend import openai
from app.demo.pretend.certificate import pretended
from app.store.metering import Metering
from app.store.sqlite import SqliteStore
from sidecar.allowance import Metered
from sidecar.contract import Route
from sidecar.egress.books import STEP_SECONDS
from sidecar.spool import SpoolReader
from tests.conftest import until
from tests.sidecar.meter.meter_forms import (
    Maker,
    anthropic_sse,
    chat_sse,
    gemini_sse,
    responses_events,
    responses_sse,
)
from tests.sidecar.meter.meter_kit import Answer, Truth, running, tokens
from tests.sidecar.metering_kit import HOST, PROVIDER, UNLIMITED, ask, metered_bottle
from tests.sidecar.proxy_kit import Bottle, Seen, bottle
from tests.sidecar.test_metering_socket import connect

pytestmark = pytest.mark.e2e

type Breaker = Literal["upstream", "agent", "kill"]
BREAKERS: tuple[Breaker, ...] = ("upstream", "agent", "kill")
MODEL = "model-1"
TAUGHT = 3
"""Whole answers before the one that breaks: an agent's first one is a title or a greeting."""


def socket_events(rng: random.Random, least: int, most: int) -> Answer:
    found, truth = responses_events(rng, least, most)
    pieces, made = running([(json.dumps(event).encode(), count) for event, count in found])
    return Answer("responses socket", openai.HOST, "/v1/responses", "", pieces, truth, {}, made)


KINDS: dict[str, tuple[Maker, Callable[[str], dict[str, Any]]]] = {
    "anthropic": (anthropic_sse, lambda text: {"messages": [{"role": "user", "content": text}]}),
    "responses": (responses_sse, lambda text: {"input": text}),
    "chat": (chat_sse, lambda text: {"messages": [{"role": "user", "content": text}]}),
    "gemini": (gemini_sse, lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}]}),
    "socket": (socket_events, lambda text: {"input": text, "type": "response.create"}),
}


@cache
def answers(kind: str) -> tuple[Answer, ...]:
    """Answers of one model to requests of a length that a provider would count so; its own count in `truth`."""
    maker, asked = KINDS[kind]
    found: list[Answer] = []
    for seed in range(100_000):
        answer = maker(random.Random(seed), 900, 1200)
        truth = answer.truth
        read = truth.input + truth.cache_read + truth.cache_write_5m + truth.cache_write_1h
        if truth.model != MODEL or truth.reasoning or read > 20_000:
            continue
        text = "".join(token.text for token in tokens(random.Random(seed), read, read))
        found.append(replace(answer, request={**answer.request, "model": MODEL, "stream": True, **asked(text)}))
        if len(found) == TAUGHT + 1:
            return tuple(found)
    raise AssertionError("no such answers")


def half(answer: Answer) -> int:
    return len(answer.pieces) // 2


def total(truth: Truth) -> int:
    return truth.input + truth.cache_read + truth.cache_write_5m + truth.cache_write_1h


@dataclass
class Stops:
    """Sends what is asked for; the last answer only to its half, then it hangs or breaks."""

    kind: str
    breaks: bool
    first: int
    """The answer that it begins with; those before it teach nothing."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody waits any more."""

    async def __call__(self, seen: Seen, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        number = int(seen.header("x-answer")[0])
        answer = answers(self.kind)[number]
        headers = [(b"content-type", answer.content_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at, piece in enumerate(answer.pieces):
            if number == TAUGHT and at == half(answer):
                await self.end()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if number == TAUGHT:
                await asyncio.sleep(0.002)
        await send({"type": "http.response.body", "body": b""})

    async def end(self) -> None:
        if not self.breaks:
            await self.over.wait()
        await asyncio.sleep(0.05)  # what was sent must not be thrown away with the connection
        raise ConnectionError("the test breaks it")

    async def talk(self, socket: websockets.ServerConnection) -> None:
        """The same over a WebSocket."""
        async for message in socket:
            number = int(json.loads(message)["metadata"]["answer"])
            answer = answers(self.kind)[number]
            for at, piece in enumerate(answer.pieces):
                if number == TAUGHT and at == half(answer):
                    with contextlib.suppress(ConnectionError):
                        await self.end()
                    socket.transport.abort()
                    return
                await socket.send(piece.decode())
                if number == TAUGHT:
                    await asyncio.sleep(0.002)


async def killed(box: Bottle) -> None:
    """What came within `STEP_SECONDS` before is not written down, and that is all that may be lost."""
    await asyncio.sleep(10 * STEP_SECONDS)
    box.process.kill()


async def http(stops: Stops, breaker: Breaker, folder: Path) -> list[UsageRow]:
    taught, last = answers(stops.kind)[:TAUGHT], answers(stops.kind)[TAUGHT]
    async with metered_bottle(stops) as (box, _), box.client() as client, stopping(stops):
        for number in range(stops.first, TAUGHT):
            await ask(client, str(number), taught[number])
        left = sum(map(len, last.pieces[: half(last)]))
        asked: dict[str, Any] = {"headers": {"x-answer": str(TAUGHT)}, "json": last.request}
        with contextlib.suppress(httpx.HTTPError):
            async with client.stream("POST", f"https://{HOST}{last.path}", **asked) as response:
                async for chunk in response.aiter_raw():
                    left -= len(chunk)
                    if left <= 0 and breaker == "kill":
                        await killed(box)
                    elif left <= 0 and breaker == "agent":
                        break
        return await kept(box, breaker, folder, TAUGHT + 1 - stops.first)


@contextlib.asynccontextmanager
async def stopping(stops: Stops) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        stops.over.set()


@contextlib.asynccontextmanager
async def codex(stops: Stops) -> AsyncIterator[Bottle]:
    made = pretended((openai.HOST,))
    async with websockets.serve(stops.talk, "127.0.0.1", 0, ssl=made.tls) as vendor:
        (port,) = {sock.getsockname()[1] for sock in vendor.sockets}
        policy = {"metered": (Metered(provider=PROVIDER, host=openai.HOST),)}
        mapped = {f"{openai.HOST}:443": f"127.0.0.1:{port}"}
        given: dict[str, Any] = {"policy": policy, "allowance": UNLIMITED, "extra_ca": (made.ca_pem,)}
        async with bottle(Route(host=openai.HOST), connect_to=mapped, **given) as box:
            yield box


async def socket(stops: Stops, breaker: Breaker, folder: Path) -> list[UsageRow]:
    last = answers(stops.kind)[TAUGHT]
    async with codex(stops) as box, stopping(stops):
        talk = await connect(box).__aenter__()
        for number in range(stops.first, TAUGHT + 1):
            answer = answers(stops.kind)[number]
            await talk.send(json.dumps({**answer.request, "metadata": {"answer": number}}))
            with contextlib.suppress(websockets.ConnectionClosed):
                for _ in answer.pieces[: half(last)] if number == TAUGHT else answer.pieces:
                    await talk.recv()
        if breaker == "kill":
            await killed(box)
        elif breaker == "agent":
            talk.transport.abort()
        return await kept(box, breaker, folder, TAUGHT + 1 - stops.first)


async def kept(box: Bottle, breaker: Breaker, folder: Path, asked: int) -> list[UsageRow]:
    """The rows that a controller makes of what the sidecar wrote."""
    if breaker == "kill":
        await until(lambda: box.process.poll() is not None)
    else:
        await until(lambda: len(box.lines("usage")) == asked)
    report = parse(SpoolReader(box.folder / "spool").read(100_000)).report
    store = SqliteStore(folder / "carboy.db")
    await store.open()
    try:
        metering = Metering(("global",), tuple(report.intents), tuple(report.rows), tuple(report.progress))
        await store.ingest("dev", "s1", [], None, metering)
        lost = [intent.request_id for intent in await store.intents("s1")]
        assert len(lost) == (breaker == "kill")
        await store.settle_intents("s1", "dev", ("global",), lost)
        return [row for _, row in await store.usage_rows()]
    finally:
        await store.close()


@pytest.mark.parametrize("breaker", BREAKERS)
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("seen", [True, False], ids=["known", "never-seen"])
async def test_a_stream_that_breaks_is_marked_and_within_ten_percent(
    seen: bool, kind: str, breaker: Breaker, tmp_path: Path
) -> None:
    stops = Stops(kind, breaker == "upstream", 0 if seen else TAUGHT)
    rows = await (socket if kind == "socket" else http)(stops, breaker, tmp_path)
    whole, (broken,) = [row for row in rows if row.complete], [row for row in rows if not row.complete]
    assert [(row.context, row.output, row.estimated) for row in whole] == [
        (total(answer.truth), answer.truth.output, False) for answer in answers(kind)[stops.first : TAUGHT]
    ]
    last = answers(kind)[TAUGHT]
    made, read = last.made[half(last) - 1], total(last.truth)
    assert (broken.billable, broken.estimated, broken.unmetered, broken.model) == (True, True, False, MODEL)
    assert broken.output == pytest.approx(made, rel=0.10)
    assert broken.context == pytest.approx(read, rel=0.10)
    if kind in ("anthropic", "gemini"):  # told before the text begins
        written = last.truth.cache_write_5m + last.truth.cache_write_1h
        assert (broken.input, broken.cache_read, broken.cache_write) == (
            last.truth.input,
            last.truth.cache_read,
            written,
        )
