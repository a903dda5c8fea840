"""When a sidecar is restarted, when it is given up, and how loudly a bottle asks for attention. Pure; the numbers are
hardening.md's, first paragraph and Health."""

from dataclasses import dataclass, replace

from app.core.model import BottleState, BottleView, SidecarHealth

ATTEMPTS = 5
CAP_SECONDS = 30.0
FORGIVEN_AFTER = 600.0
"""Seconds of health after which earlier failures no longer count."""


def delay(attempt: int) -> float:
    """Seconds before restart number `attempt` (from 1): 1, 2, 4, 8, 16, never above the cap."""
    return min(2.0 ** (attempt - 1), CAP_SECONDS)


@dataclass(frozen=True)
class Restarts:
    """How often one sidecar was restarted of late. Times come from the caller's clock."""

    attempt: int = 0
    healthy_since: float | None = None

    def up(self, now: float) -> "Restarts":
        """It answers."""
        return replace(self, healthy_since=now)

    def down(self, now: float) -> "Restarts":
        """It ended unasked, or would not start: one more attempt is due, or none is left."""
        calm = self.healthy_since is not None and now - self.healthy_since >= FORGIVEN_AFTER
        return Restarts(attempt=1 if calm else self.attempt + 1)

    @property
    def exhausted(self) -> bool:
        return self.attempt > ATTEMPTS

    def health(self, now: float, error: str = "") -> SidecarHealth:
        """The health to show after `down`."""
        if self.exhausted:
            return SidecarHealth(state="failed", attempt=ATTEMPTS, last_error=error, at=now)
        return SidecarHealth(
            state="restarting", attempt=self.attempt, next_retry=delay(self.attempt), last_error=error, at=now
        )


_SCORES: dict[BottleState, int] = {"failed": 90, "lost": 90, "running": 10, "launching": 10, "stopping": 10}


ASKS, TIGHT = 95, 60
_DOING = {"waiting": 50, "idle": 0}


def attention(
    state: BottleState,
    sidecar: SidecarHealth,
    *,
    stalled: bool = False,
    lacking: bool = False,
    budget: int = 0,
    asks: bool = False,
    doing: str = "",
) -> int:
    """Higher sorts first. A live bottle without its sidecar, or without a secret (`lacking`), counts as failed: its
    agent can do nothing. `budget`: percent used of the tightest one; `asks`: one is used up and the operator is asked.
    """
    if stalled and state == "running" and doing not in _DOING:
        return 100
    if asks and state == "running":
        return ASKS
    if (sidecar.state == "failed" or lacking) and state in ("running", "frozen"):
        return 90
    if budget >= 80 and state in ("running", "frozen"):
        return TIGHT
    if state == "running" and doing in _DOING:
        return _DOING[doing]
    return _SCORES.get(state, 0)


def silence_left(view: BottleView, limit: float, now: float) -> float:
    """Seconds until this bottle counts as stalled if it stays silent; 0 or less once it does. One that is frozen or
    ending is not expected to say anything."""
    if view.state != "running":
        return limit
    last = max(view.last_activity or 0.0, view.started_at or view.created_at)
    return min(limit, last + limit - now)  # a clock that was set back never makes it wait longer
