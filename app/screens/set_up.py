"""Which agent CLIs are here, an agent for each that is ticked, and the keys that they lack: `carboy init` in the app.
Nothing that is there is overwritten. A key lives in its field until the keyring has it, and nowhere afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Checkbox, Static

from app.core.text import printable
from app.screens.room import CLOSE, Box, explain
from app.widgets.ink import ink, marked
from app.widgets.masked import Masked
from app.widgets.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.content import Content
    from textual.widget import Widget

    from app.core.model import Ready, SetUp


class SetUpAgents(Box[bool]):
    """True once it is done."""

    BINDINGS: ClassVar[list[BindingType]] = [*CLOSE, Binding("ctrl+s", "begin", "Set up", show=False)]
    DEFAULT_CSS = """
    SetUpAgents { align: center middle; background: $background 60%; }
    SetUpAgents > VerticalScroll {
        width: 78; max-width: 96%; height: auto; max-height: 90%; border: round $accent; background: $panel;
        padding: 1 2; border-title-color: $accent; border-subtitle-color: $faint;
    }
    SetUpAgents Static { height: auto; }
    SetUpAgents .gap { margin-top: 1; }
    SetUpAgents Checkbox { border: none; padding: 0; background: $panel; width: 1fr; }
    SetUpAgents Checkbox:focus { border: none; background: $cursor; }
    """

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False) as box:
            box.border_title = ink(("Set up agents", "bold"))
            box.border_subtitle = ink(("space tick · tab next · ctrl+s set up · esc leave it", "faint"))
            yield Static(ink(("Looking which agent CLIs are here…", "soft")), id="word")

    def on_mount(self) -> None:
        self.work("look for agent CLIs", self._look(), group="set-up", alone=True)

    async def _look(self) -> None:
        found = await self.client.agents_here()
        await self.query_one(VerticalScroll).mount(*_rows(found))
        here = [one for one in found.agents if one.found]
        self._say(f"{len(here)} of {len(found.agents)} agent CLIs are on this machine" if here else _NONE, "soft")
        (self.query("Checkbox, Masked").first() if here else self).focus()

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        """Textual's own is told from an empty one by its colour alone."""
        event.checkbox.BUTTON_INNER = "X" if event.value else " "
        event.checkbox.refresh()

    def on_input_submitted(self) -> None:
        empty = next((field for field in self.query(Masked) if not field.value), None)
        if empty is None:
            self.action_begin()
        else:
            empty.focus()

    def action_begin(self) -> None:
        self._say("Setting up… the keyring may ask you to unlock it", "soft")
        self.work("set up", self._begin(), group="set-up", alone=True)

    async def _begin(self) -> None:
        from sidecar.secret import Secret

        chosen = tuple(box.name or "" for box in self.query(Checkbox) if box.value)
        made = await self.client.init(chosen)
        for field in self.query(Masked):
            if field.value:
                await self.client.set_secret(field.secret, Secret(field.value))
                field.value = ""
        names = ", ".join(printable(one.agent, 60) for one in made.agents)
        self.carboy.notify(f"Ready: {names}" if names else "The starter library is in your config folder")
        self.dismiss(True)

    def _say(self, text: str, tone: str = "refused") -> None:
        self.query_one("#word", Static).update(ink((text, tone)))

    def failed(self, what: str, error: Exception) -> None:
        self._say(f"✗ Could not {what}: {printable(explain(error), 600)}")


_NONE = "No agent CLI is on this machine yet; the starter library has agents for all of these"


def _rows(found: SetUp) -> Iterable[Widget]:
    """A tick for each that is here, a field for each key that is missing, and how to get the others."""
    for one in found.agents:
        if one.found:
            yield Checkbox(_title(one), value=True, name=one.provider, compact=True)
    wanted = dict.fromkeys(one.wants for one in found.agents if one.found and one.wants and one.wants not in os.environ)
    if wanted:
        where = f"Keys go into {printable(found.keyring, 40)}; empty: later" if found.keyring else found.hint
        yield Static(ink((printable(where, 400), "faint" if found.keyring else "asks")), classes="gap")
    if found.keyring:
        yield from (Masked(name, name) for name in wanted)
    missing = [one for one in found.agents if not one.found]
    hints = [ink((f"✗ {printable(one.title, 30)}: ", "soft"), (printable(one.hint, 200), "faint")) for one in missing]
    if hints:
        yield Rows([marked(text) for text in hints], classes="gap")


def _title(one: Ready) -> Content:
    key = f"{one.available} is there" if one.available else f"wants {' or '.join(one.secrets)}" if one.wants else ""
    if one.forwards:
        key = "logged in on this host"
    parts = (f"{one.title} {one.version}", f"agent {one.agent}", key)
    return ink((printable(" · ".join(part for part in parts if part), 120), "ink"))
