"""Compiled routes and the decision about one request. Pure: no I/O, no clock, no mitmproxy; the app may use it too.

Among the routes of a bottle the most specific host counts: an exact name before a wildcard, the longer wildcard before
the shorter. Several routes for that host are tried in order. Whatever is not clearly allowed is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from sidecar.contract import HeaderMatch, PathMatch, Policy, Route, RouteMatch
from sidecar.egress import overrides, paths
from sidecar.patterns import Pattern


@dataclass(frozen=True)
class RequestFacts:
    """What is decided on. `host` is canonical (`names.canonical_host`); header names are in lower case."""

    host: str
    port: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body_methods: tuple[str, ...] = ()
    """Methods that its body names (`overrides.in_body`), once that is there."""

    def readings(self) -> "Iterator[RequestFacts]":
        """It as it stands, and as a server may take it that lets a header or a field count for method or path."""
        targets = (self.target, *overrides.targets(self.headers))
        methods = (self.method, *overrides.methods(self.headers, targets), *self.body_methods)
        for target in dict.fromkeys(targets):
            for method in dict.fromkeys(methods):
                yield replace(self, method=method, target=target)


@dataclass(frozen=True)
class Verdict:
    """`route` is the one that allowed it, or the nearest one where a rule of it refused."""

    decision: Literal["allow", "deny"]
    code: str = "ok"
    reason: str = ""
    route: Route | None = None
    reading: RequestFacts | None = None
    """How the request was read where that refused it."""

    @property
    def allowed(self) -> bool:
        return self.decision == "allow"


def deny(code: str, reason: str, route: Route | None = None) -> Verdict:
    return Verdict("deny", code, reason, route)


@dataclass(frozen=True)
class _Header:
    name: str
    value: str
    pattern: Pattern | None

    @classmethod
    def compile(cls, match: HeaderMatch) -> "_Header":
        return cls(match.name.lower(), match.value, Pattern(match.value) if match.type == "regex" else None)

    def holds(self, headers: tuple[tuple[str, str], ...]) -> bool:
        """There is such a header, and each of its occurrences matches: a second one must not slip past."""
        values = [value for name, value in headers if name == self.name]
        if self.pattern is None:
            return bool(values) and all(value == self.value for value in values)
        return bool(values) and all(len(value) <= 4096 and self.pattern.fullmatch(value) for value in values)


@dataclass(frozen=True)
class _Path:
    type: str
    value: str
    pattern: Pattern | None

    @classmethod
    def compile(cls, match: PathMatch) -> "_Path":
        return cls(match.type, match.value, Pattern(match.value) if match.type == "regex" else None)

    def holds(self, path: str) -> bool:
        if self.pattern is not None:
            return len(path) <= 4096 and self.pattern.fullmatch(path)
        return path == self.value if self.type == "exact" else paths.below(self.value, path)


@dataclass(frozen=True)
class _Match:
    paths: tuple[_Path, ...]
    methods: frozenset[str]
    headers: tuple[_Header, ...]

    @classmethod
    def compile(cls, match: RouteMatch) -> "_Match":
        return cls(
            tuple(_Path.compile(path) for path in match.paths),
            frozenset(match.methods),
            tuple(_Header.compile(header) for header in match.headers),
        )

    def missing(self, facts: RequestFacts, path: str | None) -> str:
        """The code of the first thing that does not match, or nothing."""
        if self.paths and path is None:
            return "path_ambiguous"
        if self.paths and not any(rule.holds(path or "") for rule in self.paths):
            return "path_not_allowed"
        if self.methods and facts.method not in self.methods:
            return "method_not_allowed"
        if not all(header.holds(facts.headers) for header in self.headers):
            return "header_not_allowed"
        return ""


# The words that matter first: what a narrow column cuts off is the host, which stands beside it.
_REASONS = {
    "path_ambiguous": "this path can be read in more than one way (dots, encoded or doubled slashes, parameters), "
    "so no path rule can hold for it",
    "path_not_allowed": "this path is not allowed at {host}",
    "method_not_allowed": "{method} is not allowed on this path of {host}",
    "header_not_allowed": "a header is missing or different that is asked for at {host}",
}
_OTHERS = "this path can be read in more than one way, and in one of them an earlier route of {host} is for it"
_OVERRIDDEN = "; a header or a field of the request says that this is meant, so it must be allowed as well"
_NEARNESS = ("path_not_allowed", "path_ambiguous", "method_not_allowed", "header_not_allowed")
"""Later ones matched more before they failed, and say more about what to change."""


@dataclass(frozen=True)
class _Route:
    route: Route
    ports: frozenset[int]
    matches: tuple[_Match, ...]

    @classmethod
    def compile(cls, route: Route) -> "_Route":
        return cls(route, frozenset(route.ports), tuple(_Match.compile(match) for match in route.matches))

    @property
    def limits_methods(self) -> bool:
        return any(match.methods for match in self.matches)

    def decide(self, facts: RequestFacts) -> Verdict:
        """Every reading of it must be allowed."""
        verdict = self._decide(facts)
        for reading in islice(facts.readings(), 1, None) if verdict.allowed else ():
            other = self._decide(reading)
            if not other.allowed:
                return replace(other, reason=other.reason + _OVERRIDDEN, reading=reading)
        return verdict

    def may_be_meant(self, facts: RequestFacts) -> bool:
        """True if a server may read another path from it than it has by our rules, and this route is for that."""
        if not any(match.paths for match in self.matches):
            return False
        for target in (facts.target, *overrides.targets(facts.headers)):
            path = paths.split(target)[0]
            plain = paths.canonical(path)
            if plain is not None and target == facts.target:
                continue
            meant = paths.meanings(path) if plain is None else frozenset((plain,))
            if meant is None or any(not match.missing(facts, each) for match in self.matches for each in meant):
                return True
        return False

    def _decide(self, facts: RequestFacts) -> Verdict:
        refused = _git(facts, self.route)
        if refused is not None:
            return refused
        if not self.matches:
            return Verdict("allow", route=self.route)
        path = paths.canonical(paths.split(facts.target)[0])
        missing = [match.missing(facts, path) for match in self.matches]
        if "" in missing:
            return Verdict("allow", route=self.route)
        code = max(missing, key=_NEARNESS.index)
        reason = _REASONS[code].format(host=self.route.host, method=facts.method)
        return deny(code, reason, self.route)


def _git(facts: RequestFacts, route: Route) -> Verdict | None:
    """Refuse pushes over smart HTTP always, fetches unless the route has `git.fetch`; None where it is neither."""
    path, query = paths.split(facts.target)
    services = [paths.loosely(part).partition("=")[2] for part in query.replace(";", "&").split("&")]
    segments = {segment.partition(";")[0] for segment in paths.loosely(path).split("/")}
    types = " ".join(value.lower() for name, value in facts.headers if name == "content-type")
    if "git-receive-pack" in segments or "git-receive-pack" in services or "x-git-receive-pack" in types:
        return deny("git_push_refused", "a push over HTTPS never leaves a bottle", route)
    fetch = "git-upload-pack" in segments or "git-upload-pack" in services or "x-git-upload-pack" in types
    if fetch and not route.git.fetch:
        return deny("git_fetch_not_allowed", f"the route of {route.host} does not allow git to fetch", route)
    return None


@dataclass(frozen=True)
class CompiledPolicy:
    """A policy ready to decide. Raises ValueError (from `compile`) where a rule cannot be compiled."""

    policy: Policy
    _exact: dict[str, list[_Route]] = field(default_factory=dict[str, list[_Route]], repr=False)
    _below: dict[str, list[_Route]] = field(default_factory=dict[str, list[_Route]], repr=False)
    ports: frozenset[int] = frozenset()

    @classmethod
    def compile(cls, policy: Policy) -> "CompiledPolicy":
        exact: dict[str, list[_Route]] = {}
        below: dict[str, list[_Route]] = {}
        for route in policy.routes:
            table, key = (below, route.host[2:]) if route.wildcard else (exact, route.host)
            table.setdefault(key, []).append(_Route.compile(route))
        ports = frozenset(port for route in policy.routes for port in route.ports)
        return cls(policy, exact, below, ports)

    def routes_of(self, host: str) -> list[_Route]:
        """The routes that count for `host`: of the most specific pattern that covers it."""
        if host in self._exact:
            return self._exact[host]
        rest = host
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in self._below:
                return self._below[rest]
        return []

    def limits_methods(self, host: str, port: int) -> bool:
        """True if what a request's body says of its method may count."""
        return any(entry.limits_methods for entry in self.routes_of(host) if port in entry.ports)

    def port_open(self, port: int) -> bool:
        """True if some route has this port, or it is 443 or 80: there a refusal can be told inside."""
        return port in self.ports or port in (443, 80)

    def reaches(self, host: str, port: int, *, private: bool = False) -> bool:
        """True if some request to this origin may be allowed; `private`: where it leads into a private network."""
        entries = [entry for entry in self.routes_of(host) if port in entry.ports]
        return any(entry.route.allow_private or not private for entry in entries)

    def decide(self, facts: RequestFacts) -> Verdict:
        """May this request leave? The first route that allows it decides; else the nearest refusal is given."""
        candidates = self.routes_of(facts.host)
        if not candidates:
            return deny("host_not_allowed", f"{facts.host} is not on this bottle's list")
        verdict = deny("port_not_allowed", f"port {facts.port} of {facts.host} is not on this bottle's list")
        refused: list[_Route] = []
        for entry in candidates:
            if facts.port not in entry.ports:
                continue
            verdict = entry.decide(facts)
            if not verdict.allowed:
                refused.append(entry)
            elif any(other.may_be_meant(facts) for other in refused):
                # neither this one's credential nor its inspection is for that
                return deny("path_ambiguous", _OTHERS.format(host=entry.route.host), entry.route)
            else:
                return verdict
        return verdict
