"""A preflight as lines of text: what the launch is, what it makes, what it may reach, where each value came from. Pure;
values of manifests are text of a file, which may be a project's, so they are made printable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.text import printable
from app.screens.bottle import route_lines
from app.screens.page import fact, heading
from app.screens.settings import shown
from app.widgets.ink import Hanging, Row, ink, marked

if TYPE_CHECKING:
    from app.core.model import Preflight

SOURCES = {
    "keyring": ("✓", "ok", "from the keyring"),
    "environment": ("✓", "ok", "from the environment"),
    "request": ("✓", "ok", "typed in for this launch"),
    "login": ("✓", "ok", "this host's own login"),
    "missing": ("✗", "refused", "missing"),
}


def lines_of(found: Preflight) -> list[Row]:
    """The whole report; problems first, since nothing else matters while there are any."""
    rows: list[Row] = [marked(ink((f"✗ {printable(text, 800)}", "refused"))) for text in found.problems]
    rows += [marked(ink((f"▲ {printable(text, 800)}", "asks"))) for text in found.warnings]
    rows += [ink()] if rows else []
    rows += _what(found)
    if found.secrets:
        rows += heading("Secrets")
        for need in found.secrets:
            glyph, tone, text = SOURCES[need.source]
            name = (f"{printable(need.name, 80):<28} ", "ink")
            source = ink((text, "soft"), (f", used by {printable(need.used_by, 80)}", "faint"))
            rows.append(Hanging(ink((f"{glyph} ", f"bold {tone}"), name), source))
    rows += heading("May reach")
    routes = [line for route in found.routes for line in route_lines(route)]
    rows += routes or [ink(("nothing: the allowlist is empty", "soft"))]
    if found.creates:
        rows += heading("Will be made")
        rows += [marked(ink(("+ ", "ok"), (printable(text, 400), "soft"))) for text in found.creates]
    if found.masks:
        rows += heading("Hidden from the agent")
        rows.append(ink((printable(", ".join(found.masks), 1000), "soft")))
    return rows + _tried(found) + _resolved(found)


def _what(found: Preflight) -> list[Row]:
    engine = f" ({found.engine})" if found.engine else ""
    order = found.lineage.replace(" -> ", " → ") or " + ".join(found.bottles)
    facts = (
        ("name", found.label if found.label == found.slug else f"{found.label} ({found.slug})"),
        ("agent", found.agent or "none: a command"),
        ("bottles", order),
        ("provider", found.provider + (f" · {found.model}" if found.model else "")),
        ("runs", " ".join(found.command)),
        ("in", f"{found.backend}{engine}: {found.isolation} isolation"),
        ("sees", f"{found.workspace} {found.cwd}"),
    )
    return [fact(name, printable(value, 400), 9) for name, value in facts if value]


def _tried(found: Preflight) -> list[Row]:
    passed = [report for report in found.tried if not report.works]
    if not passed:
        return []
    rows = heading("Backends passed over")
    for report in passed:
        name = ink(("✗ ", "refused"), (f"{printable(report.name, 30):<12} ", "ink"))
        rows.append(Hanging(name, ink((printable(report.reason, 400), "soft"))))
        if report.fix:
            rows.append(marked(ink((f"  → {printable(report.fix, 400)}", "asks")), 4))
    return rows


def _resolved(found: Preflight) -> list[Row]:
    if not found.resolved:
        return []
    width = min(44, max(len(item.path) for item in found.resolved) + 1)
    rows = heading("Resolved manifest")
    for item in found.resolved:
        value = ink(
            (f"{printable(shown(item.value), 400)} ", "ink"), (f"(from {printable(item.source, 100)})", "faint")
        )
        rows.append(Hanging(ink((f"{printable(item.path, 100):<{width}}", "soft")), value))
    return rows
