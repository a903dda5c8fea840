"""From what a session was refused to the narrowest routes that would allow it. Pure. It never writes a credential, a
port, a private address or a wildcard, learns only from refusals that a route can mend, and lets nothing
through by itself."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from app.core.journal import times_of
from app.core.lookalikes import in_letters, resembles
from app.core.model import Snapshot
from app.core.risks import leads_inside
from app.core.routes import Routes
from app.core.routetext import plain, write
from app.core.schema import NAME_PATTERN
from app.core.text import printable
from sidecar.contract import PathMatch, Route, RouteGit, RouteMatch, host_pattern
from sidecar.egress import paths

LEARNT = frozenset({"host_not_allowed", "method_not_allowed", "path_not_allowed", "git_fetch_not_allowed"})
"""What a route's host, methods, paths and git can mend; everything else stays the operator's to look at."""
MOST_HOSTS = 200
MOST_PATHS = 12
"""Paths of a host and method told apart; beyond, they are joined at the segments that they share."""
MOST_DEPTH = 16
"""Segments up to which many paths may share a prefix: a bottle chooses what it is refused, and each costs a look."""
MOST_METHODS = 16
"""Of one host; what else a bottle makes up for a method is counted, and not proposed."""
WHOLE = 4
"""As many paths at most are taken as they are; more are a pattern, and become prefixes."""
_NAMES = re.compile(r"[0-9]+|[0-9a-f]{8,}|[0-9A-Za-z_=-]{22,}|.*\*.*|.*…", re.ASCII)
"""Segments that name one thing: numbers, digests, long tokens, and what the journal has hidden or cut."""


class LearnedPath(Snapshot):
    method: str
    path: str
    prefix: bool
    times: int


class LearnedHost(Snapshot):
    """One host that was refused. `known` is set where a bottle file has a route for it already."""

    host: str
    times: int
    first: float
    last: float
    asked: tuple[LearnedPath, ...] = ()
    letters: str = ""
    """A punycode name in its own letters."""
    resembles: str = ""
    """The well-known or allowed host that it may be taken for."""
    known: bool = False
    route: dict[str, Any] = Field(default_factory=dict)


class LearnReport(Snapshot):
    """`other` counts refusals that no route mends, by their code. `text` is a bottle file with the new hosts."""

    slug: str
    hosts: tuple[LearnedHost, ...] = ()
    other: dict[str, int] = Field(default_factory=dict)
    left_out: int = 0
    """Further hosts, beyond what one person can look at."""
    dropped: int = 0
    """Older lines of refusals that made room for newer ones: what they were is not known any more."""
    name: str = ""
    text: str = ""


class LearnSave(Snapshot):
    """Write a bottle file with these hosts of the report."""

    hosts: tuple[str, ...] = Field(min_length=1, max_length=MOST_HOSTS)
    name: str = Field(pattern=NAME_PATTERN, max_length=63)


@dataclass
class _Seen:
    times: int = 0
    first: float = 0.0
    last: float = 0.0
    methods: set[str] = field(default_factory=set[str])
    paths: Counter[tuple[str, str, bool]] = field(default_factory=Counter[tuple[str, str, bool]])
    fetches: set[str] = field(default_factory=set[str])


def learn(
    slug: str, events: Iterable[tuple[float, Mapping[str, Any]]], present: Routes = (), bottles: Sequence[str] = ()
) -> LearnReport:
    """What these egress events say. `present` are the routes in force, `bottles` the files they came from."""
    seen: dict[str, _Seen] = {}
    other: Counter[str] = Counter()
    left: set[str] = set()
    known = {route.host: route for route in present}
    for at, data in events:
        code, host = str(data.get("code", "")), _name(str(data.get("host", "")))
        if code not in LEARNT or data.get("port") not in (80, 443) or not host:
            other[printable(code, 64)] += 1
        elif host not in known and leads_inside(host):
            other["private_address"] += 1  # a route for it lets nothing through without `allow_private`
        elif host in seen or len(seen) < MOST_HOSTS:
            _count(seen.setdefault(host, _Seen(first=at)), at, data)
        else:
            left.add(host[:260])
    found = [made for host, one in seen.items() if (made := _host(host, one, known)) is not None]
    hosts = tuple(sorted(found, key=lambda item: (-item.times, item.host)))
    name = f"learned-{slug}"[:63].rstrip("-")
    report = LearnReport(slug=slug, hosts=hosts, other=dict(other), left_out=len(left), name=name)
    return report.model_copy(update={"text": bottle_file(report, [item.host for item in hosts], bottles)})


def _name(host: str) -> str:
    """As a route names it, where it can be one's: what is one host there is one here."""
    try:
        return host_pattern(host)
    except ValueError:
        return host


def _count(one: _Seen, at: float, data: Mapping[str, Any]) -> None:
    times = times_of(data)
    one.times += times
    one.last = max(one.last, at)
    target = str(data.get("path", ""))
    path, _ = paths.split(target)
    if data.get("code") == "git_fetch_not_allowed" or "git-upload-pack" in target:
        one.fetches.add(path.partition("/info/refs")[0].partition("/git-upload-pack")[0])
        return
    method = str(data.get("method", ""))[:32]
    key = (method, *stable(path))
    has_room = len(one.paths) < 5000 and (method in one.methods or len(one.methods) < MOST_METHODS)
    if key in one.paths or has_room:
        one.methods.add(method)
        one.paths[key] += times


def stable(path: str) -> tuple[str, bool]:
    """The part of a path that will be the same next time, and whether it is only a part."""
    kept: list[str] = []
    segments = path.split("/")[1:] if path.startswith("/") else []
    for segment in segments:
        if _NAMES.fullmatch(segment) or not segment.isascii() or not segment.isprintable():
            return "/" + "/".join(kept), True
        kept.append(segment)
    return "/" + "/".join(kept), False


def joined(found: Counter[tuple[str, bool]]) -> Counter[tuple[str, bool]]:
    """A few paths as they are; many as the prefixes that they share, the longest that make them few."""
    if len(found) <= WHOLE:
        return found
    depth = min(MOST_DEPTH + 1, max(path.count("/") for path, _ in found))
    while depth > 1:
        depth -= 1
        shorter: Counter[tuple[str, bool]] = Counter()
        for (path, prefix), times in found.items():
            parts = path.split("/", depth + 1)
            cut = len(parts) - 1 > depth
            shorter["/".join(parts[: depth + 1]) if cut else path, prefix or cut] += times
        if len(shorter) <= MOST_PATHS:
            return shorter
    return Counter({("/", True): found.total()})


def _host(host: str, one: _Seen, known: Mapping[str, Route]) -> LearnedHost | None:
    by_method: dict[str, Counter[tuple[str, bool]]] = {}
    for (method, path, prefix), times in one.paths.items():
        by_method.setdefault(method, Counter())[path, prefix] += times
    asked = tuple(
        LearnedPath(method=method, path=path, prefix=prefix, times=times)
        for method, counted in sorted(by_method.items())
        for (path, prefix), times in sorted(joined(counted).items())
    )
    try:
        route = _route(host, asked, one.fetches)
    except ValueError:  # pydantic's are among them
        return None  # no name or method that a route could have
    if route.wildcard:
        return None  # what was asked for is one host
    others = [name for name in known if name != host]
    return LearnedHost(
        host=host,
        times=one.times,
        first=one.first,
        last=one.last,
        asked=asked,
        letters=in_letters(host),
        resembles=resembles(host, others),
        known=host in known,
        route=plain(route),
    )


def _route(host: str, asked: Iterable[LearnedPath], fetches: set[str]) -> Route:
    """Methods that ask for the same paths share an entry."""
    by_paths: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for method in dict.fromkeys(item.method for item in asked):
        mine = tuple(("prefix" if item.prefix else "exact", item.path) for item in asked if item.method == method)
        by_paths.setdefault(mine, []).append(method)
    matches = [
        RouteMatch(
            methods=tuple(methods),
            paths=tuple(PathMatch(type="exact" if kind == "exact" else "prefix", value=path) for kind, path in mine),
        )
        for mine, methods in by_paths.items()
    ]
    stems = sorted(stem for stem in fetches if stem.startswith("/") and len(stem) > 1)[:MOST_PATHS]
    if stems:
        matches.append(RouteMatch(methods=("GET", "POST"), paths=tuple(PathMatch(value=stem) for stem in stems)))
    if not matches:
        raise ValueError("nothing that a path could be given for")  # no `matches` would be everything on the host
    return Route(host=host, matches=tuple(matches), git=RouteGit(fetch=bool(stems)))


def bottle_file(report: LearnReport, hosts: Iterable[str], bottles: Sequence[str]) -> str:
    """The report's chosen hosts as a bottle file on top of `bottles`. Hosts that a file has a route for already cannot
    stand in a second one: what they would need is told in the notes."""
    chosen = set(hosts)
    new = [item for item in report.hosts if item.host in chosen and not item.known]
    wider = [item for item in report.hosts if item.host in chosen and item.known]
    value: dict[str, Any] = {"extends": list(bottles)} if bottles else {}
    value["egress"] = {"routes": [item.route for item in new]}
    notes = [f"What {report.slug} was refused, as the narrowest routes that would allow it. Read it before you use it."]
    notes += [f"- {item.host}: {item.times} times{_warn(item)}" for item in new]
    for item in wider:
        lines = "".join(f"      {line}\n" for line in write([item.route]).splitlines())
        notes.append(
            f"- {item.host} has a route already; it would have to gain (`carboy routes --edit --save`):\n{lines}"
        )
    return f"---\n{write(value)}---\n" + "\n".join(notes) + "\n"


def _warn(item: LearnedHost) -> str:
    letters = f" (in its own letters: {printable(item.letters, 100)})" if item.letters else ""
    return letters + (f" (LOOKS LIKE {item.resembles}, and is not)" if item.resembles else "")
