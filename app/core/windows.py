"""A provider's rate-limit windows as gauges, and how much of their movement each bottle caused. Pure.

A window is the account's, shared by all bottles and by whatever else the operator runs. Each rise since it was last
seen is divided among the bottles by the tokens that they used meanwhile; a rise in which none used any came from
elsewhere.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from app.core.model import Snapshot

ELSEWHERE = ""
"""In `shares`: what no bottle of this host caused."""
SAME_RESET = 120.0
"""Seconds by which a window's end may differ from what it was (providers round it) and be the same window's."""
MOST_SHARES = 100
MOST = 200
"""Windows kept for all providers together, those that were seen last: names come from the wire."""
MOST_USED = 100.0
LONGEST = 62 * 86400.0
"""Seconds until a window ends, at most: providers have none longer than a month."""


class Gauge(Snapshot):
    """One window. `used` is a fraction, above 1 in overdraft; `shares` the part of it that each bottle caused."""

    provider: str
    name: str
    kind: Literal["subscription", "rate"] = "rate"
    at: float = 0.0
    used: float | None = None
    resets_at: float | None = None
    status: str = ""
    shares: dict[str, float] = Field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.provider, self.name


def within(gauge: Gauge, now: float) -> Gauge:
    """The gauge with values that one can have. It is one sidecar's word and holds for all bottles: out of the future it
    would keep out what the others say, for good."""
    used = gauge.used if gauge.used is None else min(gauge.used, MOST_USED)
    ends = gauge.resets_at if gauge.resets_at is not None and 0 <= gauge.resets_at <= now + LONGEST else None
    return gauge.model_copy(update={"at": min(gauge.at, now), "used": used, "resets_at": ends})


def current(gauge: Gauge, now: float) -> Gauge:
    """The gauge as it stands: empty once its window has ended."""
    if gauge.resets_at is not None and now >= gauge.resets_at:
        return gauge.model_copy(update={"used": 0.0, "shares": {}, "status": ""})
    return gauge


def moved(before: Gauge | None, seen: Gauge, tokens: Mapping[str, int]) -> Gauge:
    """The gauge after an answer told of it. `tokens` is what each bottle used since `before` was seen."""
    if before is not None and seen.at < before.at:
        return before
    same = before is not None and _same_window(before, seen)
    shares = dict(before.shares) if same and before is not None else {}
    earlier = (before.used or 0.0) if same and before is not None else 0.0
    rise = (seen.used or 0.0) - earlier
    if seen.used is None and before is not None and same:
        seen = seen.model_copy(update={"used": before.used})
    elif rise > 0:
        for slug, part in _divided(rise, tokens).items():
            shares[slug] = shares.get(slug, 0.0) + part
    kept = sorted(shares.items(), key=lambda item: -item[1])[:MOST_SHARES]
    return seen.model_copy(update={"shares": dict(kept)})


def _divided(rise: float, tokens: Mapping[str, int]) -> dict[str, float]:
    total = sum(tokens.values())
    if total <= 0:
        return {ELSEWHERE: rise}
    return {slug: rise * count / total for slug, count in tokens.items() if count > 0}


def _same_window(before: Gauge, seen: Gauge) -> bool:
    if before.resets_at is None or seen.resets_at is None:
        return (seen.used or 0.0) >= (before.used or 0.0)
    return abs(before.resets_at - seen.resets_at) <= SAME_RESET
