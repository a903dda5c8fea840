"""Puts together what bottles did: from the store, and from the names and times of the files in their workspaces. Reads
only; of files it looks at names, sizes and times, follows no link, opens nothing, and gives up at a bound."""

import asyncio
import heapq
import os
import time
from pathlib import Path

from app.controller.approving import Desk
from app.controller.presence import Presence
from app.core.model import LIVE, BottleView
from app.core.report import Away, Changed, Decided, Ordered, Refused, Report, outcome
from app.paths import Paths
from app.store.base import ProposalRow, Store

MOST_ENTRIES = 50_000
NAMED = 50
MOST_BOTTLES = 50
SKIPPED = frozenset({".git", "node_modules", ".venv", "__pycache__", ".cache"})
"""Folders that hold what tools make, by the thousand."""


class Reporting:
    """`desk` knows live and preserved sessions."""

    def __init__(self, paths: Paths, store: Store, desk: Desk, presence: Presence) -> None:
        self._paths = paths
        self._store = store
        self._desk = desk
        self.presence = presence

    async def report(self, view: BottleView, since: float = 0.0) -> Report:
        """One session, since it began or since then."""
        session = self._desk.session(view.session_id)
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
            spend=view.model_dump(mode="json").get("spend") or {},
            refusals=tuple(Refused(host=host, code=code, times=times) for host, code, times in refusals),
            decisions=tuple(_decided(row) for row in rows[-100:]),
            orders=tuple(
                Ordered(at=row.at, action=row.action, by=row.actor)
                for row in orders
                if not row.action.startswith("proposal-")  # those are the decisions
            ),
            changed=await asyncio.to_thread(changed, self._workspace(view), began),
        )

    async def away(self, since: float | None = None) -> Away:
        """All bottles that did something since the operator left."""
        start = self.presence.left if since is None else since
        views = await self._store.sessions(limit=500)
        active = [view for view in views if start and (view.state in LIVE or (view.ended_at or 0.0) >= start)]
        reports = [await self.report(view, start) for view in active[:MOST_BOTTLES]]
        reports.sort(key=lambda item: (-item.open, item.state == "ended", -len(item.refusals), item.slug))
        return Away(since=start, until=time.time(), reports=tuple(reports))

    def _workspace(self, view: BottleView) -> Path | None:
        if view.workspace == "copy":
            return self._paths.session_state(view.slug) / "workspace"
        return Path(view.cwd) if view.workspace == "mount" else None


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
    names = tuple(name.encode("utf-8", "replace").decode() for _, name in sorted(newest, reverse=True))
    return Changed(files=names, more=found - len(names), bytes=total, partial=partial)


def _decided(row: ProposalRow) -> Decided:
    hosts = (row.outcome or {}).get("hosts") or [route.get("host", "") for route in row.payload.get("routes") or []]
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
