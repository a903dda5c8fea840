"""One journal entry as the parts of one line, each with its tone: columns that stay aligned at any width. Pure text;
everything that a bottle may have influenced goes through `printable` here."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from app.core.journal import Entry
from app.core.text import ELLIPSIS, printable
from app.core.units import count, time_of_day, took

TIME, VERDICT, METHOD, TOOK, SLUG = 9, 7, 8, 8, 15
"""Widths in cells of the columns that never change, each with its gap."""
NOTE = 30
"""Widest a reason or the sizes get; the target has the rest."""
ROOMY, USUAL = 84, 58
"""From these widths on, the duration and the note have columns of their own."""

SHORT = {"notice": "note", "warning": "warn", "error": "err", "refused": "no", "allowed": "gone"}
"""Words that fit beside the glyph. What was allowed and has no status: who asked went away before there was one."""

Part = tuple[str, str]
"""A tone, and its text."""


class Columns(NamedTuple):
    """Widths for one line; 0 leaves a column out."""

    slug: int
    target: int
    note: int
    took: int


def columns(width: int, show_slug: bool) -> Columns:
    """How `width` cells are shared out: the target has at least a third, the note what it needs, the rest follows."""
    slug = SLUG if show_slug and width >= USUAL + SLUG else 0
    rest = max(0, width - TIME - VERDICT - METHOD - slug)
    duration = TOOK if width >= ROOMY + slug else 0
    rest -= duration
    note = min(NOTE, rest * 2 // 5) if width >= USUAL else 0
    return Columns(slug, rest - note, note, duration)


def parts(entry: Entry, widths: Columns) -> list[Part]:
    """The line's parts. A refusal's reason takes the place of the target's end where there is no column for it."""
    verdict = entry.verdict
    line: list[Part] = [("time", time_of_day(entry.at) + " ")]
    if entry.kind == "notice":
        room = widths.slug + widths.target + widths.note + widths.took + METHOD
        text = fit(printable(entry.reason, 400), room)
        return [*line, (verdict.tone, fit(f"{verdict.glyph} {_short(entry)}", VERDICT)), ("soft", text)]
    line.append((verdict.tone, fit(f"{verdict.glyph} {outcome(entry)}", VERDICT)))
    if widths.slug:
        line.append(("soft", fit(printable(entry.slug, SLUG), widths.slug)))
    line.append(("method", fit(printable(entry.method or "·", METHOD), METHOD)))
    tone, text = note(entry)
    target = printable(entry.target, 400)
    if not widths.note and tone != "quiet":
        line.append((tone, fit(f"{printable(entry.host, 80)} {text}", widths.target)))
        return line
    line.append(("ink", fit(target, widths.target)))
    if widths.note:
        line.append((tone, fit(text, widths.note)))
    if widths.took:
        line.append(("quiet", fit(took(entry.ms) if entry.ms else "", widths.took, right=True)))
    return line


def outcome(entry: Entry) -> str:
    """The status that the bottle saw, or the word for what happened instead."""
    if entry.decision == "hold":
        return "held"
    if entry.open:
        return "open"
    if entry.status is not None:
        return str(entry.status)
    return _short(entry)


def _short(entry: Entry) -> str:
    return SHORT.get(entry.verdict.word, entry.verdict.word[:4])


def note(entry: Entry) -> Part:
    """What the last wide column says: why not, else how much went up and came down."""
    if entry.decision in ("deny", "hold", "redact", "error"):
        return entry.verdict.tone, printable(entry.why, 200)
    if outcome(entry) == SHORT["allowed"]:
        return "quiet", printable(entry.why, 200)
    if entry.bytes_up or entry.bytes_down:
        return "quiet", f"{count(entry.bytes_up)} → {count(entry.bytes_down)}"
    return "quiet", ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells, cut with an ellipsis, with a gap of one cell at its end."""
    if width <= 0:
        return ""
    room = max(1, width - 1)
    if cell_len(text) > room:
        text = set_cell_size(text, max(0, room - 1)).rstrip() + ELLIPSIS
    padded = set_cell_size(text, room)
    if right:
        padded = padded.rstrip().rjust(room) if cell_len(text) == len(text) else padded
    return padded + " "
