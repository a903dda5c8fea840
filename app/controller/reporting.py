"""Puts together what bottles did: from the store, and from their workspaces. What changed there is told by contents
where there is something to compare with (a copy, or a restore point), else by the times of files, and it says which.
Reads only, follows no link, and gives up at a bound."""

import asyncio
import heapq
import os
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

from app.backends import changes
from app.controller.presence import Presence
from app.controller.record import SessionRecord
from app.controller.session import Session
from app.controller.trees import Trees, trees_of
from app.core.model import LIVE, BottleView
from app.core.report import Away, Changed, Decided, Ordered, Refused, Report, outcome
from app.errors import CarboyError
from app.paths import Paths
from app.store.base import ProposalRow, Store

MOST_ENTRIES = 50_000
NAMED = 50
MOST_BOTTLES = 50
COMPARE_SECONDS = 10.0
"""Of comparing contents, for all bottles together; the rest is told by times."""
SKIPPED = frozenset({".git", "node_modules", ".venv", "__pycache__", ".cache"})
"""Folders that hold what tools make, by the thousand."""


class Records(Protocol):
    """The registry of live and preserved sessions."""

    def named_record(self, slug: str) -> tuple[SessionRecord, Path]: ...
    def session(self, session_id: str) -> Session | None: ...


class Reporting:
    def __init__(self, paths: Paths, store: Store, records: Records, presence: Presence) -> None:
        self._paths = paths
        self._store = store
        self._records = records
        self.presence = presence

    async def report(self, view: BottleView, since: float = 0.0, *, contents: bool = True) -> Report:
        """One session, since it began or since then. Without `contents` files are told by their times alone."""
        session = self._records.session(view.session_id)
        if session is not None and session.live:
            view = session.view  # what is counted while it runs is not in the store
        rows = [row for row in await self._store.proposals(slug=view.slug) if row.session_id == view.session_id]
        rows = [row for row in rows if max(row.created_at, row.decided_at or 0.0) >= since]
        began = max(since, view.created_at)  # `started_at` is told after the start: the agent may have written by then
        ended = view.ended_at if view.state not in LIVE else None
        refusals = await self._store.refusals(view.session_id, since)
        orders = await self._store.orders(view.session_id, since)
        return Report(
            slug=view.slug,
            session_id=view.session_id,
            label=view.label,
            agent=view.agent,
            provider=view.provider,
            state=view.state,
            outcome=outcome(view),
            since=since or view.created_at,
            started_at=view.started_at,
            ended_at=ended,
            seconds=max(0.0, (ended or time.time()) - (view.started_at or view.created_at)),
            exit_code=view.exit_code,
            error=view.error,
            allowed=view.allowed,
            refused=view.refused,
            dropped=await self._store.dropped(session_id=view.session_id),
            spend=view.model_dump(mode="json").get("spend") or {},
            refusals=tuple(
                Refused(host=host, code=code, times=times, failed=decision == "error")
                for host, decision, code, times in refusals
            ),
            decisions=tuple(_decided(row) for row in rows[-100:]),
            orders=tuple(
                Ordered(at=row.at, action=row.action, by=row.actor)
                for row in orders
                if not row.action.startswith("proposal-")  # those are the decisions
            ),
            changed=await asyncio.to_thread(self._changed, view, began, since, contents),
        )

    async def away(self, since: float | None = None) -> Away:
        """All bottles that did something since the operator left."""
        start = self.presence.left if since is None else since
        views = await self._store.sessions(limit=500)
        active = [view for view in views if start and (view.state in LIVE or (view.ended_at or 0.0) >= start)]
        until = time.monotonic() + COMPARE_SECONDS
        reports = [await self.report(view, start, contents=time.monotonic() < until) for view in active[:MOST_BOTTLES]]
        reports.sort(key=lambda item: (-item.open, item.state == "ended", -len(item.refusals), item.slug))
        return Away(since=start, until=time.time(), reports=tuple(reports))

    def _changed(self, view: BottleView, began: float, since: float, contents: bool) -> Changed:
        """Blocks; never raises."""
        if contents:
            try:
                record, state = self._records.named_record(view.slug)
                if record.view.session_id == view.session_id:
                    return compared(trees_of(record, state), since)
            except (CarboyError, OSError):  # nothing to compare with, or too much
                pass
        return changed(self._workspace(view), began)

    def _workspace(self, view: BottleView) -> Path | None:
        if view.workspace == "copy":
            return self._paths.session_state(view.slug) / "workspace"
        return Path(view.cwd) if view.workspace == "mount" else None


def compared(trees: Trees, since: float) -> Changed:
    """What is different, by content; with `since` only what was also written after it. Blocks; raises OSError and
    CarboyError."""
    found = trees.own(changes.changes(trees.before, trees.after, trees.skip))
    if since:
        found = tuple(one for one in found if _written(trees.after / one.path) >= since)
    newest = sorted(found, key=lambda one: -_written(trees.after / one.path))[:NAMED]
    kinds = Counter(one.kind for one in found)
    return Changed(
        files=tuple(_text(one.path) for one in newest),
        more=len(found) - len(newest),
        bytes=sum(one.size for one in found if one.kind != "removed"),
        basis="copy" if trees.point is None else "restore point",
        added=kinds["added"],
        removed=kinds["removed"],
    )


def _written(path: Path) -> float:
    """When; 0 of what is not there."""
    try:
        return path.lstat().st_mtime
    except (OSError, ValueError):
        return 0.0


def changed(folder: Path | None, since: float) -> Changed:
    """Files below `folder` that were written after `since`. Blocks; never raises."""
    if folder is None:
        return Changed(known=False)
    newest: list[tuple[float, str]] = []
    found, total, seen = 0, 0, 0
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    seen += 1
                    if seen > MOST_ENTRIES:
                        return _changed(newest, found, total, partial=True)
                    name = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting += [] if entry.name in SKIPPED else [name]
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if status.st_mtime >= since:
                        found, total = found + 1, total + status.st_size
                        heapq.heappush(newest, (status.st_mtime, name))
                        if len(newest) > NAMED:
                            heapq.heappop(newest)
        except FileNotFoundError:
            if not below:
                return Changed(known=False)
        except OSError:
            continue
    return _changed(newest, found, total, partial=False)


def _changed(newest: list[tuple[float, str]], found: int, total: int, *, partial: bool) -> Changed:
    names = tuple(_text(name) for _, name in sorted(newest, reverse=True))
    return Changed(files=names, more=found - len(names), bytes=total, partial=partial)


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _decided(row: ProposalRow) -> Decided:
    hosts = (row.outcome or {}).get("hosts") or _asked(row)
    report = row.payload.get("report") or {}
    what = str(report.get("title") or "") or ", ".join(map(str, hosts[:3]))
    return Decided(
        at=row.decided_at or row.created_at,
        what=what or row.kind,
        kind=row.kind,
        state=row.state,
        by=row.decided_by,
        reason=row.reason,
        scope=row.scope,
    )


def _asked(row: ProposalRow) -> list[str]:
    """The hosts for which a proposal asks something: its routes file holds all that is allowed, too."""
    known = {route.get("host"): route for route in row.payload.get("base") or []}
    wanted = row.payload.get("routes") or []
    return [route.get("host", "") for route in wanted if known.get(route.get("host")) != route]
