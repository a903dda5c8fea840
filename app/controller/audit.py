"""Writes the audit chain: who did what, to which bottle, so that a later change shows.

The key lies in a 0600 file beside the database, the sealed head in another; neither is ever in the database. Rows are
written in order, one at a time. Details hold names and reasons, never a secret's value.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.units import plural
from app.errors import CarboyError
from app.files import atomic_write
from app.paths import Paths
from app.store.base import Store
from app.store.chain import BROKEN, AuditRow, Finding, Head, next_row, open_head, seal_head, verify, verify_from
from app.tasks import spawn

log = logging.getLogger(__name__)

KEY_BYTES = 32
MAX_WAITING = 1000
"""Rows that wait for room on the disk; with more of them nothing more is done."""


@dataclass(frozen=True)
class _Entry:
    """A row that has no number yet."""

    at: float
    action: str
    slug: str
    session_id: str
    actor: str
    detail: dict[str, Any]


class Audit:
    """The chain's only writer."""

    def __init__(self, paths: Paths, store: Store) -> None:
        self._key_file = paths.state / "audit.key"
        self._head_file = paths.state / "audit.head"
        self._store = store
        self._key = b""
        self._head = Head()
        self._order = asyncio.Lock()
        self._waiting: list[_Entry] = []
        self._why = ""
        """Why rows wait."""
        self._broken = ""

    @property
    def warning(self) -> str:
        """What was found wrong at the start, or what could not be written yet; empty if nothing."""
        if self._waiting:
            rows = len(self._waiting)
            return f"Not yet written to the audit trail: {rows} {plural('row', rows)}. {self._why}"
        return self._broken

    async def start(self) -> None:
        """Read key and head, and continue where the stored chain ends.

        Where that is not where it ended before, a row says so: the new head must not hide that rows were cut off.
        """
        self._key = await asyncio.to_thread(load_key, self._key_file, self._head_file)
        head = await asyncio.to_thread(self._read_head)
        rows = await self._rows(max(0, head.count - 1) if head else 0)
        # where rows were cut off, the chain goes on after the last one that is left
        if last := rows or await self._rows(0):
            self._head = Head(last[-1].number, last[-1].tag)
        if findings := _check_end(self._key, rows, head):
            self._broken = f"The audit trail does not hold: {findings[0].text}"
            await self.record(BROKEN, actor="controller", found=[item.text for item in findings[:10]], may_wait=True)
        elif head is not None and rows and rows[-1].number > head.count:
            await self._seal(rows[-1])  # a crash came between that row and the head

    async def record(
        self,
        action: str,
        *,
        slug: str = "",
        session_id: str = "",
        actor: str = "operator",
        may_wait: bool = False,
        **detail: Any,
    ) -> None:
        """Add a row; on disk when this returns. Not cut short by the caller's cancellation.

        With `may_wait` a full disk is no failure: the row is kept and written before the next one. It is for what has
        happened already, and for what takes access away: a bottle can be stopped on a full disk.
        """
        entry = _Entry(time.time(), action, slug, session_id, actor, detail)
        work = spawn(self._record(entry, may_wait), name=f"audit {action}", on_error=lambda _: None)
        await asyncio.shield(work)

    async def with_row[T](
        self,
        write: Callable[[AuditRow], Awaitable[T]],
        action: str,
        *,
        slug: str,
        session_id: str,
        actor: str,
        **detail: Any,
    ) -> T:
        """Add a row together with what it tells of: `write` puts both into one transaction of the store, or raises with
        neither. Not cut short by the caller's cancellation."""
        entry = _Entry(time.time(), action, slug, session_id, actor, detail)
        work = spawn(self._with_row(write, entry), name=f"audit {action}", on_error=lambda _: None)
        return await asyncio.shield(work)

    async def close(self) -> None:
        """Write what waits, if that is possible by now."""
        async with self._order:
            try:
                await self._write()
            except (CarboyError, OSError) as error:
                log.error("%d rows of the audit trail are lost: %s", len(self._waiting), error)

    async def _record(self, entry: _Entry, may_wait: bool) -> None:
        async with self._order:
            self._waiting.append(entry)
            try:
                await self._write()
            except (CarboyError, OSError) as error:
                if not may_wait or len(self._waiting) > MAX_WAITING:
                    self._waiting.remove(entry)  # the caller is told, and does nothing
                    raise
                self._why = error.render() if isinstance(error, CarboyError) else str(error)
                log.error("the audit trail cannot be written, %d rows wait: %s", len(self._waiting), error)

    async def _with_row[T](self, write: Callable[[AuditRow], Awaitable[T]], entry: _Entry) -> T:
        async with self._order:
            await self._write()
            row = self._next(entry)
            done = await write(row)
            await self._seal(row)
        return done

    async def _write(self) -> None:
        while self._waiting:
            row = self._next(self._waiting[0])
            await self._store.append_audit(row)
            self._waiting.pop(0)
            await self._seal(row)

    def _next(self, one: _Entry) -> AuditRow:
        return next_row(
            self._key,
            self._head,
            at=one.at,
            action=one.action,
            actor=one.actor,
            slug=one.slug,
            session_id=one.session_id,
            detail=one.detail,
        )

    async def _seal(self, last: AuditRow) -> None:
        self._head = Head(last.number, last.tag)
        try:
            await asyncio.to_thread(atomic_write, self._head_file, seal_head(self._key, self._head), 0o600)
        except OSError as error:  # the row is there; the next one seals both
            log.error("the end of the audit trail could not be sealed: %s", error)

    async def verify(self) -> list[Finding]:
        """What is wrong with the whole chain as it is stored; empty if it holds."""
        async with self._order:
            rows = await self._rows(0)
            head = await asyncio.to_thread(self._read_head)
        return await asyncio.to_thread(verify, self._key, rows, head)

    async def rows(self) -> list[AuditRow]:
        """The whole chain."""
        return await self._rows(0)

    async def _rows(self, after: int) -> list[AuditRow]:
        rows: list[AuditRow] = []
        while page := await self._store.audit(after=rows[-1].number if rows else after):
            rows += page
        return rows

    def _read_head(self) -> Head | None:
        try:
            return open_head(self._key, self._head_file.read_bytes())
        except FileNotFoundError:
            return None


def _check_end(key: bytes, rows: list[AuditRow], head: Head | None) -> list[Finding]:
    """What is wrong from the recorded end on; `rows` are the stored ones from the head's own on."""
    if head is None:
        return verify(key, rows, None)
    if head.count == 0:
        return verify(key, rows, head)
    if not rows:
        return [Finding(head.count, f"rows up to {head.count} were cut off")]
    if (rows[0].number, rows[0].tag) != (head.count, head.tag):
        return [Finding(head.count, "the chain's end is not the one that was recorded")]
    return verify_from(key, head, rows[1:])


def load_key(path: Path, head: Path) -> bytes:
    """The chain's key, made on first use with an empty chain's head. Raises CarboyError where others could read it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        # the head first: a key without one means that it was taken away
        atomic_write(head, seal_head(key, Head()), 0o600)
        atomic_write(path, key, 0o600)
        return key
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise CarboyError(f"{path} can be read by others", f"Run: chmod 600 {path}", "audit_key")
        key = file.read()
    if len(key) != KEY_BYTES:
        raise CarboyError(f"{path} is damaged", "Put it back from a backup, or move audit.* away", "audit_key")
    return key
