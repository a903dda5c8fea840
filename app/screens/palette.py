"""Our own command palette: every command of the table, and every bottle by name. Textual's is off: its key is the
agent's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.commands import COMMANDS, key_label
from app.core import bottles
from app.screens.overlay import Overlay
from app.widgets.picker import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable


class Palette(Overlay):
    title_text = "Commands"

    def choices(self) -> Iterable[Choice]:
        yield from (
            Choice(f"command {item.id}", item.title, note=key_label(item.key), detail="")
            for item in COMMANDS
            if item.id != "palette"
        )
        for view in self.carboy.board.ordered():
            glyph, word, tone = bottles.mark(view)
            yield Choice(f"bottle {view.slug}", f"go to {bottles.title(view)}", note=word, mark=glyph, tone=tone)

    def chosen(self, choice: Choice) -> None:
        kind, _, name = choice.id.partition(" ")
        self.dismiss(None)
        if kind == "bottle":
            self.app.call_later(self.carboy.go_to, name)
        else:
            self.app.call_later(self.carboy.run_command, name)
