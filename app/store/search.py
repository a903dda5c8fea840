"""The search index over what agents said and did: what their CLIs wrote down, by word. One thread, off the event loop.

Everything in it came from bottles: it is stored as text, bounded for each session and in all, and never a pattern or
SQL. The index may be lost: one that is broken is made anew.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.found import Found, Hit, Passage, Said
from app.errors import CarboyError, NotFound
from app.store.connection import prepare
from app.store.search_tables import SEARCH

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024 * 1024
"""Of text, in all; the index of its words takes about half as much again."""
MAX_OF_SESSION = 32 * 1024 * 1024
"""Of text of one session, so that none pushes out the others'."""
LEAVE = 0.9
"""What is left of a bound once the oldest entries made room."""
MAX_QUESTION = 500
MAX_WORDS = 16
MAX_HITS = 200
MAX_SNIPPET = 300
SECONDS = 5.0
AROUND = 4
"""Entries before and after a hit that are shown with it."""
_TERM = re.compile(r'"([^"]*)"|(\S+)')
_OPEN, _CLOSE = "\x02", "\x03"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_HIT = "e.id, s.slug, s.session_id, s.label, s.agent, s.provider, e.conversation, e.at, e.kind, e.tool"


@dataclass(frozen=True)
class Source:
    """Whose entries they are."""

    session_id: str
    slug: str
    label: str
    agent: str
    provider: str


@dataclass(frozen=True)
class Words:
    """One entry. `place` is what makes it one: the same words at the same place are there once, however often read."""

    place: str
    at: float
    kind: str
    tool: str
    conversation: str
    text: str


class SearchIndex:
    """`open()`, then `add` and `find`; `close()` at the end. Raises CarboyError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "search")
        self._db: sqlite3.Connection | None = None
        self._bytes = 0
        self._why = "it is not open"

    async def open(self) -> None:
        """Never raises: without an index there is no search, and everything else goes on."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def close(self) -> None:
        def end() -> None:
            if self._db is not None:
                self._db.close()
                self._db = None

        await asyncio.get_running_loop().run_in_executor(self._thread, end)
        self._thread.shutdown()

    async def add(self, source: Source, entries: Sequence[Words]) -> int:
        """How many of them were new."""
        return await self._do(lambda db: self._add(db, source, entries))

    async def find(self, text: str, *, slug: str | None = None, limit: int = 50) -> Found:
        return await self._do(lambda db: _find(db, text, slug, max(1, min(limit, MAX_HITS))))

    async def around(self, number: int) -> Passage:
        return await self._do(lambda db: _around(db, number))

    async def forget(self, slug: str, but: str = "") -> None:
        """Nothing of this name's sessions stays, but of that one."""
        await self._do(lambda db: self._forget(db, slug, but))

    # --- on the thread ----------------------------------------------------------------------------------------------

    async def _do[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        def job() -> T:
            if self._db is None:
                raise CarboyError(f"Transcripts cannot be searched: {self._why}", "", "search_off")
            try:
                return work(self._db)
            except sqlite3.DatabaseError as error:
                raise CarboyError(f"The search index failed: {error}", f"See {self._path}", "search_off") from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _open(self) -> None:
        for anew in (False, True):
            try:
                self._db = prepare(self._path, SEARCH)
                self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may take the last words
                self._bytes = int(self._db.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()[0])
                return
            except (CarboyError, sqlite3.Error, OSError) as error:
                self._db, self._why = None, str(error)
                if anew or not _broken(error):
                    log.error("transcripts cannot be searched: %s", error)
                    return
                log.warning("the search index is made anew: %s", error)
                for name in (self._path.name, f"{self._path.name}-wal", f"{self._path.name}-shm"):
                    self._path.with_name(name).unlink(missing_ok=True)

    def _add(self, db: sqlite3.Connection, source: Source, entries: Sequence[Words]) -> int:
        before = self._bytes
        try:
            with _transaction(db):
                new = self._add_all(db, source, entries)
        except BaseException:
            self._bytes = before
            raise
        return new

    def _add_all(self, db: sqlite3.Connection, source: Source, entries: Sequence[Words]) -> int:
        row = (source.session_id, source.slug, source.label, source.agent, source.provider)
        db.execute(
            "INSERT INTO sessions (session_id, slug, label, agent, provider) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (session_id) DO UPDATE SET label = excluded.label",
            row,
        )
        number = db.execute("SELECT number FROM sessions WHERE session_id = ?", row[:1]).fetchone()[0]
        new = sum(self._insert(db, number, source.slug, one) for one in entries)
        if new:
            self._make_room(db, number)
        return new

    def _insert(self, db: sqlite3.Connection, session: int, slug: str, one: Words) -> bool:
        text = _CONTROL.sub(" ", one.text)
        size = len(text.encode("utf-8", "replace"))
        place = hashlib.blake2b(f"{slug}\0{one.place}\0{text}".encode("utf-8", "replace"), digest_size=16).digest()
        done = db.execute(
            "INSERT INTO entries (session, place, at, kind, tool, conversation, size, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (place) DO NOTHING",
            (session, place, one.at, one.kind, one.tool, one.conversation, size, _plain(text)),
        )
        self._bytes += size * done.rowcount
        return done.rowcount == 1

    def _make_room(self, db: sqlite3.Connection, session: int) -> None:
        own = db.execute("SELECT coalesce(sum(size), 0) FROM entries WHERE session = ?", (session,)).fetchone()[0]
        if own > MAX_OF_SESSION:
            self._drop(db, own - int(MAX_OF_SESSION * LEAVE), "WHERE session = ?", session)
        if self._bytes > MAX_BYTES:
            self._drop(db, self._bytes - int(MAX_BYTES * LEAVE), "")
            db.execute("DELETE FROM sessions WHERE number NOT IN (SELECT DISTINCT session FROM entries)")

    def _drop(self, db: sqlite3.Connection, size: int, where: str, *values: Any) -> None:
        """The oldest entries, of about that size together."""
        last, freed = 0, 0
        oldest = f"SELECT id, size FROM entries {where} ORDER BY id"  # noqa: S608 (ours)
        for identity, one in db.execute(oldest, values):
            last, freed = identity, freed + one
            if freed >= size:
                break
        more = f"{where} AND" if where else "WHERE"
        db.execute(f"DELETE FROM entries {more} id <= ?", (*values, last))  # noqa: S608
        self._bytes -= freed

    def _forget(self, db: sqlite3.Connection, slug: str, but: str) -> None:
        with _transaction(db):
            mine = "SELECT number FROM sessions WHERE slug = ? AND session_id <> ?"
            db.execute(f"DELETE FROM entries WHERE session IN ({mine})", (slug, but))  # noqa: S608
            db.execute("DELETE FROM sessions WHERE slug = ? AND session_id <> ?", (slug, but))
            self._bytes = int(db.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()[0])


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Any:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _broken(error: Exception) -> bool:
    """Whether another file would help: not where this Python's SQLite has no full text search, or the disk is full."""
    return getattr(error, "code", "") in ("store_damaged", "store_newer") or type(error) is sqlite3.DatabaseError


def _plain(text: str) -> str:
    """What can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


# --- questions ------------------------------------------------------------------------------------------------------


def question(text: str) -> str:
    """As FTS5 asks it: every word must be there, the beginning of one is enough; quoted words stand side by side.

    Raises CarboyError where nothing is left to look for.
    """
    terms: list[str] = []
    for phrase, word in _TERM.findall(text[:MAX_QUESTION]):
        given = phrase or word.replace('"', " ")
        if any(char.isalnum() for char in given):
            terms.append(f'"{given}"' if phrase else f'"{given}"*')
    if not terms:
        raise CarboyError("There is nothing to search for", "Write a word, or a part of one", "search")
    return " ".join(terms[:MAX_WORDS])


def _find(db: sqlite3.Connection, text: str, slug: str | None, limit: int) -> Found:
    asked = question(text)
    where, values = ("AND s.slug = ?", [slug]) if slug is not None else ("", [])
    sql = (
        f"SELECT {_HIT}, snippet(words, 0, ?, ?, '…', 24) FROM words"  # noqa: S608 (ours)
        " JOIN entries e ON e.id = words.rowid JOIN sessions s ON s.number = e.session"
        f" WHERE words MATCH ? {where} ORDER BY words.rank, e.id DESC LIMIT ?"
    )
    until = time.monotonic() + SECONDS
    db.set_progress_handler(lambda: int(time.monotonic() > until), 10_000)
    try:
        rows = db.execute(sql, (_OPEN, _CLOSE, asked, *values, limit + 1)).fetchall()
    except sqlite3.OperationalError as error:
        if "interrupt" in str(error):
            raise CarboyError(
                "The search took too long", "Look for rarer words, or for more of them", "search"
            ) from None
        raise
    finally:
        db.set_progress_handler(None, 0)
    return Found(text=text[:MAX_QUESTION], hits=tuple(_hit(row) for row in rows[:limit]), more=len(rows) > limit)


def _around(db: sqlite3.Connection, number: int) -> Passage:
    sql = f"SELECT {_HIT}, '', e.session FROM entries e JOIN sessions s ON s.number = e.session WHERE e.id = ?"  # noqa: S608
    row = db.execute(sql, (number,)).fetchone()
    if row is None:
        raise NotFound("That entry is not in the index any more", "Search again", "no_such_entry")
    same = (row[-1], row[6], number)
    columns = "id, at, kind, tool, text"
    before = f"SELECT {columns} FROM entries WHERE session = ? AND conversation = ? AND id < ? ORDER BY id DESC LIMIT ?"  # noqa: S608
    after = f"SELECT {columns} FROM entries WHERE session = ? AND conversation = ? AND id >= ? ORDER BY id LIMIT ?"  # noqa: S608
    rows = [*db.execute(before, (*same, AROUND)).fetchall()[::-1], *db.execute(after, (*same, AROUND + 1))]
    said = [
        Said(at=at, kind=kind, tool=tool, text=text, here=identity == number) for identity, at, kind, tool, text in rows
    ]
    return Passage(hit=_hit(row[:-1]), entries=tuple(said))


def _hit(row: Sequence[Any]) -> Hit:
    snippet, marks = _marked(row[10].replace("\n", " "))
    return Hit(
        id=row[0], slug=row[1], session_id=row[2], label=row[3], agent=row[4], provider=row[5], conversation=row[6],
        at=row[7], kind=row[8], tool=row[9], snippet=snippet, marks=marks,
    )  # fmt: skip


def _marked(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text without its marks, and where they were. No text in the index holds such a mark of its own."""
    plain, marks, begun = "", list[tuple[int, int]](), 0
    for piece in re.split(f"([{_OPEN}{_CLOSE}])", text):
        if piece == _OPEN:
            begun = len(plain)
        elif piece == _CLOSE:
            marks.append((begun, len(plain)))
        else:
            plain += piece
    # a word without an end is one token of the snippet
    start = max(0, marks[0][0] - MAX_SNIPPET // 3) if marks and len(plain) > MAX_SNIPPET else 0
    end = start + MAX_SNIPPET
    shown = tuple((first - start, min(last, end) - start) for first, last in marks if first < end)
    return plain[start:end], shown
