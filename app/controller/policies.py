"""Changes the routes of a running bottle, and nothing else of its policy. A change is checked, put into force by the
sidecar, which acknowledges it, and written to the session's record; if one of these fails, the routes before stay.

The record is what counts: a sidecar that starts anew gets the record's policy, whatever the former one was told.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.controller.record import Applied, Noted
from app.controller.session import Session
from app.core.proposal import TEMPORARY
from app.core.routes import Grant, Routes, changed_hosts, effective
from app.errors import CarboyError
from app.manifests.suffixes import shared_domain
from sidecar.contract import Narrowing, Policy, Route, routes_hash
from sidecar.egress.policy import CompiledPolicy, RequestFacts

log = logging.getLogger(__name__)

GRACE_SECONDS = 15.0
"""From the end of what was allowed for a while to its end by the sidecar itself: where a controller is there, it was
ended in time, and each for itself."""
FORMER = 16
"""Earlier lists of routes that are remembered, so that a proposal made from one of them can be merged."""


@dataclass(frozen=True)
class Change:
    """The routes as they shall be: `lasting` until the bottle ends, `grants` for a while; and what the record says of
    the last change, so that the next controller can put it on record."""

    lasting: Routes
    grants: tuple[Grant, ...] = ()
    applied: Applied | None = field(default=None)
    noted: Noted | None = field(default=None)

    @property
    def routes(self) -> Routes:
        return effective(self.lasting, self.grants)

    @property
    def narrows(self) -> Narrowing | None:
        """What its sidecar holds it to where no controller is: all that is for a while ends with the first of it."""
        if not self.grants:
            return None
        return Narrowing(at=min(grant.until for grant in self.grants) + GRACE_SECONDS, routes=self.lasting)


def present(session: Session) -> Routes:
    return session.record.policy.routes


def lasting(session: Session) -> Routes:
    record = session.record
    return record.policy.routes if record.lasting is None else record.lasting


def now(session: Session) -> Change:
    """What is in force: where a change that fails goes back to."""
    record = session.record
    return Change(lasting(session), record.grants, record.applied, record.noted)


def made_from(session: Session, base_hash: str) -> Routes | None:
    """The routes that have this hash: the present ones or former ones; None where nobody knows them any more."""
    for routes in (present(session), *session.record.former):
        if routes_hash(routes) == base_hash:
            return routes
    return None


def check(session: Session, routes: Routes) -> Policy:
    """The policy with these routes. Raises CarboyError for what no bottle may have."""
    before = present(session)
    for host in changed_hosts(before, routes):
        for route in (item for item in routes if item.host == host):
            _check_route(session, route)
    old = session.record.policy
    policy = old.model_copy(update={"routes": routes, "version": old.version + 1})
    try:
        CompiledPolicy.compile(policy)
    except ValueError as error:
        raise CarboyError(f"These routes cannot be used: {error}", "Correct them, or reject", "bad_routes") from None
    return policy


def _check_route(session: Session, route: Route) -> None:
    why = shared_domain(route.host[2:]) if route.wildcard and not route.shared else None
    if why is not None:
        hint = "Name the hosts one by one, or edit the route and write `shared: true`"
        raise CarboyError(f"{route.host} covers names of many owners: {why}", hint, "bad_routes")
    if route.auth is not None and route.auth.token_ref not in session.record.secrets:
        hint = "A running bottle cannot get another credential: put it into the bottle file and start anew"
        raise CarboyError(f"This bottle has no secret {route.auth.token_ref}", hint, "bad_routes")


async def put(session: Session, change: Change) -> None:
    """Put a change into force. The caller holds `session.policy_lock`. Raises CarboyError with nothing changed."""
    if not session.live or session.supervisor is None:
        raise CarboyError(f"{session.slug} has ended", "", "wrong_state")
    before = session.record
    policy = before.policy
    if (change.routes, change.narrows) != (policy.routes, policy.narrows):
        policy = check(session, change.routes).model_copy(update={"narrows": change.narrows})
    if policy is not before.policy:
        await _tell(session, policy)
    former = before.former if policy.routes == before.policy.routes else (before.policy.routes, *before.former)[:FORMER]
    changes = {"policy": policy, "lasting": change.lasting, "grants": change.grants, "former": former}
    changes |= {"applied": change.applied, "noted": change.noted}
    try:
        session.update(**changes)
    except OSError as error:
        # only these fields: something else of the record may have changed meanwhile
        session.record = session.record.model_copy(update={name: getattr(before, name) for name in changes})
        await _take_back(session)
        raise CarboyError(f"The change cannot be written down: {error}", "Make room on the disk", "disk_full") from None


async def _tell(session: Session, policy: Policy) -> None:
    assert session.supervisor is not None
    try:
        answer = await session.supervisor.call("policy", _body(policy))
    except CarboyError:
        # it may have taken it all the same: what was never acknowledged must not be in force
        await _take_back(session)
        raise
    if answer.get("version") != policy.version:
        await _take_back(session)
        raise CarboyError("The sidecar did not acknowledge the new routes", "Restart the sidecar", "sidecar")


def _body(policy: Policy) -> dict[str, Any]:
    """As a sidecar takes it, one of an earlier version as well as far as it goes."""
    unsaid = {"narrows"} if policy.narrows is None else set[str]()
    return {"policy": policy.model_dump(mode="json", exclude=unsaid)}


async def _take_back(session: Session) -> None:
    """Make the sidecar's policy the recorded one again, by a new sidecar if need be."""
    assert session.supervisor is not None
    try:
        await session.supervisor.call("policy", _body(session.record.policy))
    except CarboyError as error:
        if error.code == "sidecar_down":
            return
        log.warning("the sidecar of %s is restarted: it does not take its policy back", session.slug)
        try:
            await session.supervisor.restart()
        except CarboyError:
            log.exception("the sidecar of %s could not be restarted", session.slug)


async def confirm(session: Session) -> None:
    """Tell a sidecar that was found again the recorded policy: the last controller may have been killed between the
    sidecar's acknowledgement and the record."""
    if session.live and session.supervisor is not None:
        await _take_back(session)


def grant(proposal_id: str, asked: Routes, scope: str, now: float) -> Grant:
    return Grant(proposal_id=proposal_id, asked=asked, until=now + TEMPORARY[scope], single=scope == "once", since=now)


def used(session: Session, requests: Iterable[tuple[float, RequestFacts]]) -> set[str]:
    """Ids of single-use grants without which one of these requests had not been allowed."""
    single = [item for item in session.record.grants if item.single]
    if not single:
        return set()
    others = [item for item in session.record.grants if not item.single]
    held = CompiledPolicy.compile(Policy(routes=_bare(effective(lasting(session), others))))
    found: set[str] = set()
    for at, facts in requests:
        if held.decide(facts).allowed:
            continue
        for item in single:
            policy = CompiledPolicy.compile(Policy(routes=_bare(item.asked, facts.port)))
            if at >= item.since and policy.decide(facts).allowed:
                found.add(item.proposal_id)
    return found


def _bare(routes: Routes, port: int = 0) -> Routes:
    """Routes without what an event does not show: headers, and for a grant the port of the route that it widens."""
    return tuple(
        route.model_copy(
            update={
                "matches": tuple(match.model_copy(update={"headers": ()}) for match in route.matches),
                "ports": (port,) if port else route.ports,
            }
        )
        for route in routes
    )
