"""What works on this machine, what is missing and how to get it, and which backends there are with their isolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.text import printable
from app.screens.page import Page, fact, heading
from app.widgets.ink import Hanging, Row, ink

if TYPE_CHECKING:
    from app.core.model import BackendReport, DoctorCheck


class DoctorScreen(Page):
    heading = "Doctor"
    note = "every answer is found by really trying; that takes a moment"

    async def rows(self) -> list[Row]:
        found = await self.client.doctor()
        rows = [ink(("This machine", "bold accent"))]
        for check in found.checks:
            rows += _check(check)
        rows += heading("Backends")
        for report in found.backends:
            rows += _backend(report)
        return rows


def _mark(ok: bool) -> tuple[str, str]:
    return ("✓ ", "bold ok") if ok else ("✗ ", "bold refused")


def _check(check: DoctorCheck) -> list[Row]:
    name = ink(_mark(check.ok), (f"{printable(check.name, 24):<24} ", "ink"))
    head = Hanging(name, ink((printable(check.text, 400), "soft")))
    return [
        head,
        *([fact("", ink(("→ " + printable(check.fix, 400), "asks")), 25)] if check.fix and not check.ok else []),
    ]


def _backend(report: BackendReport) -> list[Row]:
    name = f"{report.name} ({report.engine})" if report.engine else report.name
    state = f"works · {report.isolation} isolation" if report.works else "does not work here"
    rows: list[Row] = [
        ink(
            _mark(report.works),
            (f"{printable(name, 40):<24} ", "ink"),
            (state, "soft"),
            (f" {printable(report.version, 60)}", "faint"),
        )
    ]
    if report.reason:
        rows.append(fact("", ink((printable(report.reason, 400), "refused" if not report.works else "soft")), 25))
    if report.fix and not report.works:
        rows.append(fact("", ink(("→ " + printable(report.fix, 400), "asks")), 25))
    abilities = [name.replace("_", " ") for name, has in report.capabilities.items() if has]
    if abilities:
        rows.append(fact("", ink(("can: " + printable(", ".join(abilities), 200), "faint")), 25))
    for name, way in report.ways.items() if report.works else ():
        rows.append(fact("", ink((f"no {printable(name.replace('_', ' '), 40)}: {printable(way, 200)}", "faint")), 25))
    rows += [fact("", ink(("· " + printable(note, 400), "soft")), 25) for note in report.notes]
    return rows
