"""The panels beside the terminal: what was refused, totals and posture of the selected bottle. Drawn from
snapshots; the buttons in them are actions of the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets.option_list import Option

from app.core import bottles
from app.core.text import printable
from app.core.units import count, size
from app.widgets.ink import Hanging, Pressable, Row, ink, lines, marked, pressable, spread
from app.widgets.option_list import Options
from app.widgets.rows import Rows

if TYPE_CHECKING:
    from textual.events import Resize

    from app.core.board import Refusal, Tally
    from app.core.journal import Entry
    from app.core.model import BottleView


MOST = 50
"""Refusals drawn; who wants more of them looks at the log."""


class RefusalsPanel(Options):
    """What the selected bottle was refused, and what failed: by host and reason, the latest first."""

    DEFAULT_CSS = """
    RefusalsPanel { height: 1fr; min-height: 4; }
    """

    class Opened(Message):
        """The operator wants the story of the latest of these refusals."""

        def __init__(self, entry: Entry) -> None:
            super().__init__()
            self.entry = entry

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._refusals: tuple[Refusal, ...] | None = None

    def on_mount(self) -> None:
        self.show(())

    def show(self, refusals: Sequence[Refusal]) -> None:
        """Draw these refusals, latest first."""
        if tuple(refusals) == self._refusals:
            return
        self._refusals = tuple(refusals)
        total = sum(item.times for item in refusals if item.last.decision == "deny")
        self.border_title = ink(("Refused", "bold"), (f" {count(total)}", "bold refused") if total else "")
        self._draw()

    def _draw(self) -> None:
        held = self._refusals or ()
        at = self.highlighted
        if held:
            self.set_options([Option(self._row(item)) for item in held[:MOST]])
            self.highlighted = min(at, len(held) - 1, MOST - 1) if at is not None else None
        else:
            self.set_options([Option(ink(("✓ Nothing was refused", "soft")), disabled=True)])

    def _row(self, item: Refusal) -> Content:
        width = max(10, self.scrollable_content_region.width - 2)
        verdict = item.last.verdict
        head = ink((f"{verdict.glyph} ", verdict.tone), (printable(item.host, 80), "ink"))
        why = printable(item.last.why, 200)
        return lines(
            [
                spread(head, ink((f"{count(item.times)}×", "soft")), width),
                spread(ink((f"  {why}", "faint")), ink(), width),
            ]
        )

    def on_resize(self, event: Resize) -> None:
        if self._refusals is not None:
            self._draw()

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        if self._refusals and event.option_index < len(self._refusals):
            self.post_message(self.Opened(self._refusals[event.option_index].last))


class TotalsPanel(Pressable, Rows, can_focus=True):
    """Numbers, sidecar and posture of the selected bottle. It takes the focus for one thing: where the column is too
    low for all of it, the column's own keys then scroll."""

    DEFAULT_CSS = """
    TotalsPanel { height: auto; padding: 0 1; }
    """

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__([_NO_BOTTLE], id=id, classes=classes)
        self.border_title = ink(("Bottle", "bold"))

    def draw(self, view: BottleView | None, tally: Tally, now: float) -> None:
        """One bottle's totals."""
        self.show([_NO_BOTTLE] if view is None else self._totals(view, tally, now))

    def _totals(self, view: BottleView, tally: Tally, now: float) -> list[Row]:
        health = bottles.sidecar(view, now)
        rows: list[Row] = [
            _fact(
                "requests",
                ink(
                    (f"✓ {count(view.allowed)}", "ok"),
                    "  ",
                    (f"✗ {count(view.refused)}", "refused" if view.refused else "faint"),
                ),
            ),
            _fact("bodies", ink((f"↑ {size(tally.bytes_up)}  ↓ {size(tally.bytes_down)}", "soft"))),
            _fact("sidecar", ink((f"{health.glyph} {health.word}", health.tone))),
        ]
        if bottles.live(view):
            rows.append(_fact("", pressable("screen.restart_sidecar", ("R", "bold accent"), (" restart it", "faint"))))
        if view.sidecar.last_error and view.sidecar.state in ("restarting", "failed"):
            rows.append(_fact("", ink((printable(view.sidecar.last_error, 200), "refused"))))
        if gone := bottles.lost(view):
            rows.append(marked(ink((f"✗ {gone}", "refused"))))
        if missing := bottles.missing(view):
            rows.append(marked(ink((f"▲ {missing}", "asks"))))
            rows.append(_fact("", pressable("screen.info", ("i", "bold accent"), (" then s gives it", "faint"))))
        rows.append(_fact("runs in", ink((bottles.where(view), "soft"))))
        rows.append(_fact("sees", ink((f"{view.workspace} {printable(view.cwd, 200)}", "soft"))))
        if view.error:
            rows.append(marked(ink((f"✗ {printable(view.error, 300)}", "refused"))))
        rows += [marked(ink((f"▲ {printable(text, 300)}", "asks"))) for text in view.notes]
        return rows


_NO_BOTTLE = ink(("No bottle is selected", "faint"))


def _fact(name: str, value: Content) -> Hanging:
    return Hanging(ink((f"{name:<9}", "faint")), value)
