"""A bottle's tokens over the last hour, by minute, as the TUI saw them; and numbers of usage as people read them. Pure;
loads nothing heavy, since the first paint waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.core.units import count

if TYPE_CHECKING:
    from app.core.model import BudgetView, Sum

MINUTES = 60
BARS = "▁▂▃▄▅▆▇█"
NANO = 1_000_000_000


class Trail:
    """Tokens by minute. The first sight of a bottle counts for no minute: it may be hours of work."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None
        self._minutes: dict[int, int] = {}

    def see(self, session_id: str, total: int, at: float) -> None:
        if self._last is not None and self._last[0] == session_id and total > self._last[1]:
            minute = int(at // 60)
            self._minutes[minute] = self._minutes.get(minute, 0) + total - self._last[1]
            for old in [key for key in self._minutes if key <= minute - MINUTES]:
                del self._minutes[old]
        self._last = (session_id, total)

    def minutes(self, now: float) -> list[int]:
        """The last hour, the oldest first."""
        last = int(now // 60)
        return [self._minutes.get(minute, 0) for minute in range(last - MINUTES + 1, last + 1)]


def sparkline(values: Sequence[float], width: int) -> str:
    """`width` bars, the newest right; values are put together where there are more of them."""
    if width <= 0 or not values:
        return ""
    step = max(1, -(-len(values) // width))
    cells = [sum(values[max(0, end - step) : end]) for end in range(len(values), 0, -step)][:width][::-1]
    top = max(cells)
    if top <= 0:
        return " " * len(cells)
    return "".join(" " if cell <= 0 else BARS[min(7, int(cell / top * 7.999))] for cell in cells)


def steady(values: Mapping[int, float], step: float, last: float, count: int) -> list[float]:
    """`count` values a `step` of seconds apart, the last one for `last`: `values` by their time, zeros between them.
    A time may lie up to half a step beside (a day of 23 hours)."""
    found = [0.0] * count
    for at, value in values.items():
        index = count - 1 - round((last - at) / step)
        if 0 <= index < count:
            found[index] += value
    return found


def bar(fraction: float, width: int) -> tuple[str, str]:
    """A gauge as its full and its empty part. What is not used up never looks full, what is used never empty."""
    full = round(min(1.0, fraction) * width)
    if fraction < 1:
        full = min(full, width - 1)
    if fraction > 0:
        full = max(full, 1)
    return "▰" * full, "▱" * (width - full)


def amount(value: int, unit: str) -> str:
    """Narrow: `310k`, `$0.84`."""
    return count(value) if unit == "tokens" else dollars(value)


def dollars(nano: int) -> str:
    value = nano / NANO
    return f"${value:,.2f}" if value >= 0.005 or value == 0 else "<$0.01"


def cost(spend: Sum) -> str:
    """What it cost; that nobody knows the price is said, never shown as 0."""
    if not spend.unpriced:
        return dollars(spend.cost_nano)
    return f"{dollars(spend.cost_nano)} + unpriced" if spend.cost_nano else "price unknown"


def tone(percent: int) -> str:
    """The colour of a gauge; the number says the same."""
    return "refused" if percent >= 95 else "asks" if percent >= 80 else "accent"


def tightest(budgets: Sequence[BudgetView]) -> BudgetView | None:
    return max(budgets, key=lambda item: item.percent, default=None)


def left(view: BudgetView, minutes: Sequence[int]) -> str:
    """How long a token budget lasts at the pace of the last quarter of an hour; empty where nothing can be said."""
    pace = sum(minutes[-15:]) / 15
    if view.unit != "tokens" or pace <= 0 or view.used >= view.limit:
        return ""
    minutes_left = (view.limit - view.used) / pace
    return f"~{minutes_left:.0f} min left" if minutes_left < 120 else ""


def headline(totals: dict[str, Any]) -> tuple[str, str]:
    """Tokens and cost of today, from the event `usage`."""
    today: dict[str, Any] = totals.get("today") or {}
    tokens = sum(int(today.get(name, 0)) for name in ("input", "output", "cache_read", "cache_write"))
    if not tokens:
        return "", ""
    nano, unpriced = int(today.get("cost_nano", 0)), int(today.get("unpriced", 0))
    price = dollars(nano) if nano or not unpriced else "price unknown"
    return f"{count(tokens)} tok", f"{price}{'+' if nano and unpriced else ''} today"


def window(totals: dict[str, Any]) -> tuple[str, float] | None:
    """The fullest of the subscriptions' windows: its name and how much of it is used."""
    windows = [item for item in totals.get("windows") or () if item.get("kind") == "subscription"]
    known = [(str(item.get("name", "")), float(item["used"])) for item in windows if item.get("used") is not None]
    return max(known, key=lambda item: item[1], default=None)
