"""The queue of what waits for the operator: takes questions in, keeps their time, decides each once, tells the bottle.

Nothing widens a bottle's access but `approve` here and `RouteEdits`. An approval is in force, acknowledged and on
record before it is marked as given; where that fails the proposal stays pending and says why. Sidecars are believed
nothing: what they send was validated, belongs to their own session, and changes nothing by itself.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from app.controller import policies, proposal_views
from app.controller.alarm import Alarm
from app.controller.approving import Approving, Desk, covered
from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.record import Applied
from app.controller.session import Session
from app.core.approvals import ApproveBody, ProposalView, RejectBody, RoutesEdit, RoutesView
from app.core.model import LIVE, BottleView, StreamEvent
from app.core.proposal import ACCESS, CARBOY, Act, after, check_answer
from app.core.routetext import plain
from app.errors import CarboyError, NotFound
from app.paths import Paths
from app.store.base import Decided, ProposalRow, Store
from app.tasks import cancel_and_wait, spawn
from sidecar.contract import DecisionBody, ProposalEvent
from sidecar.egress.policy import RequestFacts
from sidecar.supervise.limits import Bucket

log = logging.getLogger(__name__)

USING = frozenset({"allow", "redact"})


class Proposals:
    """All bottles' proposals. `start()` once the sessions were found again, `close()` at the end."""

    def __init__(self, store: Store, bus: Bus, audit: Audit, desk: Desk, paths: Paths) -> None:
        self._store = store
        self._bus = bus
        self._audit = audit
        self._desk = desk
        self._approving = Approving(paths, audit)
        self._pending: dict[str, ProposalRow] = {}
        self._views: dict[str, tuple[tuple[Any, ...], ProposalView]] = {}
        self._confirming: list[asyncio.Task[None]] = []
        self._room: dict[str, Bucket] = {}
        self._counted: dict[str, str] = {}
        """By session: how many new questions are taken, and the last that was."""
        self._alarm = Alarm(self._due)
        self._telling: dict[str, asyncio.Task[None]] = {}
        self.on_card: Callable[[dict[str, Any]], None] = lambda _: None
        """Told of each question that came in, as clients see it."""
        self.on_decided: Callable[[str, str], None] = lambda *_: None
        """Told of each decision: the proposal's id and its session's."""

    async def start(self) -> None:
        """Take up what a former controller left: finish what it had begun, end what has lost its bottle."""
        for row in await self._store.proposals(state="pending"):
            self._pending[row.id] = row
        await self._confirm_all()
        for view in await self._store.sessions():
            if (session := self._desk.session(view.session_id)) is not None:
                await self._approving.note_late(session, self._store)
        for row in tuple(self._pending.values()):
            await self._finish(self._desk.session(row.session_id), row)
        for row in tuple(self._pending.values()):
            if self._live(row) is None:
                await self._close_one(row, "withdraw", "its bottle has ended")
        for session in self._desk.live():
            self.tell(session.id)
        self._arm()

    async def _confirm_all(self) -> None:
        """Side by side, and without whoever does not answer: that one is given nothing until it has."""
        self._confirming = [spawn(_confirmed(session), name=f"confirm {session.slug}") for session in self._desk.live()]
        if self._confirming:
            await asyncio.wait(self._confirming, timeout=CONFIRM_SECONDS)

    async def close(self) -> None:
        self._alarm.close()
        await cancel_and_wait(*self._telling.values(), *self._confirming)

    # --- what bottles do --------------------------------------------------------------------------------------------

    async def opened(self, session_id: str, event: ProposalEvent) -> None:
        """A line of a sidecar's spool. Idempotent; raises only where the store fails, so that it comes again."""
        session = self._desk.session(session_id)
        if session is None or not session.live:  # one that has ended waits for nothing, however late its lines come
            return
        if event.action == "withdrawn":
            await self._left(session, event.proposal_id)
        elif not session.record.policy.supervise:
            await self._tell_one(session, DecisionBody(proposal_id=event.proposal_id, state="rejected", reason=_ALONE))
        elif event.action == "open" and await self._too_many(session, event):
            return
        elif (event.routes is None) if event.type in ACCESS else (event.report is None):
            log.debug("%s sent a proposal without its content", session.slug)
        else:
            await self._add(session, event)

    async def _add(self, session: Session, event: ProposalEvent) -> None:
        telling = self._telling.get(session.id)
        if telling is not None:  # so that it is known whether an answer to the same question has reached anybody
            await asyncio.wait([telling])
        async with session.policy_lock:
            try:
                row = await self._store.add_proposal(_new_row(session, event))
            except CarboyError as error:
                if error.code != "proposal_id":
                    raise
                log.debug("%s: %s", session.slug, error)
                return
            if row.state != "pending":
                self.tell(session.id)
                return
            before = self._pending.get(row.id)
            self._pending[row.id] = row
            if await self._allowed_already(session, row):
                return
            card = await self._publish(row)
            longer = before is not None and before.asked == row.asked and before.expires_at != row.expires_at
            if not longer:
                self.on_card(card)
            self._arm()

    async def _too_many(self, session: Session, event: ProposalEvent) -> bool:
        """Whether this bottle has more questions open than anybody reads, or asks more than is worth a place in the
        trail. Its sidecar counts too, but forgets when it is restarted, and is believed nothing."""
        if await self._store.proposal(event.proposal_id) is not None:
            return False  # it came before, and may come again
        if sum(row.session_id == session.id for row in self._pending.values()) >= MAX_PENDING:
            reason = _TOO_MANY
        elif self._counted.get(session.id) == event.proposal_id:  # the store did not take it then
            return False
        elif not self._room.setdefault(session.id, Bucket(1 / EVERY_SECONDS, BURST)).take(time.monotonic()):
            reason = _TOO_OFTEN
        else:
            self._counted[session.id] = event.proposal_id
            return False
        log.debug("%s has %s", session.slug, reason)  # a sidecar can send a million of them
        await self._tell_one(session, DecisionBody(proposal_id=event.proposal_id, state="rejected", reason=reason))
        return True

    async def _left(self, session: Session, asker: str) -> None:
        row = await self._store.proposal(asker)
        if row is not None and row.session_id == session.id and await self._store.leave_proposal(asker):
            await self._close_one(row, "withdraw", "who asked has gone")

    def requests(self, session_id: str, events: Iterable[StreamEvent]) -> None:
        """What a bottle did: the first use of a single grant ends it."""
        session = self._desk.session(session_id)
        if session is None or not any(grant.single for grant in session.record.grants):
            return
        facts = [
            (event.at, _facts(event.data))
            for event in events
            if event.kind == "egress" and event.data.get("decision") in USING
        ]
        if used := policies.used(session, facts):
            spawn(self._end_grants(session, used), name=f"used up {session.slug}")

    def ended(self, view: BottleView) -> None:
        """A bottle has ended: nobody waits for an answer any more."""
        if view.state in LIVE:
            return
        self._room.pop(view.session_id, None)
        self._counted.pop(view.session_id, None)
        rows = [row for row in self._pending.values() if row.session_id == view.session_id]
        if rows:
            spawn(self._close_all(rows), name=f"withdraw {view.slug}")

    async def _close_all(self, rows: list[ProposalRow]) -> None:
        for row in rows:
            await self._close_one(row, "withdraw", "its bottle has ended")

    def tell(self, session_id: str) -> None:
        """Bring decisions to a sidecar, now or once it is there again."""
        running = self._telling.get(session_id)
        self._telling[session_id] = spawn(self._tell(session_id, running), name=f"tell {session_id}")

    def sidecar_up(self, session_id: str) -> None:
        """A sidecar is there, perhaps again: what could not be applied for want of one can be now."""
        self.tell(session_id)
        failed = [row for row in self._pending.values() if row.session_id == session_id and row.error]
        if failed:
            spawn(self._fault_all(failed, ""), name=f"sidecar is back {session_id}")

    # --- what operators do ------------------------------------------------------------------------------------------

    async def listed(self, *, slug: str | None = None, state: str | None = None) -> list[ProposalView]:
        """Proposals, the oldest first."""
        rows = await self._store.proposals(slug=slug, state=state)
        return [await self._shown(row) for row in rows]

    async def view(self, identity: str) -> ProposalView:
        row = await self._row(identity)
        return await asyncio.to_thread(proposal_views.shown, row, self._present(row), full=True)

    async def approve(self, identity: str, body: ApproveBody) -> ProposalView:
        """Approve as shown, or as edited. Raises CarboyError with nothing changed, and the proposal still pending."""
        session = self._waiting(await self._row(identity))
        async with session.policy_lock:
            row = await self._on_time(session, await self._row(identity))
            act: Act = "approve" if body.routes is None else "modify"
            state = after(row.state, act, by=row.decided_by, reason=row.reason)
            check_answer(row.kind, act, reason=body.reason, scope=body.scope, edited=body.routes is not None)
            approval = await self._approving.prepare(session, row, body)
            if body.preview:
                before = policies.present(session)
                return await asyncio.to_thread(proposal_views.edited, row, before, approval.after, approval.saving)
            decided = Decided(state, time.time(), body.by, body.reason, body.scope, approval.outcome)

            async def decide() -> ProposalRow:
                return await self._decided(session, row, replace(decided, applied_at=time.time()))

            try:
                done = await self._approving.apply(session, row, approval, decided, decide)
            except CarboyError as error:
                await self._fault_all([row], error.render())
                raise
        await self._again(session)
        return proposal_views.shown(done, None)

    async def reject(self, identity: str, body: RejectBody) -> ProposalView:
        row = await self._row(identity)
        after(row.state, "reject", by=row.decided_by, reason=row.reason)
        done = await self._close_one(row, "reject", body.reason, by=body.by)
        return proposal_views.shown(done, None)

    def routes(self, slug: str) -> RoutesView:
        return self._approving.routes(self._desk.named(slug))

    async def edit_routes(self, slug: str, body: RoutesEdit) -> RoutesView:
        """A running bottle's routes as the operator writes them."""
        session = self._desk.named(slug)
        async with session.policy_lock:
            view = await self._approving.edit(session, body)
        if not body.preview:
            await self._again(session)
            self._arm()
        return view

    # --- deciding ---------------------------------------------------------------------------------------------------

    async def _close_one(
        self, row: ProposalRow, act: Act, reason: str, *, by: str = CARBOY, lock: bool = True
    ) -> ProposalRow:
        """Decide something that changes no routes. By `carboy` itself: one that is decided already is left alone."""
        session = self._desk.session(row.session_id)
        if session is not None and lock:
            async with session.policy_lock:
                return await self._close_one(row, act, reason, by=by, lock=False)
        settle = self._finish if by == CARBOY else self._on_time
        now = await settle(session, await self._store.proposal(row.id) or row)
        if now.state != "pending" and by == CARBOY:
            return now
        decided = Decided(after(now.state, act, by=now.decided_by, reason=now.reason), time.time(), by, reason)
        return await self._decided(session, now, decided)

    async def _decided(self, session: Session | None, row: ProposalRow, decided: Decided) -> ProposalRow:
        """Put a decision on record, in one with its row of the audit trail, and tell everybody."""
        outcome = decided.outcome or {}
        done = await self._audit.with_row(
            lambda said: self._store.decide_proposal(row.id, decided, said),
            f"proposal-{decided.state}",
            slug=row.slug,
            session_id=row.session_id,
            actor=decided.by or "operator",
            proposal=row.id,
            kind=row.kind,
            reason=decided.reason,
            scope=decided.scope,
            diff=outcome.get("diff", []),
            file=outcome.get("file", ""),
        )
        self._pending.pop(row.id, None)
        self._views.pop(row.id, None)
        if session is not None:
            self.tell(session.id)
        await self._publish(done)
        self.on_decided(row.id, row.session_id)
        self._arm()
        return done

    async def _fault_all(self, rows: Iterable[ProposalRow], error: str) -> None:
        """Why these could not be applied, or that nothing speaks against another try."""
        for row in rows:
            await self._store.fault_proposal(row.id, error)
            kept = await self._row(row.id)
            if kept.state == "pending":
                self._pending[kept.id] = kept
                await self._publish(kept)

    async def _finish(self, session: Session | None, row: ProposalRow) -> ProposalRow:
        """An approval that is in force though nobody could say so (its controller was killed between, or the disk was
        full and would not take it back) is given, before anything else is decided about it. Returns the row then."""
        applied: Applied | None = None if session is None else session.record.applied
        if session is None or applied is None or applied.proposal_id != row.id or row.state != "pending":
            return row
        return await self._decided(session, row, await self._approving.finish(session, applied))

    async def _on_time(self, session: Session | None, row: ProposalRow) -> ProposalRow:
        """It as an operator may answer it: one whose time is over has expired, also where nothing has said so yet. Who
        asked was refused then, and would not learn of the answer."""
        row = await self._finish(session, row)
        if row.state != "pending" or row.expires_at is None or row.expires_at > time.time():
            return row
        return await self._decided(session, row, Decided("expired", time.time(), CARBOY, _LATE))

    # --- time -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        times = [row.expires_at for row in self._pending.values() if row.expires_at is not None]
        times += [grant.until for session in self._desk.live() for grant in session.record.grants]
        self._alarm.set(min(times, default=None))

    async def _due(self) -> None:
        """What ends now. A store that fails is tried again: nothing may stay open because of it."""
        now = time.time()
        over = [
            (session, {grant.proposal_id for grant in session.record.grants if grant.until <= now})
            for session in self._desk.live()
        ]
        done = [await self._end_grants(session, gone) for session, gone in over if gone]
        try:
            for row in tuple(self._pending.values()):
                if row.expires_at is not None and row.expires_at <= now:
                    await self._close_one(row, "expire", _LATE)
        except CarboyError as error:
            log.error("a proposal that has expired cannot be closed yet: %s", error)
            done.append(False)
        if all(done):
            self._arm()
        else:
            self._alarm.later(RETRY_SECONDS)  # and no sooner: what is overdue would ring at once, for ever

    async def _end_grants(self, session: Session, which: set[str]) -> bool:
        """False where they are still in force, and it is to be tried again."""
        async with session.policy_lock:
            rest = tuple(grant for grant in session.record.grants if grant.proposal_id not in which)
            gone = sorted({grant.proposal_id for grant in session.record.grants} & which)
            if not gone or not session.live:
                return True
            try:
                await self._approving.narrow(session, rest, gone)
            except CarboyError as error:
                log.error("a temporary grant of %s cannot be taken back yet: %s", session.slug, error)
                self._alarm.later(RETRY_SECONDS)
                return False
        await self._again(session)
        self._arm()
        return True

    # --- below ------------------------------------------------------------------------------------------------------

    async def _tell(self, session_id: str, former: asyncio.Task[None] | None) -> None:
        if former is not None:
            await asyncio.wait([former])
        session = self._desk.session(session_id)
        if session is None or not session.live:
            return
        for asker in await self._store.untold(session_id):
            body = DecisionBody(
                proposal_id=asker.id,
                state=asker.state,  # type: ignore[arg-type]
                reason=asker.reason,
                scope=asker.scope,
                decided_at=asker.decided_at,
            )
            known = await self._tell_one(session, body)
            if known is None:
                return
            await self._store.told(asker.id, known=known)

    async def _tell_one(self, session: Session, body: DecisionBody) -> bool | None:
        """Whether its sidecar knew of the question; None where it is down."""
        if session.supervisor is None:
            return None
        try:
            answer = await session.supervisor.call("decision", body.model_dump(mode="json"))
        except CarboyError as error:
            log.info("%s could not be told of a decision yet: %s", session.slug, error)
            return None
        return answer.get("known") is not False

    async def _shown(self, row: ProposalRow) -> ProposalView:
        """Made in a thread, and again only where something of it has changed: a bottle can ask for what takes long to
        compare, twenty times over, and no other bottle may wait for it."""
        present = self._present(row)
        made_of = (present, row.state, row.asked, row.expires_at, row.error)
        known = self._views.get(row.id)
        if known is not None and known[0][0] is present and known[0][1:] == made_of[1:]:
            return known[1]
        view = await asyncio.to_thread(proposal_views.shown, row, present)
        if row.id in self._pending:
            self._views[row.id] = (made_of, view)
        return view

    async def _publish(self, row: ProposalRow) -> dict[str, Any]:
        data = (await self._shown(row)).model_dump(mode="json")
        self._bus.pass_on(StreamEvent(seq=0, at=time.time(), kind="proposal", slug=row.slug, data=data))
        return data

    async def _again(self, session: Session) -> None:
        """Its routes have changed: what waits is another change now, or none."""
        async with session.policy_lock:
            for row in [row for row in self._pending.values() if row.session_id == session.id and row.kind in ACCESS]:
                if not await self._allowed_already(session, row):
                    await self._publish(row)

    async def _allowed_already(self, session: Session, row: ProposalRow) -> bool:
        """Whether it asks for nothing that is not allowed; then it is answered, and no card is needed."""
        if row.kind not in ACCESS:
            return False
        asks = await asyncio.to_thread(proposal_views.wish_of, row, policies.present(session))
        if asks.notes or not covered(session, asks.asked):
            return False
        await self._close_one(row, "approve", "all of it is allowed already", lock=False)
        return True

    def _live(self, row: ProposalRow) -> Session | None:
        session = self._desk.session(row.session_id)
        return session if session is not None and session.live else None

    def _waiting(self, row: ProposalRow) -> Session:
        """The bottle that a pending proposal is of. Raises CarboyError for one that is decided."""
        after(row.state, "approve", by=row.decided_by, reason=row.reason)
        session = self._live(row)
        if session is None:
            raise CarboyError(f"{row.slug} has ended", "Nothing waits for this answer any more", "wrong_state")
        return session

    def _present(self, row: ProposalRow) -> policies.Routes | None:
        session = self._live(row)
        return None if session is None else policies.present(session)

    async def _row(self, identity: str) -> ProposalRow:
        row = await self._store.proposal(identity)
        if row is None:
            raise NotFound("There is no such proposal", "`carboy proposals` lists them", "no_such_proposal")
        return row


CONFIRM_SECONDS = 5.0
"""How long a new controller waits until sidecars that it found again have taken their policies."""
RETRY_SECONDS = 5.0
"""Until a grant that should have ended is tried again (its sidecar is down: nothing leaves meanwhile)."""
_LATE = "nobody answered in time"
_ALONE = "nobody supervises this bottle"
_TOO_MANY = "too many open proposals: wait until the operator has decided some of them"
_TOO_OFTEN = "too many questions: ask again later"
BURST, EVERY_SECONDS = 200, 15.0
"""New questions of one bottle at once, and then one each so many seconds: twice what its sidecar lets it ask, since
that one counts anew when it is restarted."""
MAX_PENDING = 64
"""Open questions of one bottle. Its sidecar allows 20 (`sidecar.supervise.desk`), and counts anew when it restarts."""


async def _confirmed(session: Session) -> None:
    async with session.policy_lock:
        await policies.confirm(session)


def _new_row(session: Session, event: ProposalEvent) -> ProposalRow:
    base = policies.made_from(session, event.base_hash)
    payload = {
        "routes": None if event.routes is None else [plain(route) for route in event.routes],
        "base": None if base is None or event.routes is None else [plain(route) for route in base],
        "report": None if event.report is None else event.report.model_dump(mode="json"),
    }
    return ProposalRow(
        id=event.proposal_id,
        slug=session.slug,
        session_id=session.id,
        kind=event.type,
        state="pending",
        created_at=min(event.at, time.time()),
        payload=payload,
        justification=event.justification,
        content_key=event.content_key,
        base_hash=event.base_hash,
        expires_at=event.expires_at,
    )


def _facts(data: dict[str, object]) -> RequestFacts:
    port = data.get("port")
    return RequestFacts(
        str(data.get("host", "")),
        port if isinstance(port, int) and 1 <= port <= 65535 else 443,
        str(data.get("method", "")),
        str(data.get("path", "")),
    )
