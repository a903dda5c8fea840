"""Acts on a bottle's `unattended` profile when its operator does not: parks it while a question waits, waits out or
stops at a provider's limit, starts its agent again after a crash. Every act is in the audit trail and told; none gives
access. What it did is on the session's record, so that the next controller goes on with it."""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.controller.alarm import Alarm
from app.controller.audit import Audit
from app.controller.notices import Notices
from app.controller.session import Session
from app.core.model import LIVE, BottleView, LaunchRequest, LaunchStep
from app.core.notices import About, Notice
from app.core.overnight import (
    LIMITS,
    Overnight,
    is_limit,
    most_resumes,
    next_reset,
    pause_before_resume,
    profile,
    resume_at,
    to_go_on,
    wake,
)
from app.errors import CarboyError
from app.store.base import Store
from app.tasks import spawn
from sidecar.secret import Secret

log = logging.getLogger(__name__)
BY = "carboy"
PUT_AWAY = ("archived", "purged")
LATELY = 60.0
"""A crash so many seconds before this controller came may be one with its predecessor's, and is taken up. An older one
is told of, and not acted on: by then nobody may want an agent that starts by itself."""


class Runner(Protocol):
    """The live registry (`app.controller.sessions.Sessions`)."""

    def live(self) -> list[Session]: ...
    def over(self) -> list[Session]: ...
    def session(self, session_id: str) -> Session | None: ...
    async def freeze(self, slug: str) -> BottleView: ...
    async def thaw(self, slug: str) -> BottleView: ...
    async def stop(self, slug: str) -> BottleView: ...
    async def launch(self, request: LaunchRequest, progress: Callable[[LaunchStep], None]) -> BottleView: ...


@dataclass
class _Limit:
    """Refusals of one session for a limit since its last answer."""

    in_a_row: int = 0
    waits: int = 0
    reset: float | None = None
    last: float = 0.0
    kind: str = ""
    """Of the last one."""
    stopped: bool = False
    """That is what the profile wants at it: an agent that gives up first, by itself, is not started again either."""


class Unattended:
    """`start()` once the sessions were found again; then it is told of cards, decisions, changes and faults."""

    def __init__(
        self, runner: Runner, store: Store, audit: Audit, notices: Notices, usual_wait: Callable[[], Awaitable[float]]
    ) -> None:
        self._runner = runner
        self._store = store
        self._audit = audit
        self._notices = notices
        self._usual_wait = usual_wait
        self._cards: dict[str, tuple[str, float]] = {}
        """Open questions of bottles that park: the session, and when it is parked for it."""
        self._limits: dict[str, _Limit] = {}
        self._states: dict[str, str] = {}
        self._resuming: dict[str, tuple[BottleView, float, int]] = {}
        self._given: dict[str, dict[str, dict[str, Secret]]] = {}
        """What came by environment or was typed for bottles that are started again: in memory only, as there."""
        self._alarm = Alarm(self._due)
        self._began, self._started = time.time(), False

    async def start(self) -> None:
        self._started = True
        for session in self._runner.live():
            self._states[session.id] = session.view.state
        for session in self._runner.over():
            at = session.record.overnight.resume_at
            if at is not None and session.id not in self._resuming and session.view.kept not in PUT_AWAY:
                self._take_up(session, at)
        for row in await self._store.proposals(state="pending"):
            await self._card(row.id, row.session_id, row.created_at)
        self._arm()

    async def close(self) -> None:
        self._alarm.close()

    @property
    def starts_again(self) -> bool:
        """Whether an agent is to be started again, perhaps hours from now: somebody must be there to do it."""
        return bool(self._resuming)

    # --- what happens -----------------------------------------------------------------------------------------------

    def asked(self, data: Mapping[str, Any]) -> None:
        """A question came in."""
        work = self._asked(str(data["id"]), str(data["session_id"]), float(data["created_at"]))
        spawn(work, name="a question of an unattended bottle")

    async def _asked(self, identity: str, session_id: str, at: float) -> None:
        await self._card(identity, session_id, at)
        self._arm()

    async def _card(self, identity: str, session_id: str, at: float) -> None:
        session = self._runner.session(session_id)
        found = None if session is None else profile(session.record.manifest)
        if found is not None and found.parks:
            self._cards[identity] = (session_id, at + (found.max_wait or await self._usual_wait()))

    def decided(self, identity: str, session_id: str) -> None:
        """A question was answered, or is nobody's any more."""
        if self._cards.pop(identity, None) is None:
            return
        session = self._runner.session(session_id)
        waits = any(owner == session_id for owner, _ in self._cards.values())
        if session is not None and session.record.overnight.parked == "hold" and not waits:
            spawn(self._let_go(session, "answered"), name=f"unpark {session.slug}")
        self._arm()

    def faults(
        self, session_id: str, kinds: Iterable[str], windows: Iterable[tuple[float | None, float | None]]
    ) -> None:
        """What a provider answered, in order: a fault's kind, or "" for an answer; and its windows as they stand."""
        session = self._runner.session(session_id)
        if session is None:
            return
        found = self._limits.setdefault(session_id, _Limit())
        now = time.time()
        found.reset = next_reset(windows, now) or found.reset
        for kind in kinds:
            found.in_a_row = found.in_a_row + 1 if kind in LIMITS else 0
            if kind in LIMITS:
                found.last, found.kind = now, kind
            if not kind:
                found.waits, found.reset = 0, None
            elif session.view.state == "running" and is_limit(kind, found.in_a_row, found.reset, now):
                self._limit(session, kind, found, now)

    def _limit(self, session: Session, kind: str, found: _Limit, now: float) -> None:
        wanted = profile(session.record.manifest).on_limit
        if wanted not in ("stop", "wait_for_reset") or session.record.overnight.parked:
            return
        found.in_a_row = 0
        if wanted == "stop":
            found.stopped = True
            spawn(self._stop(session, kind), name=f"stop {session.slug} at its limit")
            return
        until = wake(found.reset, found.waits, now)
        found.waits += 1
        spawn(self._park(session, "limit", until, f"the provider's limit ({kind})"), name=f"park {session.slug}")

    def changed(self, view: BottleView) -> None:
        """A bottle is now like this."""
        before = self._states.get(view.session_id)
        if view.state in LIVE:
            self._states[view.session_id] = view.state
            session = self._runner.session(view.session_id)
            self._remember(session)
            if (
                view.state == "running"
                and before == "frozen"
                and session is not None
                and session.record.overnight.parked
            ):
                # somebody let it go: the operator is back
                session.update(overnight=Overnight(resumes=session.record.overnight.resumes))
            return
        self._states.pop(view.session_id, None)
        given = self._given.pop(view.session_id, {})
        limit = self._limits.pop(view.session_id, _Limit())
        self._cards = {key: item for key, item in self._cards.items() if item[0] != view.session_id}
        session = self._runner.session(view.session_id)
        if session is not None and before in ("running", "frozen") and view.state in ("failed", "lost"):
            self._given[view.session_id] = given
            self._ended(session, view, limit)
            if view.session_id not in self._resuming:
                del self._given[view.session_id]

    def _remember(self, session: Session | None) -> None:
        """A resume is a launch of its own, and asks for the same secrets."""
        if session is None or not (session.typed or session.environment):
            return
        wanted = profile(session.record.manifest)
        if wanted.resumes or wanted.on_limit in ("retry", "wait_for_reset"):
            self._given[session.id] = {"secrets": dict(session.typed), "env": dict(session.environment)}

    def _take_up(self, session: Session, at: float) -> None:
        """A former controller was to start it again."""
        if at < self._began - LATELY:
            self._leave(session)
        else:
            self._resuming[session.id] = (session.view, at, session.record.overnight.resumes + 1)

    def _leave(self, session: Session) -> None:
        self._plan(session, None)
        text = "ended while no controller ran, and is left as it is: `carboy resume` goes on"
        self._say(session.view, "failed", text)

    def _plan(self, session: Session, at: float | None) -> None:
        """When it is started again, on its record: the next controller does it where this one ends before."""
        with contextlib.suppress(OSError):  # a full disk, or what was archived meanwhile
            session.update(overnight=session.record.overnight.model_copy(update={"resume_at": at}))

    def _ended(self, session: Session, view: BottleView, limit: _Limit) -> None:
        """Its agent ended badly, and nobody asked for that."""
        wanted, done, now = profile(session.record.manifest), session.record.overnight.resumes, time.time()
        if limit.stopped:
            return
        long_over = view.state == "lost" if not self._started else (view.ended_at or now) < self._began - LATELY
        if long_over:
            if wanted.resumes:
                self._leave(session)
            return
        limited = bool(limit.last) and wanted.on_limit in ("retry", "wait_for_reset")
        if done >= most_resumes(wanted, limited=limited):
            if done:
                self._say(view, "failed", f"was started again {done} times, and is left as it is now")
            return
        at = resume_at(limit.reset, done, now, limit.kind) if limited else now + pause_before_resume(done)
        self._resuming[view.session_id] = (view, at, done + 1)
        self._plan(session, at)
        self._arm()

    # --- what it does -----------------------------------------------------------------------------------------------

    async def _park(self, session: Session, why: Any, until: float | None, text: str) -> None:
        if session.view.state != "running":
            return
        session.update(overnight=session.record.overnight.model_copy(update={"parked": why, "wake_at": until}))
        await self._record("parked", session.view, why=why, until=until)
        try:
            await self._runner.freeze(session.slug)
        except CarboyError as error:
            log.warning("%s could not be parked: %s", session.slug, error)
            session.update(overnight=Overnight(resumes=session.record.overnight.resumes))
            return
        self._say(session.view, "approval" if why == "hold" else "budget", f"is parked: {text}")
        self._arm()

    async def _let_go(self, session: Session, why: str) -> None:
        session.update(overnight=Overnight(resumes=session.record.overnight.resumes))
        await self._record("unparked", session.view, why=why)
        if session.view.state == "frozen":
            try:
                await self._runner.thaw(session.slug)
            except CarboyError as error:
                log.warning("%s could not be let go: %s", session.slug, error)

    async def _stop(self, session: Session, kind: str) -> None:
        await self._record("limit-stop", session.view, why=kind)
        self._say(session.view, "budget", f"is stopped at the provider's limit ({kind})")
        try:
            await self._runner.stop(session.slug)
        except CarboyError as error:
            log.warning("%s could not be stopped: %s", session.slug, error)

    async def _resume(self, view: BottleView, number: int) -> None:
        former = self._runner.session(view.session_id)
        if former is not None:
            self._plan(former, None)
        if former is None or former.view.kept in PUT_AWAY:
            self._given.pop(view.session_id, None)
            return  # the operator went on with it, or put it away
        await self._record("resumed", view, number=number)
        given = self._given.pop(view.session_id, {})
        try:
            secrets, env = given.get("secrets", {}), given.get("env", {})
            asked = former.record.request
            task = to_go_on(asked.prompt, view.provider) if asked is not None else None
            request = LaunchRequest(resume=view.slug, cwd=view.cwd, prompt=task, secrets=secrets, env=env)
            made = await self._runner.launch(request, lambda _: None)
        except CarboyError as error:
            self._say(view, "failed", f"could not be started again: {error.message}")
            return
        session = self._runner.session(made.session_id)
        if session is not None:
            session.update(overnight=Overnight(resumes=number))
        self._say(made, "failed", f"ended badly and goes on (start {number})")

    async def _record(self, action: str, view: BottleView, **detail: Any) -> None:
        await self._audit.record(action, slug=view.slug, session_id=view.session_id, actor=BY, may_wait=True, **detail)

    def _say(self, view: BottleView, about: About, text: str) -> None:
        self._notices.say(
            Notice(at=time.time(), about=about, level="warning", slug=view.slug, title=f"{view.slug} {text}"[:200])
        )

    # --- time -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if not self._started:  # sessions are still being found again
            return
        times = [at for _, at in self._cards.values()] + [at for _, at, _ in self._resuming.values()]
        times += [wake_at for session in self._runner.live() if (wake_at := session.record.overnight.wake_at)]
        self._alarm.set(min(times, default=None))

    async def _due(self) -> None:
        now = time.time()
        late = {owner for owner, at in self._cards.values() if at <= now}
        # parked for it once: it waits in the list, without a time, until it is answered
        self._cards = {key: (owner, at if at > now else float("inf")) for key, (owner, at) in self._cards.items()}
        for session in self._runner.live():
            overnight = session.record.overnight
            if session.id in late:
                await self._park(session, "hold", None, "nobody answered its question")
            elif overnight.wake_at is not None and overnight.wake_at <= now:
                await self._let_go(session, "limit over")
        for session_id, (view, at, number) in list(self._resuming.items()):
            if at <= now:
                del self._resuming[session_id]
                spawn(self._resume(view, number), name=f"resume {view.slug}")
        self._arm()
