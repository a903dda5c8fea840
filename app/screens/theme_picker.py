"""Themes, shown while the cursor is on them. The choice holds for this window; `theme` in settings.yml keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import themes
from app.screens.overlay import Overlay
from app.widgets.picker import Choice, Picker

if TYPE_CHECKING:
    from collections.abc import Iterable


class ThemePicker(Overlay):
    title_text = "Theme"
    note_text = "for this window; `theme:` in settings.yml keeps it"

    def on_mount(self) -> None:
        self.before = self.app.theme
        super().on_mount()

    def choices(self) -> Iterable[Choice]:
        return [Choice(name, themes.TITLES[name], note=name) for name in themes.PALETTES]

    def on_picker_highlighted(self, event: Picker.Highlighted) -> None:
        if event.choice is not None:
            self.app.theme = event.choice.id

    def chosen(self, choice: Choice) -> None:
        self.app.theme = choice.id
        self.dismiss(None)

    def action_close(self) -> None:
        self.app.theme = self.before
        self.dismiss(None)
