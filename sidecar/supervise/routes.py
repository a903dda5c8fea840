"""From what an agent asks for to the routes that it proposes, and what it may never propose. Pure.

An agent may add routes and widen what a route matches. Who is spoken to with which credential, what is inspected and
where a name may lead stays as it is: those fields are the operator's alone. The controller checks all this again.
"""

import hashlib

from sidecar.contract import DEFAULT_MAX_BODY, INTERNAL_HOST, PathMatch, Route, RouteGit, RouteMatch
from sidecar.egress.paths import below

OPERATORS = ("auth", "dlp", "allow_private", "ports", "shared", "max_body")
"""Fields of a route that an agent's proposal may not set."""


class Refused(Exception):
    """The proposal is not one that an agent may make. The text is for the agent."""


def with_access(
    present: tuple[Route, ...], host: str, match: RouteMatch, *, git_fetch: bool = False
) -> tuple[Route, ...]:
    """`present`, with this much more allowed at `host`: the narrowest change that does it.

    Raises Refused where only whole routes can say what is meant, ValueError for a host that is none.
    """
    new = Route(host=host, matches=() if match == RouteMatch() else (match,), git=RouteGit(fetch=git_fetch))
    same = [route for route in present if route.host == new.host] or _covering(present, new.host)
    if any(_holds(route, match, git_fetch) for route in same):
        return present
    if not same:
        return (*present, new)
    old = same[0]
    if old.host != new.host:
        # a route for an exact name takes the wildcard's place: what that one allows would be lost
        raise Refused(
            f"{new.host} is covered by {old.host}, whose rules would no longer count for it: propose whole `routes`"
        )
    if old.matches and not new.matches:
        raise Refused(f"{new.host} has rules already: say which `methods` and `paths` more are needed")
    matches = old.matches if not old.matches or match in old.matches else (*old.matches, match)
    widened = old.model_copy(update={"matches": matches, "git": RouteGit(fetch=git_fetch or old.git.fetch)})
    return tuple(widened if route is old else route for route in present)


def _holds(route: Route, match: RouteMatch, git_fetch: bool) -> bool:
    """`route` allows this, as far as that can be read off it."""
    held = not route.matches or any(_within(match, one) for one in route.matches)
    return held and (route.git.fetch or not git_fetch)


def _within(match: RouteMatch, wider: RouteMatch) -> bool:
    """Whatever `match` lets through, `wider` does. Where that cannot be read off them: no."""
    methods = not wider.methods or (bool(match.methods) and set(match.methods) <= set(wider.methods))
    paths = not wider.paths or (bool(match.paths) and all(_path_within(path, wider) for path in match.paths))
    return methods and paths and all(header in match.headers for header in wider.headers)


def _path_within(path: PathMatch, wider: RouteMatch) -> bool:
    plain = path.type != "regex"
    return any(path == one or (plain and one.type == "prefix" and below(one.value, path.value)) for one in wider.paths)


def _covering(present: tuple[Route, ...], host: str) -> list[Route]:
    """The wildcards that count for `host`: the longest of them."""
    found = [route for route in present if route.wildcard and host.endswith(route.host[1:])]
    longest = max((len(route.host) for route in found), default=0)
    return [route for route in found if len(route.host) == longest]


def check(present: tuple[Route, ...], proposed: tuple[Route, ...]) -> None:
    """Raise Refused for a proposal that takes something away, or sets what only the operator may set."""
    for route in proposed:
        if route in present:
            continue
        if f".{route.host}".endswith(f".{INTERNAL_HOST}"):
            raise Refused(f"{route.host} is the sidecar's own name: reached by plain http, without a route")
        fields = _set_fields(route)
        known = [_set_fields(other) for other in present if other.host == route.host]
        if not fields or fields in known:
            continue
        names = ", ".join(sorted(fields))
        raise Refused(f"the route of {route.host} sets {names}: only the operator may, so leave it as it is or out")
    for route in present:
        if route not in proposed and not any(_widens(route, other) for other in proposed):
            raise Refused(
                f"the route of {route.host} is missing or narrower than it is: a proposal only adds to routes"
            )


def _set_fields(route: Route) -> dict[str, str]:
    """The operator's fields that are not at their defaults, as text to compare."""
    plain = Route(host=route.host, max_body=DEFAULT_MAX_BODY)
    return {name: repr(getattr(route, name)) for name in OPERATORS if getattr(route, name) != getattr(plain, name)}


def _widens(old: Route, new: Route) -> bool:
    """`new` is `old` with more matches, or with none (anything), or with git turned on."""
    if old.host != new.host or _set_fields(old) != _set_fields(new) or (old.git.fetch and not new.git.fetch):
        return False
    return not new.matches or (bool(old.matches) and set(_texts(old)) <= set(_texts(new)))


def _texts(route: Route) -> list[str]:
    return [match.model_dump_json() for match in route.matches]


def added(present: tuple[Route, ...], proposed: tuple[Route, ...]) -> tuple[Route, ...]:
    """The routes of `proposed` that are new or different."""
    return tuple(route for route in proposed if route not in present)


def texts(routes: tuple[Route, ...]) -> list[str]:
    """All that `routes` say in words of whoever proposes them."""
    found = [route.host for route in routes]
    for match in (match for route in routes for match in route.matches):
        found += [*match.methods, *(path.value for path in match.paths)]
        found += [text for header in match.headers for text in (header.name, header.value)]
    return found


def content_key(present: tuple[Route, ...], proposed: tuple[Route, ...]) -> str:
    """The same for the same wish, whichever tool asks and whatever else has changed since."""
    texts = sorted({route.model_dump_json() for route in added(present, proposed)})
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
