"""What a bottle did while nobody watched, as values and as lines of text. Pure. Texts from bottles are made printable
where they are drawn."""

from typing import Any, Literal

from pydantic import Field

from app.core.bottles import stalled
from app.core.model import BottleView, Snapshot
from app.core.units import count, elapsed, size


class Refused(Snapshot):
    """What did not go through. `failed`: it was allowed, and the server or the way to it broke."""

    host: str
    code: str
    times: int
    failed: bool = False


class Decided(Snapshot):
    """A question of the bottle and its answer; still open where `state` is pending."""

    at: float
    what: str
    kind: str
    state: str
    by: str = ""
    reason: str = ""
    scope: str = ""


class Ordered(Snapshot):
    """Something that was done to it: frozen, stopped, parked, resumed …"""

    at: float
    action: str
    by: str = ""


class Changed(Snapshot):
    """Files of its workspace that changed since then, the newest first. `more` were not named; `partial` where the
    workspace is too large to be looked at in whole. `basis`: what they were compared with; `times` where there was
    nothing, so that a file counts as written whose time says so, whoever wrote it."""

    files: tuple[str, ...] = ()
    more: int = 0
    bytes: int = 0
    partial: bool = False
    known: bool = True
    """False where there is no workspace to look at."""
    basis: Literal["restore point", "copy", "times"] = "times"
    added: int = 0
    removed: int = 0


class Report(Snapshot):
    """One bottle since `since`."""

    slug: str
    session_id: str
    label: str
    agent: str | None = None
    provider: str = ""
    state: str
    outcome: str
    since: float
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    error: str = ""
    allowed: int = 0
    refused: int = 0
    dropped: int = 0
    """Lines of it that made room: `refusals` may lack some."""
    spend: dict[str, Any] = Field(default_factory=dict)
    refusals: tuple[Refused, ...] = ()
    decisions: tuple[Decided, ...] = ()
    orders: tuple[Ordered, ...] = ()
    changed: Changed = Changed()

    @property
    def open(self) -> int:
        return sum(item.state == "pending" for item in self.decisions)


class Away(Snapshot):
    """What happened since `since`; the loudest bottles first."""

    since: float
    until: float
    reports: tuple[Report, ...] = ()


def outcome(view: BottleView) -> str:
    """How it went, in a few words."""
    if view.state == "ended":
        return "done"
    if view.state in ("failed", "lost"):
        code = "" if view.exit_code is None else f" (exit code {view.exit_code})"
        return f"{view.state}{code}"
    if view.state == "frozen":
        return "frozen"
    return "stalled" if stalled(view) else view.state


def spent(spend: dict[str, Any]) -> str:
    """Tokens and money in a few words; empty where nothing was counted."""
    tokens = sum(int(spend.get(name) or 0) for name in ("input", "output", "cache_read", "cache_write"))
    if not tokens and not spend.get("requests"):
        return ""
    money = f", ${int(spend.get('cost_nano') or 0) / 1e9:.2f}" if spend.get("cost_nano") else ""
    unpriced = ", price unknown in part" if spend.get("unpriced") else ""
    return f"{count(tokens)} tokens{money}{unpriced}"


def summary(report: Report) -> tuple[tuple[str, str], ...]:
    """Its facts, each a name and a text; empty ones are left out."""
    many = len(report.decisions)
    asked = f"{many} question{'' if many == 1 else 's'}" + (f", {report.open} still open" if report.open else "")
    gone = f"{count(report.dropped)} older {'line' if report.dropped == 1 else 'lines'} of its log dropped"
    facts = (
        ("outcome", report.outcome + (f": {report.error}" if report.error else "")),
        ("ran", elapsed(report.seconds)),
        ("spent", spent(report.spend)),
        ("requests", f"{count(report.allowed)} allowed, {count(report.refused)} refused"),
        ("record", gone if report.dropped else ""),
        ("asked", asked if report.decisions else ""),
        ("changed", _changes(report.changed)),
    )
    return tuple(fact for fact in facts if fact[1])


_BASES = {"restore point": "compared with before the launch", "copy": "its copy compared with the project"}


def _changes(found: Changed) -> str:
    """How much of the workspace is different, and by what that is told; empty where there is none."""
    if not found.known:
        return ""
    files = len(found.files) + found.more
    noun = "file" if files == 1 else "files"
    if found.basis == "times":
        written = f"{files} {noun} written, {size(found.bytes)}" if files else "no file written"
        return f"{written} (by their times{', not looked at in whole' if found.partial else ''})"
    kinds = [f"{number} {word}" for number, word in ((found.added, "new"), (found.removed, "removed")) if number]
    told = f" ({', '.join(kinds)})" if kinds else ""
    what = f"{files} {noun}{told}, {size(found.bytes)}" if files else "nothing"
    return f"{what}; {_BASES[found.basis]}"
