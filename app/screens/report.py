"""What bottles did: one of them in full, or all since the operator left. Read only; `app.core.report` says what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.text import printable
from app.core.units import ago, date_and_time
from app.screens.page import Page, fact, heading
from app.widgets.ink import Row, ink

if TYPE_CHECKING:
    from app.core.report import Report

TONES = {"done": ("✓", "ok"), "running": ("▶", "soft"), "frozen": ("❄", "asks"), "stalled": ("▲", "asks")}


class ReportScreen(Page):
    heading = "Report"

    def __init__(self, slug: str) -> None:
        super().__init__()
        self.slug = slug
        self.note = printable(slug, 63)

    async def rows(self) -> list[Row]:
        found = await self.client.report(self.slug)
        return full(found, self.carboy.clock())


class AwayScreen(Page):
    heading = "Since you left"

    async def rows(self) -> list[Row]:
        found = await self.client.away()
        now = self.carboy.clock()
        if not found.since:
            return [ink(("Nobody left yet: this tells what happened while no window was open.", "faint"))]
        self.note = f"{ago(now - found.since)} ago"
        if not found.reports:
            return [ink(("No bottle did anything meanwhile.", "faint"))]
        rows: list[Row] = []
        for item in found.reports:
            rows += [*full(item, now, limit=5), ink()]
        return rows


def full(report: Report, now: float, limit: int = 40) -> list[Row]:
    """One bottle's report, at most `limit` lines of each kind."""
    from app.core.report import summary

    glyph, tone = TONES.get(report.outcome, ("✗", "refused"))
    who = f" ({printable(report.agent, 60)})" if report.agent else ""
    rows = [ink((f"{glyph} ", f"bold {tone}"), (printable(report.label, 80) + who, "bold ink"))]
    rows += [fact(name, printable(text, 400)) for name, text in summary(report)]
    if report.decisions:
        rows += heading("Asked and decided")
        for item in report.decisions[-limit:]:
            said = f" by {printable(item.by, 40)}" if item.by else ""
            reason = f": {printable(item.reason, 100)}" if item.reason else ""
            mark = ("⚑ ", "bold asks") if item.state == "pending" else ("· ", "faint")
            rows.append(ink(mark, (f"{ago(now - item.at):>4}  ", "faint"), (printable(item.what, 80), "ink"),
                            (f"  {item.state}{said}{reason}", "soft")))  # fmt: skip
    if report.refusals:
        failed = [item.failed for item in report.refusals]
        rows += heading("Failed" if all(failed) else "Refused, and failed" if any(failed) else "Refused")
        rows += [
            ink(("! ", "error") if item.failed else ("✗ ", "refused"), (f"{item.times:>6}× ", "faint"),
                (printable(item.host, 80) or "-", "ink"), (f"  {printable(item.code, 64)}", "soft"))
            for item in report.refusals[:limit]
        ]  # fmt: skip
    if report.orders:
        rows += heading("Done to it")
        rows += [
            ink(("· ", "faint"), (f"{ago(now - item.at):>4}  ", "faint"), (printable(item.action, 60), "ink"),
                (f" by {printable(item.by, 40)}" if item.by else "", "soft"))
            for item in report.orders[-limit:]
        ]  # fmt: skip
    if report.changed.files:
        rows += heading("Files")
        rows += [ink(("± ", "changed"), (printable(name, 200), "soft")) for name in report.changed.files[:limit]]
        more = report.changed.more + max(0, len(report.changed.files) - limit)
        rows += [ink((f"and {more} more", "faint"))] if more else []
    if report.started_at:
        rows += [ink(), fact("started", date_and_time(report.started_at))]
    return rows
