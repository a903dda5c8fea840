"""What the demo's tour must show, and whether it did. Pure: events and requests in, findings out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.demo.pretend.script import Say, Script, Turn, Usage, steps

WORDS = (
    "You are in a bottle. There is no network here: no route, no resolver, only one listening socket, and behind it "
    "a proxy that knows what you may ask and whom. The key in your environment is a placeholder; the real one was "
    "put into this request after it had left you. I am a pretend model, streaming from the same machine."
)


def script(*, delay: float) -> Script:
    """The pretend model's part."""
    return steps(Turn((Say(WORDS),), Usage(input=210, output=68), delay))


@dataclass(frozen=True)
class Expected:
    """One line of the story: what was asked, and how it must have ended."""

    what: str
    host: str
    method: str
    path: str
    decision: str
    code: str


STORY = (
    Expected("asking the model is allowed", "api.anthropic.com", "POST", "/v1/messages", "allow", "ok"),
    Expected("reading the index is allowed", "pypi.org", "GET", "/simple/carboy/", "allow", "ok"),
    Expected("publishing is refused", "pypi.org", "POST", "/legacy/", "deny", "method_not_allowed"),
    Expected(
        "reporting home is refused",
        "api.anthropic.com",
        "POST",
        "/api/event_logging/batch",
        "deny",
        "path_not_allowed",
    ),
    Expected("an unknown host is refused", "pastebin.com", "POST", "/api", "deny", "host_not_allowed"),
    Expected(
        "spending beyond the budget is refused", "api.anthropic.com", "POST", "/v1/messages", "deny", "budget_exhausted"
    ),
    Expected("a misplaced key is refused", "pypi.org", "GET", "/simple/", "deny", "placeholder_misplaced"),
)


@dataclass(frozen=True)
class Finding:
    what: str
    ok: bool
    detail: str = ""


def requests(events: Iterable[dict[str, Any]]) -> list[Finding]:
    """Each line of the story against the egress events."""
    seen = [event for event in events if event.get("phase", "closed") == "closed"]
    return [_request(line, seen) for line in STORY]


def _request(line: Expected, seen: list[dict[str, Any]]) -> Finding:
    same = [
        event
        for event in seen
        if (event.get("host"), event.get("method")) == (line.host, line.method)
        and str(event.get("path", "")).partition("?")[0] == line.path
    ]
    ends = [f"{event.get('decision')} {event.get('code')}" for event in same]
    return Finding(line.what, f"{line.decision} {line.code}" in ends, ", ".join(ends) or "no such request was seen")


def key(sent: Iterable[str], real: str, inside: str) -> list[Finding]:
    """`sent`: values of the credential header as the model's host got them; `inside`: all that the bottle showed."""
    values = list(sent)
    return [
        Finding("the model's host got the real key", bool(values) and all(value == real for value in values)),
        Finding("the bottle never saw the real key", bool(inside) and real not in inside),
    ]
