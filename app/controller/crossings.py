"""What happens when a budget runs out: thresholds are told of once, and a crossing fires the bottle's policy, once, on
record before it is done. Decides by `app.core.budget`; it counts nothing and hands out nothing.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.leases import Key
from app.controller.record import Crossing
from app.controller.session import Session
from app.core import budget
from app.core.budget import Policy, Standing
from app.core.model import BottleView, StreamEvent
from app.core.scopes import shown
from app.errors import CarboyError
from app.store.base import NewEvent, Store
from app.tasks import spawn

log = logging.getLogger(__name__)

DOES: dict[Policy, str] = {
    "cutoff": "its requests to the model are refused",
    "ask": "its requests wait for you",
    "freeze": "it is saved and stopped",
    "kill": "it is killed",
}
"""What a used up budget does to a bottle, in words."""
ENDS: tuple[Policy, ...] = ("freeze", "kill")


class Desk(Protocol):
    """Where the live sessions are (`app.controller.sessions.Sessions`)."""

    def live(self) -> list[Session]: ...
    def session(self, session_id: str) -> Session | None: ...
    def named(self, slug: str) -> Session: ...
    async def freeze(self, slug: str) -> BottleView: ...
    async def put_by(self, slug: str, why: str) -> BottleView: ...
    async def kill(self, slug: str) -> BottleView: ...


def policy_of(session: Session) -> Policy:
    """What a used up budget does to this bottle: the operator's choice for it, else its files'."""
    return session.record.shutdown or session.record.manifest.bottle.shutdown


class Crossings:
    """Called by the budgets' rounds, for one session and provider at a time."""

    def __init__(self, store: Store, bus: Bus, audit: Audit, desk: Desk) -> None:
        self._store = store
        self._bus = bus
        self._audit = audit
        self._desk = desk
        self._told: dict[Key, set[int]] = {}
        self._acting: set[str] = set()
        self.told: Callable[[list[StreamEvent]], None] = lambda _: None
        """Told of what was kept for the operator to hear."""

    async def thresholds(self, session: Session, key: Key, standing: Standing, marks: Iterable[int]) -> None:
        """Tell of each threshold of this period once, whichever bottle reached it, also over restarts."""
        told = self._told.get(key)
        if told is None:
            told = self._told[key] = set(await self._store.marks(*key))
        fresh = [mark for mark in budget.crossed(standing.percent, marks, told) if await self._store.mark(*key, mark)]
        told.update(budget.crossed(standing.percent, marks, ()))
        if not fresh or fresh[-1] >= 100:  # what is used up is told of with what that does
            return
        held, mark = standing.limit, fresh[-1]
        used = budget.words(standing.used, held.unit)
        text = f"{mark} % of {budget.described(held, shown(held.scope, session.slug))} is used: {used}"
        level = "warning" if mark < 95 else "error"
        await self._notice(session, f"{key}{mark}", "budget_threshold", level, text)

    async def raised(self, key: Key, percent: int) -> None:
        """A budget is another one now: what lies above its new state is told of again."""
        await self._store.unmark(*key, percent)
        self._told.pop(key, None)

    async def look(
        self, session: Session, provider: str, standings: Sequence[Standing], patience: float
    ) -> budget.Outcome:
        """What this provider's budgets mean for the bottle now; acts on what changed. `patience`: seconds that an ask
        waits for the operator."""
        spent = next((one for one in standings if one.exhausted), None)
        known = session.record.crossings.get(provider)
        if spent is None:
            if known is not None:
                await self._lift(session, provider, known)
            return "open"
        policy = policy_of(session)
        if known is None or known.policy != policy:
            known = Crossing(scope=spent.limit.scope, policy=policy, at=time.time())
            await self._cross(session, provider, known, spent)
        elif known.policy in ENDS and not known.done:
            self._fire(session, provider, spent)  # its controller ended meanwhile, or it was not possible then
        elif known.policy == "ask" and not known.answered and time.time() >= known.at + patience:
            await self._unanswered(session, provider, known)
        now = session.record.crossings.get(provider, known)
        return budget.outcome(standings, policy, answered=now.answered)

    async def _cross(self, session: Session, provider: str, crossing: Crossing, spent: Standing) -> None:
        held = spent.limit
        name = budget.described(held, shown(held.scope, session.slug))
        facts = {"provider": provider, "scope": held.scope, "used": spent.used, "limit": held.value, "unit": held.unit}
        await self._record(session, f"budget-{crossing.policy}", **facts)
        self._remember(session, provider, crossing)
        await self._notice(
            session,
            f"{crossing.at}{provider}",
            "budget_exhausted",
            "error",
            f"{name} is used up: {DOES[crossing.policy]}",
        )
        if crossing.policy in ENDS:
            self._fire(session, provider, spent)

    def _fire(self, session: Session, provider: str, spent: Standing) -> None:
        """Freeze or kill, as the crossing on record says."""
        crossing = session.record.crossings[provider]
        name = budget.described(spent.limit, shown(spent.limit.scope, session.slug))

        async def act(slug: str) -> None:
            if crossing.policy == "freeze":
                await self._desk.put_by(slug, saved_for(name, slug))
            else:
                session.why = f"{name} is used up: killed"
                await self._desk.kill(slug)
            if session.record.crossings.get(provider) == crossing:
                self._remember(session, provider, crossing.model_copy(update={"done": True}))

        self._act(session, act, crossing.policy)

    async def _lift(self, session: Session, provider: str, known: Crossing) -> None:
        await self._record(session, "budget-lifted", provider=provider, scope=known.scope)
        self._remember(session, provider, None)
        text = f"{provider} may be used again"
        await self._notice(session, f"lifted{known.at}{provider}", "budget_lifted", "info", text)

    async def _unanswered(self, session: Session, provider: str, known: Crossing) -> None:
        """Nobody is there: as `unattended` says."""
        then = budget.unanswered(session.record.manifest.bottle.unattended.hold)
        await self._record(session, f"budget-{then}", provider=provider, scope=known.scope, why="nobody answered")
        self._remember(session, provider, known.model_copy(update={"answered": True}))
        if then == "freeze":
            self._act(session, self._desk.freeze, then)

    def save_and_stop(self, session: Session) -> None:
        """The operator's answer to an ask. What it takes to save is not waited for."""
        why = saved_for("a budget", session.slug)
        self._act(session, lambda slug: self._desk.put_by(slug, why), "freeze")

    async def answer_no(self, session: Session, provider: str) -> None:
        """The operator said that an ask shall be a cutoff."""
        known = session.record.crossings.get(provider)
        if known is not None:
            self._remember(session, provider, known.model_copy(update={"answered": True}))

    def _remember(self, session: Session, provider: str, crossing: Crossing | None) -> None:
        rest = {name: one for name, one in session.record.crossings.items() if name != provider}
        try:
            session.update(crossings=rest if crossing is None else {**rest, provider: crossing})
        except OSError as error:  # in force all the same; the next controller would only fire it again
            log.error("the record of %s cannot be saved: %s", session.slug, error)
            session.update(save=False, crossings=rest if crossing is None else {**rest, provider: crossing})

    def _act(self, session: Session, act: Callable[[str], Awaitable[object]], name: str) -> None:
        if session.id in self._acting:
            return
        self._acting.add(session.id)

        async def work() -> None:
            try:
                await act(session.slug)
            except (CarboyError, TimeoutError) as error:  # it may have ended or been frozen in this very moment
                log.warning("%s could not be done to %s: %s", name, session.slug, error)
            finally:
                self._acting.discard(session.id)

        # not awaited: a bottle that takes its time to end must not hold up the others' budgets
        spawn(work(), name=f"budget {name} {session.slug}")

    async def _record(self, session: Session, action: str, **detail: object) -> None:
        await self._audit.record(
            action, slug=session.slug, session_id=session.id, actor="budget", may_wait=True, **detail
        )

    async def _notice(self, session: Session, what: str, code: str, level: str, text: str) -> None:
        identity = f"{code}-{hashlib.sha256(what.encode()).hexdigest()[:24]}"
        at = time.time()
        payload = {"id": identity, "at": at, "kind": "notice", "level": level, "code": code, "text": text[:1000]}
        event = NewEvent(identity, at, "notice", payload)
        try:
            self.told(await self._bus.keep(session.slug, session.id, [event]))
        except (CarboyError, asyncio.CancelledError):
            log.warning("%s: %s", session.slug, text)
            raise


def saved_for(budget_name: str, slug: str) -> str:
    return f"{budget_name} is used up: saved and stopped; once there is more, carboy resume {slug}"
