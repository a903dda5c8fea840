"""Asks for secrets that a running bottle's sidecar lacks, and gives them to the controller. Values live in the fields
until then, and nowhere afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.widgets import Static

from app.core import bottles
from app.core.text import printable
from app.screens.room import Box, explain
from app.widgets.ink import ink
from app.widgets.masked import Masked

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from app.core.model import BottleView


class GiveSecrets(Box[bool]):
    """True once they are given."""

    DEFAULT_CSS = """
    GiveSecrets { align: center middle; background: $background 60%; }
    GiveSecrets > Vertical {
        width: 72; max-width: 94%; height: auto; border: round $asks; background: $panel; padding: 1 2;
        border-title-color: $asks; border-subtitle-color: $faint;
    }
    GiveSecrets Static { height: auto; margin-bottom: 1; }
    """

    def __init__(self, view: BottleView) -> None:
        super().__init__()
        self.slug, self.named, self.names = view.slug, bottles.name(view), view.missing_secrets

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = ink((f"Secrets of {self.named}", "bold"))
            box.border_subtitle = ink(("↵ next, and give · esc leave it", "faint"))
            yield Static(
                ink(("They stay in memory, outside the bottle; nothing is written to disk.", "soft")), id="word"
            )
            for name in self.names:
                found = ": empty takes the one of this environment" if os.environ.get(name) else ""
                yield Masked(name, f"{name}{found}")

    def on_mount(self) -> None:
        self.query(Masked).first().focus()

    def on_input_submitted(self) -> None:
        fields = list(self.query(Masked))
        empty = next((field for field in fields if not self._value(field)), None)
        if empty is not None:
            empty.focus()
            return
        self.work("give the secrets", self._give({field.secret: self._value(field) for field in fields}), alone=True)

    def _value(self, field: Masked) -> str:
        return field.value or os.environ.get(field.secret, "")

    async def _give(self, values: dict[str, str]) -> None:
        from sidecar.secret import Secret

        view = await self.client.give_secrets(self.slug, {name: Secret(value) for name, value in values.items()})
        self.carboy.board.bottle(view)
        self.carboy.board_changed(bottles=True)
        self.dismiss(True)

    def failed(self, what: str, error: Exception) -> None:
        self.query_one("#word", Static).update(ink((f"✗ {printable(explain(error), 600)}", "refused")))

    def action_close(self) -> None:
        self.dismiss(False)
