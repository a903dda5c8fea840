"""The SQLite engine of the store: one thread that writes, one that reads, both off the event loop.

All SQL with values from outside uses parameters. Durability: a call returns after its transaction is on disk. A
failure is the caller's to see; nothing is retried silently and nothing is half written.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from app.core.journal import times_of
from app.core.model import BottleView, StreamEvent
from app.core.notices import Notice
from app.core.schema import Keep
from app.errors import CarboyError, disk_full, has_room
from app.store import desk, proposals, usage
from app.store.base import Asker, Decided, EventQuery, NewEvent, Position, ProposalRow, SecretName, Store
from app.store.chain import AuditRow
from app.store.connection import Transaction, connect, damaged, prepare
from app.store.metering import Counted, Kept, Metering
from app.store.pruning import SIZE, Pruned, Pruner, shrink
from app.store.queries import dropped_query, event_query
from app.store.sqlite_usage import SqliteUsage
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300.0
"""control-plane.md, "Store"."""

_INSERT_EVENT = (
    "INSERT INTO events (event_id, session_id, slug, at, kind, decision, host, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (session_id, event_id) DO NOTHING RETURNING seq"
)
_COUNT_EVENTS = (
    "INSERT INTO event_counts (session_id, decision, slug, times, lines, size) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (session_id, decision) DO UPDATE SET"
    " times = times + excluded.times, lines = lines + excluded.lines, size = size + excluded.size"
)
_SET_POSITION = (
    "INSERT INTO spool_positions VALUES (?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET"
    " segment = excluded.segment, byte_offset = excluded.byte_offset, updated_at = excluded.updated_at"
)
_SAVE_SESSION = (
    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET"
    " state = excluded.state, ended_at = excluded.ended_at, exit_code = excluded.exit_code, view = excluded.view"
)


class SqliteStore(SqliteUsage, Store):
    """See `Store`. `path` is the database's file; its folder is made private."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write = ThreadPoolExecutor(1, "store-write")
        self._read = ThreadPoolExecutor(1, "store-read")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._timer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._writer = await loop.run_in_executor(self._write, prepare, self._path)
        self._reader = await loop.run_in_executor(self._read, lambda: connect(self._path, readonly=True))
        self._timer = spawn(self._checkpoints(), name="store checkpoints")

    async def close(self) -> None:
        await cancel_and_wait(self._timer)
        loop = asyncio.get_running_loop()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await loop.run_in_executor(self._read, reader.close)
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await loop.run_in_executor(self._write, _close_writer, writer)
        self._write.shutdown()
        self._read.shutdown()

    async def checkpoint(self) -> None:
        await self._writing(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            try:
                await self.checkpoint()
            except CarboyError as error:  # the next one may succeed
                log.warning("the store could not be tidied: %s", error)

    async def _writing[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        def job() -> T:
            if self._writer is None:
                raise closed()
            with _in_words(self._path):
                return work(self._writer)

        try:
            done = await asyncio.get_running_loop().run_in_executor(self._write, job)
        except CarboyError as error:
            self.fault = error if error.code in _FAULTS else self.fault
            raise
        self.fault = None
        return done

    async def _reading[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        def job() -> T:
            if self._reader is None:
                raise closed()
            with _in_words(self._path):
                return work(self._reader)

        return await asyncio.get_running_loop().run_in_executor(self._read, job)

    async def ingest(
        self,
        slug: str,
        session_id: str,
        events: Sequence[NewEvent],
        position: Position | None = None,
        metering: Metering | None = None,
    ) -> Kept:
        return await self._writing(lambda db: _ingest(db, slug, session_id, events, position, metering))

    async def position(self, session_id: str) -> Position:
        def work(db: sqlite3.Connection) -> Position:
            sql = "SELECT segment, byte_offset FROM spool_positions WHERE session_id = ?"
            row = db.execute(sql, (session_id,)).fetchone()
            return Position(*row) if row else Position()

        # asked of the writer: what was just stored must be seen
        return await self._writing(work)

    async def events(self, query: EventQuery) -> list[StreamEvent]:
        sql, values, backwards = event_query(query)

        def work(db: sqlite3.Connection) -> list[StreamEvent]:
            rows = db.execute(sql, values).fetchall()
            return [_event(row) for row in (reversed(rows) if backwards else rows)]

        return await self._reading(work)

    async def last_seq(self) -> int:
        sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
        row = await self._reading(lambda db: db.execute(sql).fetchone())
        return int(row[0]) if row else 0

    async def counts(self, session_id: str) -> dict[str, int]:
        sql = "SELECT decision, times FROM event_counts WHERE session_id = ? AND times > 0"
        return dict(await self._reading(lambda db: db.execute(sql, (session_id,)).fetchall()))

    async def dropped(
        self, *, slug: str | None = None, session_id: str | None = None, decision: str | None = None
    ) -> int:
        sql, values = dropped_query(slug, session_id, decision)
        return await self._reading(lambda db: db.execute(sql, values).fetchone()[0])

    async def kept_lines(self) -> tuple[int, int]:
        sql = f"SELECT coalesce(sum(lines), 0), coalesce({SIZE}, 0) FROM event_counts"  # noqa: S608 (ours)
        return await self._reading(lambda db: db.execute(sql).fetchone())

    async def prune(self, now: float, kept: Collection[str], keep: Keep) -> Pruned:
        return await Pruner(self._reading, self._writing, keep, now).run(kept)

    async def shrink(self) -> int:
        return await self._writing(shrink)

    async def refusals(self, session_id: str, since: float) -> list[tuple[str, str, str, int]]:
        return await self._reading(lambda db: desk.refusals(db, session_id, since))

    async def orders(self, session_id: str, since: float) -> list[AuditRow]:
        rows = await self._reading(lambda db: desk.orders(db, session_id, since))
        return [_audit_row(*row) for row in rows]

    async def save_session(self, view: BottleView) -> None:
        row = (view.session_id, view.slug, view.agent, view.provider, view.state, view.cwd, view.created_at)
        end = (view.ended_at, view.exit_code, view.model_dump_json())
        await self._writing(lambda db: db.execute(_SAVE_SESSION, row + end))

    async def sessions(self, *, slug: str | None = None, limit: int = 500) -> list[BottleView]:
        where, values = ("WHERE slug = ?", (slug, limit)) if slug is not None else ("", (limit,))
        sql = f"SELECT view FROM sessions {where} ORDER BY created_at DESC, session_id LIMIT ?"  # noqa: S608
        rows = await self._reading(lambda db: db.execute(sql, values).fetchall())
        return [view for (text,) in rows if (view := _view(text)) is not None]

    async def proposals(self, *, slug: str | None = None, state: str | None = None) -> list[ProposalRow]:
        return await self._reading(lambda db: proposals.listed(db, slug, state))

    async def proposal(self, identity: str) -> ProposalRow | None:
        return await self._reading(lambda db: proposals.one(db, identity))

    async def add_proposal(self, row: ProposalRow) -> ProposalRow:
        return await self._writing(lambda db: proposals.add(db, row))

    async def decide_proposal(self, identity: str, decided: Decided, said: AuditRow) -> ProposalRow:
        return await self._writing(lambda db: proposals.decide(db, identity, decided, said))

    async def fault_proposal(self, identity: str, error: str) -> None:
        await self._writing(lambda db: proposals.fault(db, identity, error))

    async def leave_proposal(self, asker: str) -> bool:
        return await self._writing(lambda db: proposals.leave(db, asker))

    async def untold(self, session_id: str) -> list[Asker]:
        return await self._reading(lambda db: proposals.untold(db, session_id))

    async def told(self, asker: str, *, known: bool = True) -> None:
        await self._writing(lambda db: proposals.told(db, asker, known))

    async def secret_names(self) -> list[SecretName]:
        return await self._reading(desk.secret_names)

    async def secret_set(self, name: str, at: float) -> None:
        await self._writing(lambda db: desk.secret_set(db, name, at))

    async def secret_gone(self, name: str) -> bool:
        return await self._writing(lambda db: desk.secret_gone(db, name))

    async def secrets_used(self, names: Sequence[str], at: float) -> None:
        await self._writing(lambda db: desk.secrets_used(db, names, at))

    async def add_notice(self, notice: Notice, keep: int) -> Notice:
        return await self._writing(lambda db: desk.add_notice(db, notice, keep))

    async def notices(self) -> list[Notice]:
        return await self._reading(desk.notices)

    async def read_notices(self, upto: int) -> None:
        await self._writing(lambda db: desk.read_notices(db, upto))

    async def clear_notices(self) -> None:
        await self._writing(desk.clear_notices)

    async def append_audit(self, row: AuditRow) -> None:
        await self._writing(lambda db: desk.append_audit(db, row))

    async def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        sql = (
            "SELECT number, at, action, actor, slug, session_id, detail, tag FROM audit"
            " WHERE number > ? ORDER BY number LIMIT ?"
        )
        rows = await self._reading(lambda db: db.execute(sql, (after, limit)).fetchall())
        return [_audit_row(*row) for row in rows]


def closed() -> CarboyError:
    return CarboyError("the store is closed", "Start the controller again", "store_closed")


def _close_writer(db: sqlite3.Connection) -> None:
    """Never raises: what was committed is on disk either way, and the next opening finishes it."""
    for work in (lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall(), db.close):
        try:
            work()
        except sqlite3.Error as error:
            log.warning("the store could not be written out whole at its end: %s", error)


_FAULTS = frozenset({"disk_full", "store", "store_damaged"})


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """What the disk did, in words a person understands; what is wrong in a statement of ours stays as it is."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _plain(error, path) from error
    except sqlite3.DatabaseError as error:
        if type(error) is sqlite3.DatabaseError:
            raise damaged(path, error) from error
        raise


def _plain(error: sqlite3.OperationalError, path: Path) -> CarboyError:
    """A failure of the disk in words a person understands. SQLite tells of a full one in several ways."""
    if error.sqlite_errorname == "SQLITE_FULL" or not has_room(path.parent):
        return disk_full("the database")
    return CarboyError(f"The database refused: {error}", f"Look at {path.parent}; running bottles go on", "store")


def _ingest(
    db: sqlite3.Connection,
    slug: str,
    session_id: str,
    events: Sequence[NewEvent],
    position: Position | None,
    metering: Metering | None,
) -> Kept:
    kept: list[StreamEvent] = []
    counted: tuple[Counted, ...] = ()
    counts: dict[str, tuple[int, int, int]] = {}
    with Transaction(db):
        for event in events:
            payload = orjson.dumps(event.payload).decode()
            values = (event.event_id, session_id, slug, event.at, event.kind, event.decision, event.host, payload)
            row = db.execute(_INSERT_EVENT, values).fetchone()
            if row is not None:
                kept.append(_stream_event(row[0], event.at, event.kind, slug, event.payload))
                ended = event.kind == "egress" and event.payload.get("phase") == "closed"
                times, lines, size = counts.get(event.decision, (0, 0, 0))
                times += times_of(event.payload) if ended else 0
                counts[event.decision] = times, lines + 1, size + len(payload)
        for decision, added in counts.items():
            db.execute(_COUNT_EVENTS, (session_id, decision, slug, *added))
        if metering is not None:
            counted = usage.keep(db, slug, session_id, metering)
        if position is not None:
            db.execute(_SET_POSITION, (session_id, slug, position.segment, position.offset, time.time()))
    return Kept(kept, counted)


def _stream_event(seq: int, at: float, kind: Any, slug: str, data: dict[str, Any]) -> StreamEvent:
    # validated when it came in; validating again would halve what can be ingested
    return StreamEvent.model_construct(seq=seq, at=at, kind=kind, slug=slug, data=data)


def _event(row: tuple[Any, ...]) -> StreamEvent:
    seq, at, kind, slug, payload, *_ = row
    return _stream_event(seq, at, kind, slug, _loads(payload))


def _audit_row(
    number: int, at: float, action: str, actor: str, slug: str, session_id: str, detail: str, tag: str
) -> AuditRow:
    return AuditRow(number, at, action, actor, slug, session_id, _loads(detail), tag)


def _view(text: str) -> BottleView | None:
    try:
        return BottleView.model_validate_json(text)
    except ValueError:
        return None  # a row of another version is history that cannot be shown, not a reason to show nothing


def _loads(text: str) -> dict[str, Any]:
    return orjson.loads(text)
