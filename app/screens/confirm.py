"""Asks once before something is lost, and says what. The safe answer is the one that a stray key gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical

from app.screens.room import CLOSE, Box
from app.widgets.ink import Hanging, Pressable, Row, ink, pressable
from app.widgets.rows import Rows

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Buttons(Pressable, Rows):
    """Text with parts that can be clicked."""


class Confirm(Box[bool]):
    """`losses` are what is gone afterwards, `kept` what stays."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *CLOSE,
        Binding("y", "yes", "Yes", show=False),
        Binding("n,q", "close", "No", show=False),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; background: $background 60%; }
    Confirm > Vertical {
        width: 64; max-width: 90%; height: auto; border: round $asks; background: $panel; padding: 1 2;
        border-title-color: $asks;
    }
    """

    def __init__(self, question: str, verb: str, *, losses: tuple[str, ...] = (), kept: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.question, self.verb, self.losses, self.kept = question, verb, losses, kept

    def compose(self) -> ComposeResult:
        rows: list[Row] = [ink((self.question, "bold ink"))]
        if self.losses:
            rows += [ink(), *(Hanging(ink(("✗ lost  ", "refused")), ink((text, "soft"))) for text in self.losses)]
        if self.kept:
            rows += [ink(), *(Hanging(ink(("✓ kept  ", "ok")), ink((text, "soft"))) for text in self.kept)]
        yes = pressable("screen.yes", ("y", "bold accent"), (f" {self.verb}", "ink"))
        no = pressable("screen.close", ("esc", "bold accent"), (" leave it", "ink"))
        rows += [ink(), yes + ink("     ") + no]
        with Vertical() as box:
            box.border_title = ink((self.verb, "bold"))
            yield Buttons(rows)

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_close(self) -> None:
        self.dismiss(False)
