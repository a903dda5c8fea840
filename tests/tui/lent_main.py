"""An app that draws without end, and lends its terminal to $EDITOR meanwhile. Ends with 0 if it has that back."""

import asyncio
import sys
from typing import Any, cast

from textual.app import App, ComposeResult
from textual.widgets import Static

from app.screens.page import Page
from app.screens.proposal import edit_outside


class Lending(App[int]):
    drawn = 0

    def compose(self) -> ComposeResult:
        yield Static(id="text")

    def on_mount(self) -> None:
        self.set_interval(0.01, self.draw)
        self.run_worker(self.lend(), exit_on_error=True)

    def draw(self) -> None:
        self.drawn += 1
        self.query_one("#text", Static).update(f"drawn {self.drawn}")
        self.bell()

    async def lend(self) -> None:
        wrote = await edit_outside(cast("Page", cast("Any", self.screen)), "before")
        before = self.drawn
        while self.drawn < before + 30:
            await asyncio.sleep(0.01)
        self.exit(0 if wrote == "after" else 3)


if __name__ == "__main__":
    sys.exit(Lending().run())
