"""Reads what OpenCode wrote about its conversations: a SQLite database in a bottle's home. Blocking.

The file is hostile. It is copied out without following a link, and the copy is opened as SQLite's guide for untrusted
databases says: no trusted schema, no triggers, no views, one kind of statement on three tables, and an end to its work.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.providers.conversation import Entry, Standing, moment, short, text, tree
from app.providers.formats import called
from app.providers.reading import opened, remember

FILE = ".local/share/opencode/opencode.db"
MAX_BYTES = 64 * 1024 * 1024
"""Of the database and its log each: about a year of daily use. A larger one is not read."""
MAX_ROWS = 5000
"""Rows of one answer: the newest."""
MAX_STEPS = 50_000_000
"""Instructions of SQLite's machine for one answer: about a second."""
CHUNK = 1024 * 1024
TABLES = frozenset({"message", "part", "session", "sqlite_master"})

_ROWS = """
select message.id, message.session_id, message.data, part.id, part.data, part.time_updated
from message left join part on part.message_id = message.id
where max(message.time_updated, coalesce(part.time_updated, 0)) >= ?
and message.session_id in (select id from session where parent_id is null)
order by message.time_created desc, message.id desc, part.id desc limit ?
"""


class OpenCodeReader:
    """A `Reader` of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._seen: tuple[tuple[int, int], ...] = ()
        self._since = 0
        self._told: dict[str, None] = {}
        self.standing = Standing()

    def read(self) -> list[Entry]:
        found: list[Entry] = []
        with suppress(OSError, sqlite3.Error), tempfile.TemporaryDirectory(prefix="carboy-") as folder:
            seen = tuple(self._copy(Path(folder), ending) for ending in ("", "-wal"))
            if seen != self._seen:
                found = [entry for entry in self._entries(Path(folder) / "db") if remember(self._told, entry.key)]
                self._seen = seen
        for entry in found:
            self.standing = self.standing.after(entry)
        return found

    def _copy(self, folder: Path, ending: str) -> tuple[int, int]:
        """Size and time of the file as it was copied; nothing is copied where it did not change."""
        try:
            with opened(self._home, FILE + ending) as source, (folder / f"db{ending}").open("wb") as target:
                info = os.fstat(source)
                if info.st_size > MAX_BYTES:
                    raise OSError("too large")
                for start in range(0, info.st_size, CHUNK):
                    target.write(os.pread(source, CHUNK, start))
                return info.st_size, info.st_mtime_ns
        except FileNotFoundError:
            return 0, 0

    def _entries(self, copy: Path) -> Iterator[Entry]:
        with closing(sqlite3.connect(copy)) as base:
            guard(base)
            rows = base.execute(_ROWS, (self._since, MAX_ROWS)).fetchall()
        ended: Entry | None = None
        for message_id, session, message, part_id, part, updated in reversed(rows):
            if ended is not None and ended.key != f"{message_id} ends":
                yield ended
            told = _tree(message)
            yield from (replace(one, conversation=short(session)) for one in _of_part(told, part_id, _tree(part)))
            ended = _end(told, str(message_id), short(session))
            self._since = max(self._since, updated if isinstance(updated, int) else 0)
        if ended is not None:
            yield ended


def guard(base: sqlite3.Connection) -> None:
    """Make an untrusted database safe to select from."""
    base.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    base.setconfig(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, False)
    base.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
    base.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 8 * 1024 * 1024)
    base.text_factory = lambda data: data.decode("utf-8", "replace")
    left = [MAX_STEPS // 10_000]

    def ticks() -> bool:
        left[0] -= 1
        return left[0] < 0

    base.set_progress_handler(ticks, 10_000)
    base.set_authorizer(_allowed)


def _allowed(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    reads = action == sqlite3.SQLITE_READ and first in TABLES
    calls = action == sqlite3.SQLITE_FUNCTION and second in ("max", "coalesce")
    return sqlite3.SQLITE_OK if reads or calls or action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY


def _tree(data: object) -> Mapping[str, Any]:
    try:
        return tree(json.loads(data)) if isinstance(data, str) else {}
    except (ValueError, RecursionError):
        return {}


def _of_part(message: Mapping[str, Any], part_id: object, part: Mapping[str, Any]) -> Iterator[Entry]:
    kind, key = part.get("type"), short(part_id)
    at = moment(tree(message.get("time")).get("created"))
    if message.get("role") == "user" and kind == "text" and not part.get("synthetic"):
        yield Entry("user", text(part.get("text")), at, key=key)
    elif kind in ("text", "reasoning") and tree(part.get("time")).get("end"):
        model = short(message.get("modelID"))
        yield Entry("assistant" if kind == "text" else "reasoning", text(part.get("text")), at, model=model, key=key)
    elif kind == "tool":
        state = tree(part.get("state"))
        if state.get("status") != "pending":  # its arguments are still being written
            yield replace(called(part.get("tool"), state.get("input"), at, call=key), key=f"{key} call")
        if state.get("status") in ("completed", "error"):
            said = text(state.get("output") or state.get("error"))
            yield Entry("result", said, at, key=f"{key} result", call=key)


def _end(message: Mapping[str, Any], message_id: str, conversation: str) -> Entry | None:
    times, finish = tree(message.get("time")), message.get("finish")
    over = times.get("completed") and (message.get("error") or finish not in (None, "tool-calls", "unknown"))
    if message.get("role") != "assistant" or not over:
        return None
    return Entry("ends", at=moment(times.get("completed")), conversation=conversation, key=f"{short(message_id)} ends")
