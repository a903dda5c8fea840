"""What the operator should see before saying yes: notes on how one list of routes goes beyond another. Pure."""

import ipaddress
import re
from collections.abc import Callable
from typing import Literal

from app.core.lookalikes import in_letters, resembles
from app.core.model import Snapshot
from app.core.routes import Routes, changed_hosts, covering, of_host
from sidecar.contract import INBOUND_DETECTORS, OUTBOUND_DETECTORS, PathMatch, Route, RouteDlp, RouteMatch

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that carry no body to speak of (RFC 9110, 9.2.1): whatever else is allowed can carry data out."""

_PLAIN = re.compile(r"(/(?!\.{1,2}(/|$))[\w.~-]+)+/?", re.ASCII)
"""A path with plain segments alone: no dots that lead elsewhere, nothing encoded, no parameters."""
_SEVERITY = {"block": 2, "supervise": 1, "redact": 1}


class Risk(Snapshot):
    """One note. `code` is stable; `warn` ones stand out."""

    code: str
    text: str
    level: Literal["note", "warn"] = "note"


def risks(before: Routes, after: Routes, shared: Callable[[str], str | None] = lambda _: None) -> tuple[Risk, ...]:
    """Notes on what `after` allows and `before` did not. `shared` says why subdomains of a domain have many owners."""
    found: list[Risk] = []
    for host in changed_hosts(before, after):
        new = of_host(after, host)
        if new is not None:
            found += _host(of_host(before, host) or covering(before, host), new, of_host(before, host) is None, shared)
    return tuple(dict.fromkeys(found))


def _host(old: Route | None, new: Route, fresh: bool, shared: Callable[[str], str | None]) -> list[Risk]:
    host = new.host
    found: list[Risk] = []

    def add(code: str, text: str, *, warn: bool = True) -> None:
        found.append(Risk(code=code, text=text, level="warn" if warn else "note"))

    if old is None:
        add("new_host", f"{host} is a new host", warn=False)
    elif _wider(old, new):
        add("widening", f"{host} was reachable already, and becomes wider", warn=False)
    if fresh and new.wildcard:
        add("wildcard", f"{host} covers every name below {host[2:]}")
        why = shared(host[2:])
        if why:
            add("shared_domain", f"{host} has names of many owners: {why}")
    if fresh and "xn--" in host:
        add("punycode", f"{host} is a name in other letters: {in_letters(host)}")
    if fresh and (other := resembles(host)):
        add("lookalike", f"{host} looks like {other}, and is not")
    if _writes(old, new):
        add("post_capable", f"{host} can be written to, so data can leave by it")
    if leads_inside(host) or (new.allow_private and not (old is not None and old.allow_private)):
        add("private", f"{host} may lead into a private network")
    if new.auth is not None and (old is None or old.auth != new.auth or _wider(old, new)):
        add("credential", f"requests to {host} carry the credential {new.auth.token_ref}")
    if _weaker(old or Route(host=host), new):
        add("weaker_dlp", f"less of what goes to {host} is inspected")
    if set(new.ports) - set((old or Route(host=host)).ports):
        add("ports", f"{host} opens the ports {', '.join(map(str, new.ports))}")
    return found


def _wider(old: Route, new: Route) -> bool:
    if new.git.fetch and not old.git.fetch:
        return True
    if not old.matches:
        return False
    return not new.matches or bool(_added(old, new))


def _added(old: Route | None, new: Route) -> list[RouteMatch]:
    """Rules of `new` that allow something which no single rule of `old` does, as far as it can be told."""
    return [match for match in new.matches if old is None or not any(_within(match, held) for held in old.matches)]


def _within(match: RouteMatch, held: RouteMatch) -> bool:
    """Whether all that `match` allows is allowed by `held`; False where that is not plain to see."""
    if match == held:
        return True
    methods = not held.methods or (bool(match.methods) and set(match.methods) <= set(held.methods))
    paths = not held.paths or (bool(match.paths) and all(_below(path, held.paths) for path in match.paths))
    return methods and paths and all(header in match.headers for header in held.headers)


def _below(path: PathMatch, held: tuple[PathMatch, ...]) -> bool:
    """Whether one of the `held` paths covers this one. A path that could be read in more ways is covered by its like
    alone."""
    if path in held:
        return True
    if path.type == "regex" or not _PLAIN.fullmatch(path.value):
        return False
    above = [one.value for one in held if one.type == "prefix"]
    return any(path.value == one or path.value.startswith(f"{one.rstrip('/')}/") for one in above)


def _writes(old: Route | None, new: Route) -> bool:
    """Whether what `new` adds lets data be sent."""
    if old is not None and not _wider(old, new):
        return False
    return not new.matches or any(not match.methods or set(match.methods) - READING for match in _added(old, new))


def leads_inside(host: str) -> bool:
    """Whether a name or an address is one of a private network, as far as it can be told without looking it up."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".lan", ".home.arpa"))


def _weaker(old: Route, new: Route) -> bool:
    return (
        not _detectors(new.dlp) >= _detectors(old.dlp)
        or _SEVERITY[new.dlp.outbound_on_match] < _SEVERITY[old.dlp.outbound_on_match]
        or new.max_body > old.max_body
        or (new.max_body == 0 and old.max_body != 0)
    )


def _detectors(dlp: RouteDlp) -> frozenset[str]:
    outbound = OUTBOUND_DETECTORS if dlp.outbound_detectors is None else dlp.outbound_detectors or ()
    inbound = INBOUND_DETECTORS if dlp.inbound_detectors is None else dlp.inbound_detectors or ()
    return frozenset((*outbound, *inbound))
