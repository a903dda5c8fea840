"""Carries an approval out: what exactly is to change, the bottle file besides if it is to be saved, and then all of it
or nothing. Also the operator's own edits of a running bottle's routes, which go the same way."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from app.controller import policies, proposal_views
from app.controller.audit import Audit
from app.controller.policies import Change
from app.controller.record import Applied, Noted
from app.controller.session import Session
from app.core.approvals import ApproveBody, RoutesEdit, RoutesView
from app.core.proposal import ACCESS, TEMPORARY
from app.core.risks import risks
from app.core.routes import Grant, Routes, additions, alike, changed_hosts, lasting_after_edit, widen
from app.core.routetext import diff, read_routes
from app.errors import CarboyError
from app.manifests.saving import Saving, prepare, prepare_added
from app.manifests.suffixes import shared_domain
from app.paths import Paths
from app.store.base import Decided, ProposalRow, Store
from sidecar.contract import routes_hash

log = logging.getLogger(__name__)


class Desk(Protocol):
    """Where the live sessions are (`app.controller.sessions.Sessions`)."""

    def live(self) -> list[Session]: ...
    def session(self, session_id: str) -> Session | None: ...
    def named(self, slug: str) -> Session: ...


@dataclass(frozen=True)
class Approval:
    """What one yes comes to. Without a `change` (reports) no route is touched."""

    after: Routes = ()
    change: Change | None = None
    saving: Saving | None = None
    added: Routes | None = None
    outcome: dict[str, Any] = field(default_factory=dict[str, Any])


class Approving:
    """Prepares without side effects, then applies. The caller holds the session's `policy_lock`."""

    def __init__(self, paths: Paths, audit: Audit) -> None:
        self._paths = paths
        self._audit = audit

    async def prepare(self, session: Session, row: ProposalRow, body: ApproveBody) -> Approval:
        """What this answer changes. Raises CarboyError for what cannot be, or is not what the operator saw."""
        if row.kind not in ACCESS:
            return Approval()
        before = policies.present(session)
        asks = await asyncio.to_thread(proposal_views.wish_of, row, before)
        asked = asks.asked if body.routes is None else read_routes(body.routes, "the edited routes")
        after = widen(before, asked) if body.routes is None else asked
        _as_seen(body.seen, before, after, preview=body.preview)
        if after == before and (body.scope in TEMPORARY or body.routes is not None or covered(session, asked)):
            hint = "Reject it, or edit it first"
            raise CarboyError("There is nothing left of this proposal to apply", hint, "nothing_to_apply")
        policies.check(session, after)
        change = _change(session, row.id, after, asked, body)
        hosts = changed_hosts(before, after)
        added = asked if body.routes is None else additions(before, after)
        saving = None
        if body.scope == "save":
            saving = await _prepare_saving(self._paths, session, hosts, change.lasting, added)
        outcome = {
            "hosts": list(hosts),
            "diff": list(await asyncio.to_thread(diff, before, after)),
            "notes": list(asks.notes) if body.routes is None else [],
            "file": "" if saving is None else str(saving.file),
        }
        return Approval(after, change, saving, added, outcome)

    async def apply[T](
        self,
        session: Session,
        row: ProposalRow,
        approval: Approval,
        decided: Decided,
        decide: Callable[[], Awaitable[T]],
    ) -> T:
        """Put it into force, save it and decide. Raises CarboyError with everything as before."""
        if approval.change is None:
            return await decide()
        applied = Applied(
            proposal_id=row.id,
            state=decided.state,
            at=decided.at,
            by=decided.by,
            reason=decided.reason,
            scope=decided.scope,
            outcome=approval.outcome,
            added=approval.added,
        )
        change = replace(approval.change, applied=applied, noted=session.record.noted)
        return await all_or_nothing(session, change, approval.saving, decide)

    async def finish(self, session: Session, applied: Applied) -> Decided:
        """The decision that a killed controller had put into force. What it may not have saved is saved now."""
        scope = applied.scope
        if scope == "save":
            hosts = tuple(map(str, applied.outcome.get("hosts", ())))
            try:
                lasting = policies.lasting(session)
                saving = await _prepare_saving(self._paths, session, hosts, lasting, applied.added)
                if saving is not None:
                    await asyncio.to_thread(saving.write)
            except (CarboyError, OSError) as error:
                log.warning("the bottle file of %s could not be written: %s", session.slug, error)
                scope = "session"
        return Decided(applied.state, applied.at, applied.by, applied.reason, scope, applied.outcome, applied.at)

    async def narrow(self, session: Session, grants: tuple[Grant, ...], gone: list[str]) -> None:
        """Leave only these grants, without those of the proposals `gone`."""
        now = policies.now(session)
        lines = list(diff(now.routes, replace(now, grants=grants).routes))
        noted = _noted("grant-ended", "carboy", {"proposals": gone, "diff": lines})
        await policies.put(session, replace(now, grants=grants, noted=noted))
        # it is over already: a full disk may not give it back
        await self._note(session, noted, may_wait=True)

    async def _note(self, session: Session, noted: Noted, *, may_wait: bool = False) -> None:
        await self._audit.record(
            noted.action,
            slug=session.slug,
            session_id=session.id,
            actor=noted.actor,
            may_wait=may_wait,
            change=noted.id,
            **noted.detail,
        )

    async def note_late(self, session: Session, store: Store) -> None:
        """The row of a change whose controller was killed before it wrote that."""
        noted = session.record.noted
        if noted is None:
            return
        rows = await store.orders(session.id, noted.at - CLOCK_SECONDS)
        if not any(row.action == noted.action and row.detail.get("change") == noted.id for row in rows):
            await self._note(session, noted, may_wait=True)

    # --- the operator's own edits -----------------------------------------------------------------------------------

    def routes(self, session: Session) -> RoutesView:
        policy = session.record.policy
        return proposal_views.live(session.slug, policy.version, policy.routes, session.record.grants)

    async def edit(self, session: Session, body: RoutesEdit) -> RoutesView:
        """The operator's own routes for a running bottle, by the same path as a proposal's."""
        before = policies.present(session)
        if body.seen and body.seen != routes_hash(before):
            raise CarboyError(_CHANGED, "Look at the routes again", "stale_view")
        after = read_routes(body.text, "the edited routes")
        lasting, grants = lasting_after_edit(after, policies.lasting(session), session.record.grants)
        policies.check(session, after)
        saving = None
        if body.scope == "save":
            added = additions(before, after)
            saving = await _prepare_saving(self._paths, session, changed_hosts(before, after), lasting, added)
        lines = diff(before, after)
        if not body.preview and (after != before or saving is not None):
            file = "" if saving is None else str(saving.file)
            detail = {"reason": body.reason, "scope": body.scope, "diff": list(lines), "file": file}
            noted = _noted("operator-edit", body.by or "operator", detail)
            change = Change(lasting, grants, session.record.applied, noted)
            await all_or_nothing(session, change, saving, lambda: self._note(session, noted))
        manifest = None if saving is None else proposal_views.manifest(saving)
        found = risks(before, after, shared_domain)
        return self.routes(session).model_copy(update={"diff": lines, "risks": found, "manifest": manifest})


CLOCK_SECONDS = 3600.0
"""How far a clock may have been put back between a change and its row."""


def _noted(action: str, actor: str, detail: dict[str, Any]) -> Noted:
    return Noted(id=secrets.token_hex(8), action=action, actor=actor, at=time.time(), detail=detail)


async def all_or_nothing[T](
    session: Session, change: Change, saving: Saving | None, decide: Callable[[], Awaitable[T]]
) -> T:
    """A change in force, in the bottle file and, by `decide`, on record; or none of it, and CarboyError."""
    before = policies.now(session)
    await policies.put(session, change)
    try:
        if saving is not None:
            await _write(saving)
        return await decide()
    except CarboyError:
        if saving is not None:
            try:
                await asyncio.to_thread(saving.undo)
            except (CarboyError, OSError) as error:
                log.error("%s keeps a change that was not made: %s", saving.file, error)
        await policies.put(session, before)
        raise


async def _write(saving: Saving) -> None:
    try:
        await asyncio.to_thread(saving.write)
    except OSError as error:
        raise CarboyError(f"{saving.file} cannot be written: {error.strerror}", "Check the file", "save") from None


def covered(session: Session, asked: Routes) -> bool:
    """Whether all of it is allowed until the bottle ends: what is allowed for a while may still be asked for."""
    held = policies.lasting(session)
    return widen(held, asked) == held


def _as_seen(seen: str, before: Routes, after: Routes, *, preview: bool) -> None:
    """What is applied must be what was shown."""
    if seen and not preview and seen != proposal_views.seen(before, after):
        raise CarboyError(_CHANGED, "Look at what it would change now, then decide", "stale_view")


_CHANGED = "The routes of this bottle have changed since you looked"


def _change(session: Session, identity: str, after: Routes, asked: Routes, body: ApproveBody) -> Change:
    """The lasting routes and grants that give `after`."""
    lasting, grants = policies.lasting(session), session.record.grants
    added = asked if body.routes is None else additions(policies.present(session), after)
    if body.scope in TEMPORARY:
        if added is None:
            hint = "Choose session or save, or edit it so that it only adds"
            raise CarboyError("Only what adds access can be allowed for a while", hint, "not_temporary")
        return Change(lasting, (*grants, policies.grant(identity, added, body.scope, time.time())))
    if added is not None:  # so that what is allowed for a while still ends
        wider = Change(widen(lasting, added), grants)
        if alike(wider.routes, after):
            return wider
    return Change(*lasting_after_edit(after, lasting, grants))


async def _prepare_saving(
    paths: Paths, session: Session, hosts: tuple[str, ...], lasting: Routes, added: Routes | None
) -> Saving | None:
    """What only adds is added to the file as it is; else the file says of `hosts` what is in force for good."""
    theirs = sorted(set(hosts) & set(session.record.policy.provider_hosts))
    if theirs:
        hint = "Allow it for the session, or change the agent's provider settings"
        raise CarboyError(f"The route for {theirs[0]} is the agent's own, not the bottle file's", hint, "save_provider")
    names = session.record.manifest.bottle_names
    if not names:
        raise CarboyError("This bottle was started from no bottle file", "Allow it for the session", "save_provider")
    if added is not None:
        return await asyncio.to_thread(prepare_added, paths, names, added)
    return await asyncio.to_thread(prepare, paths, names, hosts, lasting)
