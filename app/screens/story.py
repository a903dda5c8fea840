"""One request's whole story, over the screen it was opened from: what was asked, what was decided and why, what went
up and came down. Everything in it may be hostile, so it is drawn as text, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from app.core.text import printable, printable_lines
from app.core.units import date_and_time, size, took
from app.screens.page import fact
from app.screens.room import CLOSE, Box
from app.widgets.ink import Row, ink
from app.widgets.rows import Rows

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from app.core.journal import Entry

KNOWN = frozenset(
    {
        "id",
        "at",
        "kind",
        "request_id",
        "phase",
        "decision",
        "code",
        "reason",
        "method",
        "scheme",
        "host",
        "port",
        "path",
    }
    | {"protocol", "status", "bytes_up", "bytes_down", "ms", "address", "level", "text"}
)


class Story(Box[None]):
    BINDINGS: ClassVar[list[BindingType]] = [*CLOSE, Binding("enter,q", "close", "Close", show=False)]
    AUTO_FOCUS = "VerticalScroll"
    DEFAULT_CSS = """
    Story { align: center middle; background: $background 60%; }
    Story > VerticalScroll {
        width: 92; max-width: 94%; height: auto; max-height: 90%; border: round $accent; background: $panel;
        padding: 1 2; border-title-color: $accent; border-subtitle-color: $faint;
    }
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = ink(("The request's story" if self.entry.kind == "egress" else "Notice", "bold"))
            box.border_subtitle = ink(("esc closes", "faint"))
            yield Rows(story(self.entry))


def story(entry: Entry) -> list[Row]:
    """The lines of a story."""
    glyph, word, tone = entry.verdict
    when = fact("when", f"{date_and_time(entry.at)}   event {entry.seq}")
    if entry.kind == "notice":
        return [
            ink((f"{glyph} {printable(entry.reason, 1000)}", tone)),
            ink(),
            when,
            fact("code", printable(entry.code, 64)),
        ]
    data = entry.data
    scheme = printable(str(data.get("scheme") or "https"), 16)
    rows: list[Row] = [
        ink(
            (f"{glyph} {word}", f"bold {tone}"), (f"  {printable(entry.reason, 500)}", tone if entry.reason else "soft")
        ),
        ink(),
        ink((printable(entry.method, 32), "bold ink"), " ", (printable(f"{scheme}://{entry.target}", 1400), "ink")),
        ink(),
        fact("decision", f"{word} ({printable(entry.decision, 20)}), code {printable(entry.code, 64)}"),
        when,
        fact("status", "none: nothing was answered" if entry.status is None else str(entry.status)),
        fact("took", "still open" if entry.open else took(entry.ms)),
        fact("bodies", f"↑ {size(entry.bytes_up)} sent   ↓ {size(entry.bytes_down)} received"),
        fact("protocol", printable(str(data.get("protocol") or "unknown"), 32)),
        fact("address", printable(str(data.get("address") or "no connection was made"), 64)),
        fact("bottle", printable(entry.slug, 63)),
        fact("request", printable(entry.request_id, 64)),
    ]
    detail = data.get("detail")
    extra: dict[str, Any] = {name: value for name, value in data.items() if name not in KNOWN | {"detail"}}
    for name, value in {**(detail if isinstance(detail, dict) else {}), **extra}.items():
        rows.append(fact(printable(str(name), 40), printable_lines(str(value), 2000)))
    return rows
