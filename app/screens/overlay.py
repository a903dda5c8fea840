"""A picker over the screen: commands, themes. It closes when something is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical

from app.screens.room import Box
from app.widgets.ink import ink
from app.widgets.picker import Choice, Picker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult


class Overlay(Box[None]):
    """Subclasses give `choices()` and act in `chosen()`."""

    DEFAULT_CSS = """
    Overlay { align: center top; background: $background 60%; }
    Overlay > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 80%; margin-top: 2; border: round $accent;
        background: $panel; padding: 0 1; border-title-color: $accent; border-subtitle-color: $faint;
    }
    Overlay Picker, Overlay Picker > Options { height: auto; background: $panel; }
    Overlay Picker > Options { max-height: 24; }
    """
    title_text = ""
    note_text = ""

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = ink((self.title_text, "bold"))
            box.border_subtitle = ink((self.note_text or "↵ choose · esc close", "faint"))
            yield Picker(self.choices(), picked=self._picked)

    def on_mount(self) -> None:
        self.query_one(Picker).focus()

    def _picked(self, choice: Choice) -> None:
        if choice.reason:
            self.carboy.notify(choice.reason, severity="warning")
        else:
            self.chosen(choice)

    def choices(self) -> Iterable[Choice]:
        raise NotImplementedError

    def chosen(self, choice: Choice) -> None:
        raise NotImplementedError
