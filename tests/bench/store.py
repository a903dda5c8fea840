"""How many events a second the store takes, in batches as ingestion makes them, and how long questions take as it
grows; then the same from spools, while questions of the last hour are asked. The baseline of the first is the same
inserts straight into SQLite, in the same run, interleaved.

    python -m tests.bench.store
"""

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from app.controller.events import Bus
from app.controller.ingest import BATCH_LINES, Counts, Ingest, parse
from app.core.scopes import GLOBAL, agent_scope, bottle_scope, launch_scope
from app.store.base import EventQuery
from app.store.metering import SumQuery
from app.store.sqlite import SqliteStore
from sidecar.allowance import IntentEvent, UsageEvent
from sidecar.contract import EgressEvent
from sidecar.spool import Position, SpoolWriter

ROUNDS, SIZE = 5, 10_000
SPOOLS, REQUESTS = 4, 10_000
"""Bottles that write at once, and the requests of each; a third of them are a model's, of three events each."""
ASK_EVERY = 0.03
MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "gpt-5.1-codex")


def egress(number: int, at: float) -> EgressEvent:
    return EgressEvent(
        id=f"{number:032x}",
        at=at,
        request_id=f"r{number:031x}",
        decision="deny" if number % 10 == 0 else "allow",
        code="ok",
        method="POST",
        scheme="https",
        host=f"api{number % 50}.example.com",
        port=443,
        path="/v1/messages",
        protocol="HTTP/2.0",
        status=200,
        bytes_up=123_456,
        bytes_down=7_890,
        ms=812.5,
    )


def lines(start: int, count: int) -> list[tuple[Position, bytes]]:
    """Spool lines as a sidecar writes them."""
    made = [egress(number, 1_700_000_000.0 + number) for number in range(start, start + count)]
    return [
        (Position(1, start + number + 1), orjson.dumps(event.model_dump(mode="json")))
        for number, event in enumerate(made)
    ]


async def ingest(bus: Bus, given: list[tuple[Position, bytes]]) -> float:
    began = time.perf_counter()
    for start in range(0, len(given), BATCH_LINES):
        batch = given[start : start + BATCH_LINES]
        parsed = await asyncio.to_thread(parse, batch)
        await bus.keep("dev", "session", parsed.events, batch[-1][0])
    return len(given) / (time.perf_counter() - began)


def plain(db: sqlite3.Connection, given: list[tuple[Position, bytes]]) -> float:
    began = time.perf_counter()
    for start in range(0, len(given), BATCH_LINES):
        rows = [(line.decode(),) for _, line in given[start : start + BATCH_LINES]]
        with db:
            db.executemany("INSERT INTO plain VALUES (?)", rows)
    return len(given) / (time.perf_counter() - began)


async def timed(ask: Callable[[], Awaitable[object]]) -> float:
    found: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        await ask()
        found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)


async def growth(folder: Path) -> None:
    store = SqliteStore(folder / "carboy.db")
    await store.open()
    bus = Bus(store)
    await bus.start()
    db = sqlite3.connect(folder / "plain.db")
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE plain (line TEXT)")
    ours: list[float] = []
    theirs: list[float] = []
    questions = {
        "newest 500": EventQuery(),
        "newest 500 refused": EventQuery(decision="blocked"),
        "newest 500 of one host": EventQuery(host="api7."),
        "page of a replay": EventQuery(after=100, limit=1000),
    }
    print(f"{'events':>9} {'question':24} {'median ms':>10}")
    for turn in range(ROUNDS):
        given = lines(turn * SIZE, SIZE)
        ours.append(await ingest(bus, given))
        theirs.append(plain(db, given))
        for name, query in questions.items():
            cost = await timed(lambda query=query: store.events(query))
            print(f"{(turn + 1) * SIZE:>9} {name:24} {cost:>10.2f}")
    print(f"ingested, validated and published: {statistics.median(ours):,.0f} events/s (asked for: 2,000)")
    print(f"SQLite alone, one column, no index: {statistics.median(theirs):,.0f} rows/s")
    db.close()
    await store.close()


# --- sustained, with questions meanwhile ------------------------------------------------------------------------------


def usage(number: int, at: float) -> tuple[IntentEvent, UsageEvent]:
    request, model = f"r{number:031x}", MODELS[number % len(MODELS)]
    provider = "openai" if model.startswith("gpt") else "claude"
    host = "api.openai.com" if provider == "openai" else "api.anthropic.com"
    intent = IntentEvent(
        id=f"{request}.i", at=at, request_id=request, provider=provider, host=host, model=model, input_tokens=40_000
    )
    used = UsageEvent(
        id=f"{request}.0", at=at, request_id=request, provider=provider, host=host, path="/v1/messages", model=model,
        dialect="anthropic", input=900, output=number % 4000, cache_read=40_000, tool_calls=1, status=200, ms=812.5,
    )  # fmt: skip
    return intent, used


def fill(folder: Path, first: int, count: int) -> int:
    """One bottle's spool: the events of `count` requests of the last hour. Returns how many."""
    folder.mkdir(parents=True)
    writer, written = SpoolWriter(os.open(folder, os.O_RDONLY)), 0
    began = time.time() - 3500
    for number in range(first, first + count):
        at = began + 3400 * (number - first) / count
        events: list[Any] = [egress(number, at)]
        if number % 3 == 0:
            intent, used = usage(number, at)
            events = [intent, *events, used]
        for event in events:
            assert writer.write(event.model_dump(mode="json"))
        written += len(events)
    writer.close()
    return written


def questions(store: SqliteStore) -> dict[str, Callable[[], Awaitable[object]]]:
    """What faces ask of the last hour."""

    def since() -> float:
        return time.time() - 3600

    return {
        "answers": lambda: store.usage_rows(since=since(), limit=200),
        "answers of a bottle": lambda: store.usage_rows(session_id="session-1", since=since(), limit=200),
        "tokens by minute of a bottle": lambda: store.minutes("session-1", since()),
        "sums by model": lambda: store.sums(SumQuery(scope=GLOBAL, since=since(), by_model=True)),
        "sums by bottle": lambda: store.sums(SumQuery(scopes_of="launch:", since=since())),
        "refusals of a bottle": lambda: store.refusals("session-1", since()),
        "newest 500 events": lambda: store.events(EventQuery()),
    }


async def sustained(folder: Path) -> None:
    store = SqliteStore(folder / "carboy.db")
    await store.open()
    bus = Bus(store)
    await bus.start()
    spools = Ingest(bus)
    spools.told.counts = lambda session: Counts(
        (launch_scope(session), agent_scope("developer"), bottle_scope("dev"), GLOBAL)
    )
    total = sum(fill(folder / str(n), n * REQUESTS, REQUESTS) for n in range(SPOOLS))
    taken: dict[str, list[float]] = {name: [] for name in questions(store)}

    async def ask() -> None:
        while True:
            for name, question in questions(store).items():
                began = time.perf_counter()
                await question()
                taken[name].append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(ASK_EVERY)

    async def ack(position: Position) -> None:
        del position

    await store.sums(SumQuery())
    began = time.perf_counter()
    asking = asyncio.get_running_loop().create_task(ask())
    for n in range(SPOOLS):
        spools.watch(f"bottle-{n}", f"session-{n}", folder / str(n), ack)
    await asyncio.gather(*(spools.settle(f"session-{n}", 600) for n in range(SPOOLS)))
    seconds = time.perf_counter() - began
    asking.cancel()
    kept = sum(item.sum.requests for item in await store.sums(SumQuery(scope=GLOBAL)))
    print(f"\n{total:,} events of {SPOOLS} bottles, {kept:,} answers among them, from their spools in {seconds:.1f} s")
    print(f"sustained, with questions meanwhile: {total / seconds:,.0f} events/s (asked for: 2,000)")
    print(f"{'of the last hour, meanwhile':32} {'asked':>6} {'p50 ms':>8} {'p95 ms':>8} {'worst ms':>9}")
    for name, found in {**taken, "all": [one for each in taken.values() for one in each]}.items():
        found.sort()
        p95 = found[max(0, int(0.95 * len(found)) - 1)]
        print(f"{name:32} {len(found):>6} {statistics.median(found):>8.1f} {p95:>8.1f} {found[-1]:>9.1f}")
    print("asked for: 50 ms p95")
    await spools.close()
    await store.close()


async def main(folder: Path) -> None:
    for name, part in (("growth", growth), ("sustained", sustained)):
        (folder / name).mkdir()
        await part(folder / name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(Path(place)))
