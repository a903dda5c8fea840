"""How many events a second the store takes, in batches as ingestion makes them, and how long questions take as it
grows. The baseline is the same inserts straight into SQLite, in the same run, interleaved.

    python -m tests.bench.store
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from app.controller.events import Bus
from app.controller.ingest import BATCH_LINES, parse
from app.store.base import EventQuery
from app.store.sqlite import SqliteStore
from sidecar.contract import EgressEvent
from sidecar.spool import Position

ROUNDS, SIZE = 5, 10_000


def lines(start: int, count: int) -> list[tuple[Position, bytes]]:
    """Spool lines as a sidecar writes them."""
    made: list[tuple[Position, bytes]] = []
    for number in range(start, start + count):
        event = EgressEvent(
            id=f"{number:032x}",
            at=1_700_000_000.0 + number,
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
        made.append((Position(1, number + 1), orjson.dumps(event.model_dump(mode="json"))))
    return made


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


async def main(folder: Path) -> None:
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(Path(place)))
