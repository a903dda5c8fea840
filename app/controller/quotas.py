"""Keeps bottles within `limits.disk`: looks at what their writable layers hold, warns, and pauses one that is nearly
full so that the operator can decide: thawing it lets it go on, with more room. Deletes nothing."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from app.controller.audit import Audit
from app.controller.notices import Notices
from app.controller.session import Session
from app.core import quota
from app.core.model import BottleView
from app.core.notices import Level, Notice
from app.core.units import room
from app.errors import CarboyError
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

FIRST = 20.0
"""Seconds from a bottle's start to the first look."""
type Measure = Callable[[Session], Awaitable[int]]


class Runner(Protocol):
    """The live registry (`app.controller.sessions.Sessions`)."""

    def session(self, session_id: str) -> Session | None: ...
    async def freeze(self, slug: str) -> BottleView: ...


class Quotas:
    """`changed` is told of every change of a bottle. One task for each that runs; a frozen one writes nothing."""

    def __init__(
        self, runner: Runner, measure: Measure, audit: Audit, notices: Notices, *, first: float = FIRST
    ) -> None:
        self._runner = runner
        self._measure = measure
        self._audit = audit
        self._notices = notices
        self._first = first
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def changed(self, view: BottleView) -> None:
        if view.state == "running":
            if view.session_id not in self._tasks:
                work = self._follow(view.session_id)
                self._tasks[view.session_id] = spawn(work, name=f"disk of {view.slug}")
        elif (task := self._tasks.pop(view.session_id, None)) is not None and task is not asyncio.current_task():
            task.cancel()

    async def close(self) -> None:
        await cancel_and_wait(*self._tasks.values())

    async def _follow(self, session_id: str) -> None:
        wait, warned = self._first, False
        session = self._runner.session(session_id)
        if session is not None and session.record.disk_full:
            await self._let_on(session)
        while True:
            await asyncio.sleep(wait)
            session = self._runner.session(session_id)
            if session is None or session.view.state != "running":
                return
            began = time.monotonic()
            try:
                used = await self._measure(session)
            except (CarboyError, OSError) as error:  # an engine that is gone: later
                log.warning("the disk of %s cannot be looked at: %s", session.slug, error)
                wait = quota.next_look(0, 1, 0)
                continue
            limit = limit_of(session)
            session.show(save=False, disk=used)
            match quota.standing(used, limit):
                case "full":
                    if await self._halt(session, used, limit):
                        return
                case "warn" if not warned:
                    warned = True
                    self._say(
                        session, "warning", f"has {room(used)} of {room(limit)} on disk", "`limits.disk` bounds it"
                    )
                case _:
                    pass
            wait = quota.next_look(used, limit, time.monotonic() - began)

    async def _halt(self, session: Session, used: int, limit: int) -> bool:
        await self._audit.record(
            "disk-full", slug=session.slug, session_id=session.id, actor="carboy", used=used, limit=limit, may_wait=True
        )
        self._keep(session, disk_full=used)
        try:
            await self._runner.freeze(session.slug)
        except CarboyError as error:
            log.warning("%s could not be paused: %s", session.slug, error)
            self._keep(session, disk_full=0)
            return False
        text = f"carboy thaw {session.slug} lets it go on until it has 30 % more; or stop it"
        self._say(session, "error", f"is paused: {room(used)} of {room(limit)} on disk", text)
        return True

    async def _let_on(self, session: Session) -> None:
        """The operator thawed it."""
        more = quota.raised(session.record.disk_full, limit_of(session))
        await self._audit.record("disk-raised", slug=session.slug, session_id=session.id, limit=more, may_wait=True)
        self._keep(session, disk_full=0, disk_limit=more)

    def _keep(self, session: Session, *, disk_full: int, disk_limit: int | None = None) -> None:
        limit = session.record.disk_limit if disk_limit is None else disk_limit
        with contextlib.suppress(OSError):  # the disk itself may be full
            session.update(disk_full=disk_full, disk_limit=limit)

    def _say(self, session: Session, level: Level, what: str, text: str) -> None:
        title = f"{session.slug} {what}"[:200]
        self._notices.say(Notice(at=time.time(), about="disk", level=level, slug=session.slug, title=title, text=text))


def limit_of(session: Session) -> int:
    return session.record.disk_limit or session.record.manifest.bottle.limits.disk or quota.DEFAULT
