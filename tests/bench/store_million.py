"""A database of a million events and a quarter of a million answers: how soon the real controller has it open, and how
soon the usage screen of a real app is painted from it. `python -m tests.bench.store_million [FOLDER]`; a database in
FOLDER is used again."""

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from app.client import Client
from app.core.budget import NANO
from app.core.model import Sum
from app.core.scopes import GLOBAL, agent_scope, bottle_scope, launch_scope
from app.core.usage import BUCKET
from app.paths import Paths, private_folder
from app.store.connection import prepare

EVENTS, DAYS, SESSIONS = 1_000_000, 30, 500
EACH = EVENTS // SESSIONS
METERED = 4
"""One event in so many is a model's answer."""
MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "gpt-5.1-codex")
ROUNDS = 5

PAYLOAD = (
    '{{"id":"{id:032x}","at":{at},"request_id":"r{id:031x}","kind":"egress","phase":"closed","decision":"{decision}",'
    '"code":"ok","reason":"","method":"POST","scheme":"https","host":"{host}","port":443,"path":"/v1/messages",'
    '"protocol":"HTTP/2.0","status":200,"bytes_up":123456,"bytes_down":7890,"ms":812.5,"detail":{{}}}}'
)


def when(number: int, end: float) -> float:
    """Sessions follow one another over the days; each takes two hours."""
    session, within = divmod(number, EACH)
    start = end - DAYS * 86400 + session * (DAYS * 86400 - 7200) / SESSIONS
    return start + 7200 * within / EACH


def events(end: float) -> Iterator[tuple[object, ...]]:
    for number in range(EVENTS):
        session, at = number // EACH, when(number, end)
        decision, host = ("deny", "pastebin.com") if number % 10 == 1 else ("allow", f"api{number % 50}.example.com")
        payload = PAYLOAD.format(id=number, at=at, decision=decision, host=host)
        yield f"{number:032x}", f"session-{session}", f"bottle-{session}", at, "egress", decision, host, payload


def answers(end: float) -> Iterator[tuple[object, ...]]:
    for number in range(0, EVENTS, METERED):
        session, at = number // EACH, when(number, end)
        model = MODELS[number // METERED % len(MODELS)]
        provider = "openai" if model.startswith("gpt") else "claude"
        yield (
            f"session-{session}", f"bottle-{session}", f"r{number:031x}.0", f"r{number:031x}", at, provider,
            "api.example.com", "/v1/messages", model, "anthropic", 900, number % 4000, 40_000, 500, 0, NANO // 100, 1,
            1, 1, 0, 0, "", "end_turn", 200, 812.5, 120.0, "", "", "",
        )  # fmt: skip


def sums(end: float) -> Iterator[tuple[object, ...]]:
    found: dict[tuple[str, str, str, int], list[float]] = {}
    for row in answers(end):
        start, add = int(str(row[4]).partition(".")[0]) // BUCKET * BUCKET, row[10:14]
        for scope in (launch_scope(str(row[0])), agent_scope("developer"), bottle_scope("dev"), GLOBAL):
            kept = found.setdefault((scope, str(row[5]), str(row[8]), start), [0.0] * 6)
            kept[0] += 1
            for at, value in enumerate(add):
                kept[at + 1] += value  # type: ignore[operator]
            kept[5] += NANO // 100
    for key, (requests, read, made, cached, written, nano) in found.items():
        numbers = (requests, read, made, cached, written, 0, nano, 0, 0, 0, 0, requests)
        yield (*key, *map(int, numbers), requests * 812.5)


def build(path: Path) -> None:
    end, began = time.time(), time.perf_counter()
    db = prepare(path)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO events (event_id, session_id, slug, at, kind, decision, host, payload)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", events(end),
    )  # fmt: skip
    db.executemany(f"INSERT INTO usage VALUES ({', '.join('?' * 29)})", answers(end))
    names = ", ".join(("scope", "provider", "model", "start", *Sum.model_fields))
    db.executemany(f"INSERT INTO usage_sums ({names}) VALUES ({', '.join('?' * 17)})", sums(end))
    for session in range(SESSIONS):
        at = when(session * EACH, end)
        db.execute(
            "INSERT INTO session_metrics (session_id, slug, project, provider, model, started, ended, tokens, turns)"
            " VALUES (?, ?, ?, 'claude', ?, ?, ?, 1000000, 500)",
            (f"session-{session}", f"bottle-{session}", f"/project-{session % 5}", MODELS[0], at, at + 7200),
        )
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = path.stat().st_size / 1e6
    print(
        f"{EVENTS:,} events, {EVENTS // METERED:,} answers: {size:,.0f} MB, made in {time.perf_counter() - began:.0f} s"
    )


async def painted(client: Client) -> tuple[float, float]:
    """Seconds from the key to the painted screen; of them, until the controller had answered."""
    from app.carboy import CarboyApp
    from tests.tui.waiting import text_of, until

    async def connect() -> Client:
        return client

    answered: list[float] = []
    usage = client.usage

    async def watched(slug: str | None = None, days: int = 30):
        found = await usage(slug, days)
        answered.append(time.perf_counter())
        return found

    client.usage = watched  # type: ignore[method-assign]
    app = CarboyApp(connect)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link == "connected", "connected")
        await pilot.pause()
        began = time.perf_counter()
        await pilot.press("u")
        while "By model" not in text_of(pilot):
            await asyncio.sleep(0.002)
        done = time.perf_counter()
    client.usage = usage  # type: ignore[method-assign]
    return done - began, answered[0] - began


async def started(paths: Paths) -> tuple[float, Client]:
    """Seconds of a start of the controller, its interpreter included, until it answers."""
    began = time.perf_counter()
    client = await Client.connect(paths)
    await client.status()
    return time.perf_counter() - began, client


async def one_round(paths: Paths) -> tuple[float, float, float, float]:
    began = time.perf_counter()
    db = prepare(paths.database)
    opened = time.perf_counter() - began
    db.close()
    up, client = await started(paths)
    try:
        whole, asked = await painted(client)
    finally:
        pid = (await client.status()).pid
        await client.shutdown(force=True)
        await client.close()
    while psutil.pid_exists(pid):
        await asyncio.sleep(0.02)
    return opened, up, asked, whole


def evict(path: Path) -> None:
    """Out of the page cache, as after a boot."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


async def main(home: Path) -> None:
    paths = Paths.resolve({**os.environ, "CARBOY_HOME": str(home)})
    os.environ["CARBOY_HOME"] = str(home)
    private_folder(paths.state)
    private_folder(paths.config)
    paths.settings.write_text("keep: all\n")  # nothing is removed meanwhile
    if not paths.database.exists():
        build(paths.database)
    with sqlite3.connect(paths.database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"{'':6} {'open, ms':>9} {'controller up, ms':>18} {'report, ms':>11} {'painted, ms':>12} {'in all, ms':>11}")
    for number in range(ROUNDS):
        if number == 0:
            evict(paths.database)
        opened, up, asked, whole = (one * 1000 for one in await one_round(paths))
        name = "cold" if number == 0 else "warm"
        print(f"{name:6} {opened:>9.1f} {up:>18.0f} {asked:>11.0f} {whole:>12.0f} {opened + whole:>11.0f}")
    print("asked for: it opens and paints the usage screen in less than 1,000 ms (open + key to painted)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(Path(sys.argv[1]).absolute()))
    else:
        with tempfile.TemporaryDirectory(prefix="cb-") as place:
            asyncio.run(main(Path(place)))
