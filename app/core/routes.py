"""Arithmetic on routes: what a proposal asks for beyond what it was made from, what that makes of the present routes,
and what a temporary grant leaves behind when it ends. Pure.

A proposal only ever widens: routes it leaves out stay, and of a route that exists only paths, methods, headers and git
grow. What the operator changed after a proposal was made is never changed back by it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from app.core.model import Snapshot
from app.core.proposal import overreach
from sidecar.contract import Route, RouteGit, RouteMatch, routes_hash

Routes = tuple[Route, ...]


class Grant(Snapshot):
    """Something allowed for a while. `asked` is laid over the lasting routes until `until`; one that is for a single
    use ends with the first request that needs it."""

    proposal_id: str
    asked: tuple[Route, ...]
    until: float
    single: bool = False
    since: float = Field(default=0.0)


@dataclass(frozen=True)
class Wish:
    """What a proposal comes to: `asked` is what it adds, `notes` say what of it was left out and why."""

    asked: Routes = ()
    notes: tuple[str, ...] = ()
    stale: bool = False


def of_host(routes: Iterable[Route], host: str) -> Route | None:
    """The first route written for exactly this host."""
    return next((route for route in routes if route.host == host), None)


def covering(routes: Iterable[Route], host: str) -> Route | None:
    """The nearest wildcard route above a host."""
    above = [route for route in routes if route.wildcard and route.host != host and host.endswith(route.host[1:])]
    return max(above, key=lambda route: len(route.host), default=None)


def wish(wanted: Routes, base: Routes | None, present: Routes) -> Wish:
    """What `wanted` asks for beyond `base`, the routes it was made from (None where they are not known any more), as
    far as the present routes leave room for it."""
    stale = base is None or routes_hash(base) != routes_hash(present)
    asked: list[Route] = []
    notes: list[str] = []
    for route in _joined(wanted):
        now = of_host(present, route.host)
        before = now if base is None else of_host(base, route.host)
        beyond = overreach(route, before)
        if beyond:
            notes.append(f"{route.host}: an agent cannot set {', '.join(beyond)}; left out")
        addition = _beyond(route, before)
        if addition is None:
            continue
        late = _too_late(addition, before, now, known=base is not None)
        if late:
            notes.append(f"{route.host}: {late}; left out")
        else:
            asked.append(addition)
    return Wish(tuple(asked), tuple(notes), stale)


def _joined(wanted: Routes) -> list[Route]:
    """One route for each host: several for one host ask for all of what they say."""
    found: dict[str, Route] = {}
    for route in wanted:
        known = found.get(route.host)
        found[route.host] = route if known is None else _merged(known, route)
    return list(found.values())


def _beyond(route: Route, before: Route | None) -> Route | None:
    """The part of `route` that `before` does not have; None where there is none."""
    if before is None:
        return Route(host=route.host, matches=route.matches, git=route.git)
    git = route.git.fetch and not before.git.fetch
    if not before.matches or (matches := _new(route.matches, before.matches)) == before.matches:
        matches = None
    if matches is None and not git:
        return None
    return Route(
        host=route.host, matches=before.matches if matches is None else matches, git=RouteGit(fetch=route.git.fetch)
    )


def _new(wanted: tuple[RouteMatch, ...], held: tuple[RouteMatch, ...]) -> tuple[RouteMatch, ...]:
    """What of `wanted` is not in `held`; `held` itself where that is nothing, and nothing (anything goes) where
    `wanted` is without rules."""
    if not wanted:
        return ()
    return tuple(match for match in wanted if match not in held) or held


def _too_late(addition: Route, before: Route | None, now: Route | None, *, known: bool) -> str:
    """Why an addition may not be made to routes that have changed since it was asked for."""
    if before is not None and now is None:
        return "this route was taken away since"
    if not known and now is not None:
        return "this route exists, and what the proposal was made from is not known any more"
    if before is not None and now is not None and before != now and addition.matches == before.matches:
        return "this route was changed since"
    return ""


def widen(present: Routes, asked: Iterable[Route]) -> Routes:
    """`present` with `asked` added. A host that a wildcard covers gets a route of its own with that one's settings:
    the more specific route counts alone, so without them it would take something away."""
    routes = list(present)
    for route in asked:
        at = next((index for index, held in enumerate(routes) if held.host == route.host), None)
        if at is not None:
            routes[at] = _merged(routes[at], route)
            continue
        above = covering(routes, route.host)
        if above is None:
            routes.append(route)
        elif _merged(above, route) != above:
            routes.append(_merged(above, route).model_copy(update={"host": route.host}))
    return tuple(routes)


def _merged(held: Route, more: Route) -> Route:
    extra = tuple(match for match in more.matches if match not in held.matches)
    matches = (*held.matches, *extra) if held.matches and more.matches else ()
    return held.model_copy(update={"matches": matches, "git": RouteGit(fetch=held.git.fetch or more.git.fetch)})


def effective(lasting: Routes, grants: Iterable[Grant]) -> Routes:
    """The routes in force: the lasting ones and what is granted for a while."""
    for grant in grants:
        lasting = widen(lasting, grant.asked)
    return lasting


def lasting_after_edit(edited: Routes, lasting: Routes, grants: tuple[Grant, ...]) -> tuple[Routes, tuple[Grant, ...]]:
    """The lasting routes and grants that make `edited` the routes in force. A host that the operator left as it was
    keeps its grants; one that was edited is from then on as it was written, and its grants end."""
    shown = effective(lasting, grants)
    same = {route.host for route in edited if _all(edited, route.host) == _all(shown, route.host)}
    while True:
        kept, rest = _split(edited, lasting, grants, same)
        # a new wildcard can reach into a granted host below it: then that one, too, is as it was written
        wrong = same & set(changed_hosts(effective(kept, rest), edited))
        if not wrong:
            return kept, rest
        same -= wrong


def _split(
    edited: Routes, lasting: Routes, grants: tuple[Grant, ...], same: set[str]
) -> tuple[Routes, tuple[Grant, ...]]:
    kept: list[Route] = []
    for route in edited:
        if route.host not in same:
            kept.append(route)
        elif not any(held.host == route.host for held in kept):
            kept += _all(lasting, route.host)
    rest = (
        grant.model_copy(update={"asked": tuple(route for route in grant.asked if route.host in same)})
        for grant in grants
    )
    return tuple(kept), tuple(grant for grant in rest if grant.asked)


def additions(present: Routes, edited: Routes) -> Routes | None:
    """What `edited` adds to `present`; None where it does anything but add (then it cannot be for a while)."""
    asked: list[Route] = []
    for route in edited:
        before = of_host(present, route.host)
        addition = route if before is None else _beyond(route, before)
        if addition is not None:
            asked.append(addition)
    return tuple(asked) if set(widen(present, asked)) == set(edited) else None


def alike(one: Routes, other: Routes) -> bool:
    """Whether two lists allow the same, in whatever order they say it."""
    return sorted(map(_canonical, one)) == sorted(map(_canonical, other))


def _canonical(route: Route) -> str:
    matches = tuple(sorted(route.matches, key=RouteMatch.model_dump_json))
    return route.model_copy(update={"matches": matches}).model_dump_json()


def changed_hosts(before: Routes, after: Routes) -> tuple[str, ...]:
    """Hosts whose routes differ, in the order of `after`, then those that are gone."""
    hosts = dict.fromkeys(route.host for route in (*after, *before))
    return tuple(host for host in hosts if _all(before, host) != _all(after, host))


def _all(routes: Iterable[Route], host: str) -> list[Route]:
    return [route for route in routes if route.host == host]
