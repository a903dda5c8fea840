"""One proposal as a card: what is asked, by whom, what speaks against it, how long it waits still. Everything in it may
be a bottle's text, so it is drawn as text, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.text import printable
from app.core.units import ago, elapsed
from app.widgets.ink import hanging, ink, lines, spread

if TYPE_CHECKING:
    from textual.content import Content

    from app.core.approvals import ProposalView

WORDS = {
    "egress-allow": "access",
    "egress-block": "access",
    "egress-token-allow": "finding",
    "gitleaks-allow": "push",
    "git-push": "push",
    "budget-ask": "budget",
}


_MARK = 2
"""Cells of a warning's glyph, with the space behind it."""


def head(view: ProposalView) -> Content:
    """What kind of question it is, and whose."""
    times = f" {view.asked}×" if view.asked > 1 else ""
    return ink(
        ("⚑ ", "bold asks"),
        (WORDS.get(view.kind, printable(view.kind, 20)) + times, "bold asks"),
        (" · ", "faint"),
        (printable(view.slug, 40), "accent"),
    )


def clock(view: ProposalView, now: float) -> str:
    """Its age, and the time left where it has an end."""
    age = ago(now - view.created_at)
    if view.expires_at is None:
        return age
    left = view.expires_at - now
    return f"{age}, {ago(left) if left >= 3600 else elapsed(left)[-5:]} left"


def warnings(view: ProposalView, limit: int = 4) -> list[Content]:
    """Risks, louder ones first, then what was left out, and what went wrong."""
    ranked = sorted(view.risks, key=lambda risk: risk.level != "warn")
    rows = [
        ink(("▲ " if risk.level == "warn" else "· ", "asks" if risk.level == "warn" else "faint"),
            (printable(risk.text, 200), "asks" if risk.level == "warn" else "soft"))
        for risk in ranked[:limit]
    ]  # fmt: skip
    if view.stale:
        rows.append(ink(("▲ the routes have changed since it was asked; merged route by route", "asks")))
    rows += [ink(("✂ ", "changed"), (printable(note, 200), "soft")) for note in view.notes[:limit]]
    if view.error:
        rows.append(ink((f"✗ {printable(view.error, 300)}", "refused")))
    return rows


def card(view: ProposalView, now: float, width: int) -> Content:
    """The card in the side panel. What does not fit into a line goes on below its own beginning."""
    told = [ink((printable(view.title, 200), "bold ink"))]
    if view.report:
        snippet = printable(str(view.report.get("snippet") or ""), 160)
        place = printable(
            f"{view.report.get('method', '')} {view.report.get('host', '')}{view.report.get('path', '')}", 160
        )
        told += [ink((text, "soft")) for text in (place.strip(), snippet) if text]
    elif view.justification:
        told.append(ink((printable(view.justification, 160), "soft")))
    rows = [spread(head(view), ink((clock(view, now), "faint")), width)]
    rows += [hanging(ink("  "), text, width) for text in told]
    rows += [hanging(ink("  ") + row[:_MARK], row[_MARK:], width) for row in warnings(view, 3)]
    return lines(rows)
