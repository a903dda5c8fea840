"""What an unattended bottle does by itself: when nobody answers, at a provider's limit, when its agent ends. Pure: the
profile is the manifest's `unattended`, and only what a file says of it is acted on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.model import Snapshot
from app.core.schema import Manifest, Unattended

PARK_SECONDS = 7 * 86400.0
"""How long a held request of a parked bottle is kept: over a weekend and a holiday."""
LONG_WAIT = 60.0
"""A limit that ends sooner is the agent's own to wait for."""
IN_A_ROW = 5
"""As many refusals for a limit, with no answer between, are no passing one."""
UNKNOWN_WAIT = 900.0
"""Where the provider does not say when its limit ends; doubled each time, to an hour."""
OVERLOADED_WAIT = 30.0
LIMITS = frozenset({"rate_limit", "quota", "overloaded"})
MOST_RETRIES = 10


class Overnight(Snapshot):
    """What was done to a session by its profile, on record with it. `parked` says why it is frozen."""

    parked: Literal["", "hold", "limit"] = ""
    wake_at: float | None = None
    resumes: int = 0
    resume_at: float | None = None
    """When its agent, which has ended badly, is started again."""


@dataclass(frozen=True)
class Profile:
    """What a bottle's files say, None where they say nothing."""

    hold: str | None = None
    max_wait: float | None = None
    on_limit: str | None = None
    resumes: int = 0

    @property
    def parks(self) -> bool:
        return self.hold == "park"


def profile(manifest: Manifest) -> Profile:
    """Only keys that somebody wrote: an attended bottle's agent is never stopped for a default."""
    given = manifest.bottle.unattended
    keys = {path.removeprefix("unattended.") for path in manifest.provenance if path.startswith("unattended.")}
    if "unattended" in manifest.provenance:
        keys |= set(type(given).model_fields)
    on_exit = given.on_exit if any(key.startswith("on_exit") for key in keys) else "keep"
    return Profile(
        hold=given.hold if "hold" in keys else None,
        max_wait=float(given.max_wait) if given.max_wait is not None else None,
        on_limit=given.on_limit if "on_limit" in keys else None,
        resumes=on_exit["resume"] if isinstance(on_exit, dict) else 0,
    )


ALONE: Mapping[str, Unattended] = {
    "park": Unattended(hold="park", on_limit="wait_for_reset", on_exit={"resume": 3}),
    "reject": Unattended(hold="reject", on_limit="wait_for_reset", on_exit={"resume": 3}),
    "stop": Unattended(hold="reject", on_limit="stop", on_exit="keep"),
}
"""Profiles to choose at a launch (`LaunchRequest.unattended`), in place of what the files say."""


def alone(manifest: Manifest, chosen: str | None) -> Manifest:
    """The manifest with the profile that was chosen at the launch; as it is where none was."""
    if chosen is None:
        return manifest
    files = {path: source for path, source in manifest.provenance.items() if path.partition(".")[0] != "unattended"}
    told = {f"unattended.{key}": "launch" for key in ("hold", "on_limit", "on_exit")}
    bottle = manifest.bottle.model_copy(update={"unattended": ALONE[chosen]})
    return manifest.model_copy(update={"bottle": bottle, "provenance": files | told})


def hold_seconds(manifest: Manifest, usual: float) -> float:
    """How long a held request waits for the operator."""
    found = profile(manifest)
    return PARK_SECONDS if found.parks else min(found.max_wait or usual, PARK_SECONDS)


def is_limit(kind: str, in_a_row: int, reset: float | None, now: float) -> bool:
    """Whether this fault is a limit that the profile should act on."""
    if kind == "quota":
        return True
    if kind not in LIMITS:
        return False
    return in_a_row >= IN_A_ROW or (reset is not None and reset - now >= LONG_WAIT)


def wake(reset: float | None, waited: int, now: float) -> float:
    """When to let it go on after a limit."""
    if reset is not None and reset > now:
        return min(reset + 5.0, now + PARK_SECONDS)
    return now + min(UNKNOWN_WAIT * 2**waited, 3600.0)


def resume_at(reset: float | None, number: int, now: float, kind: str = "") -> float:
    """When to start an agent again that ended at a limit: once that is over, the first time with `number` 0. A provider
    that is `overloaded` is so for minutes."""
    if reset is not None and reset <= now:
        return now + pause_before_resume(number)
    if reset is None and kind == "overloaded":
        return now + min(OVERLOADED_WAIT * 2**number, UNKNOWN_WAIT)
    return wake(reset, number, now)


def most_resumes(found: Profile, *, limited: bool) -> int:
    """How often an agent that ended badly is started again. What a limit ended is not the agent's fault."""
    waits = limited and found.on_limit in ("retry", "wait_for_reset")
    return max(found.resumes, MOST_RETRIES if waits else 0)


def next_reset(windows: Iterable[tuple[float | None, float | None]], now: float) -> float | None:
    """The latest end of a window that is used up; each is a used fraction and when it ends."""
    ends = [end for used, end in windows if end is not None and end > now and (used or 0.0) >= 0.97]
    return max(ends, default=None)


GO_ON = "You were interrupted. Go on with this task, from what is done already:\n\n"


def to_go_on(task: str | None, provider: str) -> str | None:
    """What an agent is told that is started again: its conversation may end anywhere. A shell's task is a command."""
    if not task or provider == "shell":
        return None
    return task if task.startswith(GO_ON) else GO_ON + task


def pause_before_resume(number: int) -> float:
    """Seconds before the agent is started again, the first time with 0."""
    return min(2.0 * 3**number, 300.0)
