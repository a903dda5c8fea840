"""The store's contract, run against every engine, and what is special to SQLite's file."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.core.model import BottleView
from app.core.notices import Notice
from app.errors import CarboyError
from app.store import queries
from app.store.base import EventQuery, NewEvent, Position, Store
from app.store.chain import GENESIS, Head, next_row
from app.store.connection import Transaction, migrate, prepare, version
from app.store.migrations import LATEST, MIGRATIONS, Migration
from app.store.sqlite import SqliteStore

ENGINES = [SqliteStore]
KEY = b"k" * 32


def event(number: int, **more: Any) -> NewEvent:
    fields = {
        "event_id": f"e{number}",
        "at": float(number),
        "kind": "egress",
        "decision": "allow",
        "host": "api.example.com",
        "payload": {"n": number, "phase": "closed"},
    }
    return NewEvent(**{**fields, **more})


def view(session_id: str = "s1", **more: Any) -> BottleView:
    fields: dict[str, Any] = {
        "slug": "dev",
        "session_id": session_id,
        "label": "dev",
        "agent": None,
        "bottles": ("base",),
        "provider": "shell",
        "backend": "local",
        "isolation": "process",
        "state": "running",
        "cwd": "/tmp",
        "created_at": 1.0,
    }
    return BottleView(**{**fields, **more})


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    engine = request.param(tmp_path / "state" / "carboy.db")
    await engine.open()
    yield engine
    await engine.close()


async def test_events_get_growing_numbers_and_come_back_in_order(store: Store) -> None:
    first = await store.add_events("dev", "s1", [event(1), event(2)])
    second = await store.add_events("ops", "s2", [event(3)])
    assert [item.seq for item in first + second] == sorted({item.seq for item in first + second})
    back = await store.events(EventQuery())
    assert [item.data["n"] for item in back] == [1, 2, 3]
    assert [item.slug for item in back] == ["dev", "dev", "ops"]
    assert await store.last_seq() == back[-1].seq


async def test_the_same_event_is_kept_once_per_session(store: Store) -> None:
    await store.add_events("dev", "s1", [event(1)], Position(1, 10))
    again = await store.add_events("dev", "s1", [event(1, payload={"n": "forged"}), event(2)], Position(1, 20))
    assert [item.data["n"] for item in again] == [2]
    other = await store.add_events("ops", "s2", [event(1)])
    assert len(other) == 1
    assert [item.data["n"] for item in await store.events(EventQuery())] == [1, 2, 1]


async def test_events_and_position_are_one_transaction(store: Store) -> None:
    await store.add_events("dev", "s1", [event(1)], Position(1, 10))
    with pytest.raises(TypeError):
        await store.add_events("dev", "s1", [event(2), event(3, payload={"bad": object()})], Position(1, 99))
    assert await store.position("s1") == Position(1, 10)
    assert len(await store.events(EventQuery())) == 1


async def test_an_unknown_spool_starts_at_the_beginning(store: Store) -> None:
    assert await store.position("nobody") == Position(0, 0)


async def test_a_text_is_looked_for_in_a_bounded_number_of_events(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SEARCHED", 2)
    payload = {"text": "needle"}
    await store.add_events(
        "dev", "s1", [event(n, payload={"n": n, **(payload if n in (1, 4) else {})}) for n in range(1, 6)]
    )

    async def found(**query: Any) -> list[int]:
        return [item.data["n"] for item in await store.events(EventQuery(text="NEEDLE", **query))]

    assert await found() == [4]
    assert await found(before=3) == [1]
    assert await found(before=4) == []
    assert await found(after=0) == [1]
    assert await found(slug="other") == []


async def test_queries(store: Store) -> None:
    await store.add_events(
        "dev",
        "s1",
        [
            event(1),
            event(2, decision="deny", host="evil.example.net", payload={"n": 2, "path": "/Etc/100%_done'; DROP"}),
            event(3, decision="hold"),
            event(4, kind="notice", decision="", host="", payload={"n": 4, "text": "grüße"}),
        ],
    )

    async def found(**query: Any) -> list[int]:
        return [item.data["n"] for item in await store.events(EventQuery(**query))]

    assert await found(decision="deny") == [2]
    assert await found(decision="blocked") == [2, 3]
    assert await found(host="EVIL") == [2]
    assert await found(text="100%_DONE'; drop") == [2]
    assert await found(text="grüße") == [4]
    assert await found(text="%") == [2]
    assert await found(limit=2) == [3, 4]
    assert await found(after=1, limit=2) == [2, 3]
    assert await found(before=3) == [1, 2]
    assert await found(after=1, before=4) == [2, 3]
    assert await found(slug="none") == []


async def test_counts_are_of_ended_requests(store: Store) -> None:
    opened = event(2, payload={"n": 2, "phase": "open"})
    await store.add_events("dev", "s1", [event(1), opened, event(3, decision="deny")])
    assert await store.counts("s1") == {"allow": 1, "deny": 1}


async def test_an_event_may_stand_for_many(store: Store) -> None:
    def told(number: int, count: Any) -> NewEvent:
        return event(number, payload={"n": number, "phase": "closed", "detail": {"count": count, "more": "count"}})

    claims = enumerate((41, 0, -1, 2**63 - 1, True, "7", None, [1], 1.5))
    await store.add_events("dev", "s1", [told(number, count) for number, count in claims])
    assert await store.counts("s1") == {"allow": 9 + 41}


async def test_sessions_are_updated_by_id_and_listed_newest_first(store: Store) -> None:
    await store.save_session(view("s1", created_at=1.0))
    await store.save_session(view("s2", created_at=2.0, slug="ops"))
    await store.save_session(view("s1", created_at=1.0, state="ended", exit_code=0))
    assert [(item.session_id, item.state) for item in await store.sessions()] == [("s2", "running"), ("s1", "ended")]
    assert [item.session_id for item in await store.sessions(slug="ops")] == ["s2"]


async def test_proposals_are_empty_until_something_asks(store: Store) -> None:
    assert await store.proposals() == []
    assert await store.proposals(slug="dev", state="pending") == []


async def test_audit_rows_follow_one_another(store: Store) -> None:
    first = next_row(KEY, Head(), at=1.0, action="launch", slug="dev")
    second = next_row(KEY, Head(1, first.tag), at=2.0, action="stop", detail={"why": "asked"})
    await store.append_audit(first)
    with pytest.raises(CarboyError, match="does not follow"):
        await store.append_audit(first)
    await store.append_audit(second)
    assert await store.audit() == [first, second]
    assert await store.audit(after=1) == [second]
    assert first.tag != GENESIS


async def test_everything_is_there_after_reopening(store: Store, tmp_path: Path) -> None:
    await store.add_events("dev", "s1", [event(1)], Position(2, 7))
    await store.close()
    engine: Any = type(store)
    again = engine(tmp_path / "state" / "carboy.db")
    await again.open()
    assert len(await again.events(EventQuery())) == 1
    assert await again.position("s1") == Position(2, 7)
    await again.close()


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.close()
    await store.close()
    with pytest.raises((CarboyError, RuntimeError)):
        await store.last_seq()


async def test_many_writers_at_once(store: Store) -> None:
    batches = [store.add_events("dev", f"s{n}", [event(i) for i in range(50)]) for n in range(20)]
    await asyncio.gather(*batches)
    seqs = [item.seq for item in await store.events(EventQuery(limit=5000))]
    assert len(seqs) == 1000
    assert seqs == sorted(set(seqs))


# --- the SQLite file ---------------------------------------------------------------------------------------------


async def test_modes_of_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "state" / "carboy.db"
    old = os.umask(0)
    try:
        store = SqliteStore(path)
        await store.open()
        await store.add_events("dev", "s1", [event(1)])
        files = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert set(files) >= {"carboy.db", "carboy.db-wal"}
    assert set(files.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.close()
    assert not path.with_name("carboy.db-wal").exists()


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "carboy.db"
    prepare(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO schema_version VALUES (?, 'from the future', 0)", (LATEST + 1,))
    db.close()
    before, listing = path.read_bytes(), sorted(item.name for item in tmp_path.iterdir())
    with pytest.raises(CarboyError, match="newer carboy") as caught:
        prepare(path)
    assert caught.value.code == "store_newer"
    assert path.read_bytes() == before
    assert [
        name for name in sorted(item.name for item in tmp_path.iterdir()) if "-shm" not in name and "-wal" not in name
    ] == listing


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "carboy.db"
    path.write_bytes(b"certainly not a database, but long enough to look at\n" * 100)
    with pytest.raises(CarboyError) as caught:
        prepare(path)
    assert caught.value.code == "store_damaged"


async def test_a_page_that_is_damaged_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Its first page can be read, and so it opens: it is a table's own that is broken."""
    path = tmp_path / "carboy.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'proposals'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    store = SqliteStore(path)
    await store.open()
    try:
        with pytest.raises(CarboyError) as caught:
            await store.proposals()
        assert caught.value.code == "store_damaged"
    finally:
        await store.close()


def test_a_migration_is_backed_up_before_and_undone_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "carboy.db"
    db = prepare(path)
    db.execute("INSERT INTO events VALUES (NULL, 'e', 's', 'dev', 1, 'egress', '', '', '{}')")
    good = Migration(LATEST + 1, "more", ("CREATE TABLE more (x)",))
    bad = Migration(LATEST + 2, "broken", ("CREATE TABLE half (x)", "CREATE TABLE half (x)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, path, [*MIGRATIONS, good, bad])
    assert version(db) == LATEST + 1
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    assert "more" in tables
    assert "half" not in tables
    db.close()
    copy = path.with_name(f"carboy.db.backup-{LATEST}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    old = sqlite3.connect(copy)
    assert old.execute("SELECT count(*) FROM events").fetchone() == (1,)
    assert old.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)
    old.close()


def test_every_migration_may_run_twice(tmp_path: Path) -> None:
    path = tmp_path / "carboy.db"
    db = prepare(path)
    db.execute("DELETE FROM schema_version")
    migrate(db, path, MIGRATIONS)
    assert version(db) == LATEST
    assert [step.number for step in MIGRATIONS] == list(range(1, LATEST + 1))
    db.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from app.store.sqlite import SqliteStore
from app.store.base import NewEvent, Position
async def main():
    store = SqliteStore(Path(sys.argv[1])); await store.open()
    for n in range(100000):
        batch = [NewEvent(f"{n}-{i}", 0.0, "egress", {"n": n}) for i in range(10)]
        await store.add_events("dev", "s1", batch, Position(1, n + 1))
        print(n + 1, flush=True)
asyncio.run(main())
"""


async def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "carboy.db"
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, cwd=root, text=True)
    assert child.stdout is not None
    answered = 0
    while answered < 25:
        answered = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    answered = int(rest[-1]) if rest else answered
    store = SqliteStore(path)
    await store.open()
    position = await store.position("s1")
    assert position.offset >= answered
    # never an event without its position, or the other way round
    assert len(await store.events(EventQuery(after=0, limit=5000))) == min(5000, position.offset * 10)
    await store.close()


async def test_names_of_secrets(store: Store) -> None:
    await store.secret_set("B", 2.0)
    await store.secret_set("A", 1.0)
    await store.secret_set("B", 3.0)
    await store.secrets_used(("B", "UNKNOWN"), 4.0)
    assert [(row.name, row.set_at, row.used_at) for row in await store.secret_names()] == [
        ("A", 1.0, None),
        ("B", 3.0, 4.0),
    ]
    assert await store.secret_gone("A")
    assert not await store.secret_gone("A")


async def test_the_newest_notices_are_kept(store: Store) -> None:
    made = [
        await store.add_notice(Notice(at=float(number), about="done", level="info", title=f"n{number}"), keep=3)
        for number in range(5)
    ]
    assert [notice.title for notice in await store.notices()] == ["n4", "n3", "n2"]
    await store.read_notices(made[3].id)
    assert [notice.read for notice in await store.notices()] == [False, True, True]
    await store.clear_notices()
    assert await store.notices() == []


def test_a_commit_that_fails_leaves_nothing_begun() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, other INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(sqlite3.IntegrityError), Transaction(db):
            db.execute("INSERT INTO a VALUES (1, 7)")  # is looked at when all is committed
        with Transaction(db):
            db.execute("INSERT INTO a VALUES (2, 2)")
        assert db.execute("SELECT id FROM a").fetchall() == [(2,)]
