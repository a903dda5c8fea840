"""What was used: of this host or one bottle; live, by model, by bottle, history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.core import trail
from app.core.text import printable
from app.core.units import DAY, count, plural, took
from app.core.usage import BUCKET
from app.screens.live import LiveRoom
from app.screens.page import Page, fact, heading
from app.widgets.ink import Row, ink, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.content import Content

    from app.core.model import Sum
    from app.core.spending import Line, UsageReport
    from app.core.usage import Metrics

WIDTH = 72
"""What a window of 80 columns has room for."""
MOST = 30


class UsageScreen(Page, LiveRoom):
    """Of this host; with `slug` of one bottle."""

    heading = "Usage"

    def __init__(self, slug: str = "") -> None:
        super().__init__()
        self.slug = slug
        self.note = printable(slug, 63) if slug else "this host, 30 days"

    def ask_again(self) -> None:
        self.work("show usage", self._fill(), group="page", alone=True)  # what is shown stays until there is more

    async def rows(self) -> list[Row]:
        found = await self.client.usage(self.slug or None)
        rows = [
            fact(
                "today",
                ink((f"{count(found.today.total)} tokens", "bold ink"), (f"   {trail.cost(found.today)}", "soft")),
            ),
            fact("in all", _sum(found.whole)),
        ]
        return [
            *rows,
            *_windows(found),
            *_history(found),
            *_models(found),
            *_bottles(found),
            *_last(found),
            *_sessions(found),
        ]


def _sum(found: Sum) -> Content:
    marks = ((found.estimated, "estimated"), (found.unmetered, "unmetered"))
    extra = ", ".join(f"{number} {word}" for number, word in marks if number)
    return ink(
        (f"{count(found.total)} tokens in {found.requests:,} {plural('answer', found.requests)}", "ink"),
        (f"   {trail.cost(found)}", "soft"),
        (f"   {extra}" if extra else "", "asks"),
    )


def _windows(found: UsageReport) -> list[Row]:
    rows: list[Row] = []
    for item in found.windows:
        if item.used is None:
            continue
        full, empty = trail.bar(item.used, 20)
        shares = sorted(item.shares.items(), key=lambda pair: -pair[1])[:4]
        who = ", ".join(f"{printable(slug or 'elsewhere', 24)} {part:.0%}" for slug, part in shares if part >= 0.005)
        name = f"{printable(item.provider, 14)} {printable(item.name, 10)}"
        tone = trail.tone(int(item.used * 100))
        rows.append(
            fact(name, ink((full, tone), (empty, "line"), (f" {item.used:.0%}", tone), (f"  {who}", "faint")), 17)
        )
    return [*heading("Windows of the providers"), *rows] if rows else []


def _history(found: UsageReport) -> list[Row]:
    rows: list[Row] = []
    if any(found.minutes):
        rows.append(fact("last hour", ink((trail.sparkline(found.minutes, 60), "accent"))))
    if found.quarters:
        quarters = {item.start: item.sum.total for item in found.quarters}
        bars = trail.sparkline(trail.steady(quarters, BUCKET, found.now // BUCKET * BUCKET, 96), 60)
        rows.append(fact("last day", ink((bars, "accent"))))
    if len(found.days) > 1:
        for name, of in (
            ("tokens", lambda day: day.total),
            ("cost", lambda day: day.cost_nano),
            ("turns", lambda day: day.requests),
            ("tools", lambda day: day.tool_calls),
            ("duration", lambda day: day.ms),
        ):
            bars = trail.sparkline(_daily(found, of), 60)
            rows.append(fact(f"{name} a day", ink((bars, "accent"))))
    return [*heading("History"), *rows] if rows else []


def _daily(found: UsageReport, of: Callable[[Sum], float]) -> list[float]:
    """From the first day that has any to this one, at most sixty."""
    first = found.days[0].start
    since = int((found.now - first) // DAY)
    return trail.steady({item.start: of(item.sum) for item in found.days}, DAY, first + since * DAY, min(60, 1 + since))


def _table(title: str, rows: list[tuple[str, str, Sum]]) -> list[Row]:
    if not rows:
        return []
    made = [
        spread(
            ink((f"{printable(name, 20):<21}", "ink"), (printable(detail, 10), "faint")),
            ink(
                (f"{found.requests:>6,}  ", "faint"),
                (f"{count(found.total):>6}", "ink"),
                (f"  out {count(found.output):>5}", "faint"),
                (f"  {trail.cost(found):>13}", "soft"),
            ),
            WIDTH,
        )
        for name, detail, found in rows[:MOST]
    ]
    more = [ink((f"and {len(rows) - MOST} more", "faint"))] if len(rows) > MOST else []
    return [*heading(title), *made, *more]


def _models(found: UsageReport) -> list[Row]:
    return _table("By model", [(item.model or "unknown", item.provider, item.sum) for item in found.models])


def _bottles(found: UsageReport) -> list[Row]:
    return _table("By bottle", [(item.scope, item.provider, item.sum) for item in found.bottles])


def _last(found: UsageReport) -> list[Row]:
    rows = [_line(item) for item in reversed(found.last[-15:])]
    return [*heading("Latest answers"), *rows] if rows else []


def _line(item: Line) -> Content:
    cost = "price unknown" if item.cost_nano is None else trail.dollars(item.cost_nano)
    mark = ("~ ", "asks") if item.estimated or item.unmetered else ("✗ ", "refused") if item.fault else ("✓ ", "ok")
    tail = printable(item.fault, 40) if item.fault else f"{count(item.context)} → {count(item.output)}"
    return spread(
        ink((time.strftime("%H:%M:%S ", time.localtime(item.at)), "faint"), mark, (printable(item.slug, 20), "ink"),
            (f"  {printable(item.model or item.provider, 26)}", "soft")),
        ink((f"{tail}  ", "faint"), (f"{took(item.ms):>8}", "faint"), (f"  {cost:>13}", "soft")),
        WIDTH,
    )  # fmt: skip


def _sessions(found: UsageReport) -> list[Row]:
    rows = [_session(item) for item in found.sessions[:15]]
    return [*heading("Sessions"), *rows] if rows else []


def _session(item: Metrics) -> Content:
    price = "price unknown" if item.unpriced and not item.cost_nano else trail.dollars(item.cost_nano)
    return spread(
        ink((f"{printable(item.slug, 20)}", "ink")),
        ink((f"{item.status:>8}  {item.turns:>4} turns  {item.tool_calls:>4} tools  peak {count(item.peak_context):>5}",
             "faint"), (f"  {price:>9}", "soft")),
        WIDTH,
    )  # fmt: skip
