"""Takes old rows out of the store, a few in each transaction (docs/decisions/0020): lines of bottles, rows of usage
whose sums stay, and proposals that nobody waits for. Never: audit rows, sums, announced answers, pending proposals.

What goes is chosen by reading; each step then deletes by key, so that whoever writes meanwhile waits for one step at
most. A kill between two steps leaves a store that is whole, and the next round goes on.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from app.core.proposal import CARBOY
from app.core.schema import Keep
from app.store.connection import Transaction

STEP = 500
"""Rows that are looked at, or deleted, at once."""
PAUSE = 0.02
"""Seconds between two steps: an hour of arrears must not take the disk from those who work."""
LEAVE = 0.9
"""What is left of a bound on sizes once the oldest lines made room."""
LINE = 300
"""Bytes that a line takes besides its payload: its names, and its places in the indexes."""
SIZE = f"sum(size + lines * {LINE})"
"""SQL over `event_counts`."""
PASSED = "allow"
OTHERS = ("", "deny", "hold", "redact", "error")
"""What is kept longer: all that did not pass as it was, and notices, which have no decision."""
QUESTIONS = 200
"""Proposals of one session that no person decided, which stay."""
CALLS = 10_000
"""Rows of usage of one session, the newest, which stay as long as it is on disk."""
LEAST_FREE, MOST_LEFT = 64 * 1024 * 1024, 256 * 1024 * 1024
"""Bytes that are free in the file at least, and that are not at most, where it is made smaller."""
_PAGES = ("page_size", "page_count", "freelist_count")
DAY = 86400.0


@dataclass(frozen=True)
class Pruned:
    """How much went."""

    lines: int = 0
    usage: int = 0
    proposals: int = 0


class Run(Protocol):
    """Does work on one of the store's threads."""

    async def __call__[T](self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class Pruner:
    """One round. `read` and `write` are the store's threads."""

    def __init__(self, read: Run, write: Run, keep: Keep, now: float) -> None:
        self._read = read
        self._write = write
        self._keep = keep
        self._now = now

    async def run(self, kept: Collection[str]) -> Pruned:
        """Sessions in `kept` are on disk: what they may still go on with stays."""
        lines = await self._old_lines() + await self._large_sessions() + await self._large_whole()
        return Pruned(lines, await self._usage(kept), await self._proposals(kept))

    async def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._read(lambda db: db.execute(sql, values).fetchall())

    async def _drop(self, drop: Callable[[sqlite3.Connection, str], int], keys: Sequence[object]) -> int:
        gone = await self._write(lambda db: drop(db, orjson.dumps(keys).decode()))
        await asyncio.sleep(PAUSE)
        return gone

    # --- lines of bottles -------------------------------------------------------------------------------------------

    async def _old_lines(self) -> int:
        bounds = [(PASSED, self._keep.days), *((decision, self._keep.refused_days) for decision in OTHERS)]
        gone = 0
        for decision, days in bounds:
            gone += 0 if days is None else await self._older(decision, self._now - days * DAY)
        return gone

    async def _older(self, decision: str, until: float) -> int:
        """From the first line on, as long as they are old: numbers follow times. One of the future (a clock was wrong)
        says nothing about those behind it."""
        gone, after = 0, 0
        sql = "SELECT seq, at FROM events WHERE decision = ? AND seq > ? ORDER BY seq LIMIT ?"
        while rows := await self._rows(sql, decision, after, STEP):
            after = rows[-1][0]
            old = [seq for seq, at in rows if at < until]
            if old:
                gone += await self._drop(drop_lines, old)
            elif any(at <= self._now for _, at in rows):
                break
        return gone

    async def _large_sessions(self) -> int:
        """Each kind of a session's lines has its own bound: a flood of one does not push out the other."""
        if self._keep.session is None:
            return 0
        sizes = await self._rows(
            f"SELECT session_id, slug, decision = ?, {SIZE} AS whole FROM event_counts GROUP BY 1, 3 HAVING whole > ?",  # noqa: S608
            PASSED,
            self._keep.session,
        )
        gone = 0
        for session_id, slug, passed, size in sizes:
            same = "=" if passed else "!="
            where = f"INDEXED BY events_by_slug WHERE slug = ? AND session_id = ? AND decision {same} ?"
            gone += await self._shrink(size - int(self._keep.session * LEAVE), where, slug, session_id, PASSED)
        return gone

    async def _large_whole(self) -> int:
        """Of all sessions together, each kind has half of the room."""
        if self._keep.size is None:
            return 0
        half, gone = self._keep.size // 2, 0
        sizes = await self._rows(f"SELECT decision = ?, {SIZE} FROM event_counts GROUP BY 1", PASSED)  # noqa: S608
        for passed, size in sizes:
            where = "INDEXED BY events_by_decision WHERE decision = ?" if passed else "NOT INDEXED WHERE decision != ?"
            gone += await self._shrink(size - int(half * LEAVE), where, PASSED) if size > half else 0
        return gone

    async def _shrink(self, excess: int, where: str, *values: object) -> int:
        """The oldest lines of these, of about `excess` bytes together: no more than there were, so that it ends while
        others come."""
        gone, freed, after = 0, 0, 0
        sql = f"SELECT seq, length(payload) FROM events {where} AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 (ours)
        while freed < excess and (rows := await self._rows(sql, *values, after, STEP)):
            taken: list[int] = []
            for seq, size in rows:
                if freed < excess:
                    taken.append(seq)
                    freed += size + LINE
            after = taken[-1]
            gone += await self._drop(drop_lines, taken)
        return gone

    # --- usage ------------------------------------------------------------------------------------------------------

    async def _usage(self, kept: Collection[str]) -> int:
        """Sums have had each row since it came. It is needed where a better one may yet take its place."""
        if self._keep.days is None:
            return 0
        gone, old = 0, self._now - self._keep.days * DAY
        for (session_id,) in await self._rows(_SESSIONS):
            until = old
            if session_id in kept:
                sql = "SELECT at FROM usage WHERE session_id = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
                until = next((at for (at,) in await self._rows(sql, session_id, CALLS - 1)), 0.0)
            sql = _FINAL if session_id in kept else "SELECT rowid FROM usage WHERE session_id = ? AND at < ? LIMIT ?"
            while rows := await self._rows(sql, session_id, until, STEP):
                gone += await self._drop(drop_usage, [row for (row,) in rows])
        return gone

    # --- proposals --------------------------------------------------------------------------------------------------

    async def _proposals(self, kept: Collection[str]) -> int:
        """What became of each is in the audit trail for good."""
        if self._keep.refused_days is None:
            return 0
        gone = 0
        for session_id, many in await self._rows("SELECT session_id, count(*) FROM proposals GROUP BY session_id"):
            until = None if session_id in kept else self._now - self._keep.refused_days * DAY
            if until is None and many <= QUESTIONS:
                continue
            found = await self._rows(_OVER, session_id, CARBOY, QUESTIONS, until)
            ids = [identity for (identity,) in found]
            for first in range(0, len(ids), STEP):
                gone += await self._drop(drop_proposals, ids[first : first + STEP])
        return gone


_SESSIONS = (
    "WITH RECURSIVE one (id) AS (SELECT min(session_id) FROM usage UNION ALL"
    " SELECT (SELECT min(session_id) FROM usage WHERE session_id > one.id) FROM one WHERE one.id IS NOT NULL)"
    " SELECT id FROM one WHERE id IS NOT NULL"
)
"""Jumps from one session to the next in the index, and reads no row between."""
_FINAL = (
    "SELECT rowid FROM usage WHERE session_id = ? AND at < ? AND response_id = '' AND event_id NOT LIKE 'intent-%'"
    " LIMIT ?"
)
"""Rows whose place no other can take (`app.store.usage`): no estimates of lost answers, and no background responses."""
_OVER = (
    "SELECT id FROM (SELECT id, decided_at, row_number() OVER (PARTITION BY decided_by = ?2 ORDER BY decided_at DESC)"
    " AS place, decided_by = ?2 AS by_itself FROM proposals WHERE session_id = ?1 AND state != 'pending')"
    " WHERE (by_itself AND place > ?3) OR decided_at < ?4"
)


def shrink(db: sqlite3.Connection) -> int:
    """Gives back what is free in the file, where that is most of it: how many bytes. Who writes waits meanwhile, for as
    long as it takes to write what is left; so where that is much, the file stays as it is, and is filled again."""
    page, pages, free = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in _PAGES)
    left = (pages - free) * page
    if free * page < LEAST_FREE or 2 * free < pages or left > MOST_LEFT:
        return 0
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return free * page


def drop_lines(db: sqlite3.Connection, keys: str) -> int:
    """Lines by their numbers (a JSON list): counted as dropped, and gone, both or neither."""
    with Transaction(db):
        db.execute(
            "UPDATE event_counts SET dropped = dropped + gone.number, lines = lines - gone.number,"
            " size = event_counts.size - gone.size"
            " FROM (SELECT session_id, decision, count(*) AS number, sum(length(payload)) AS size FROM events"
            " WHERE seq IN (SELECT value FROM json_each(?)) GROUP BY session_id, decision) AS gone"
            " WHERE event_counts.session_id = gone.session_id AND event_counts.decision = gone.decision",
            (keys,),
        )
        return db.execute("DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))", (keys,)).rowcount


def drop_usage(db: sqlite3.Connection, keys: str) -> int:
    return db.execute("DELETE FROM usage WHERE rowid IN (SELECT value FROM json_each(?))", (keys,)).rowcount


def drop_proposals(db: sqlite3.Connection, keys: str) -> int:
    """With those who asked."""
    with Transaction(db):
        db.execute("DELETE FROM proposal_askers WHERE proposal_id IN (SELECT value FROM json_each(?))", (keys,))
        return db.execute("DELETE FROM proposals WHERE id IN (SELECT value FROM json_each(?))", (keys,)).rowcount
