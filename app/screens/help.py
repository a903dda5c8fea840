"""All keys, made from the table of commands: what is listed here is what is bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.widgets import Static

from app.commands import COMMANDS, key_label
from app.screens.page import MAX_WIDTH, Page, PageBody, heading
from app.widgets.ink import hanging, ink, lines
from app.widgets.key_bar import Key

if TYPE_CHECKING:
    from textual.content import Content

LISTS = (
    ("↑ ↓  j k", "move"),
    ("home end  g G", "first, last; in the egress log the last one follows again"),
    ("tab  shift+tab", "next panel, the one before"),
    ("↑ ↓  pgup pgdn", "in the Bottle panel: scroll the column of panels where the window is too low for it"),
    ("enter", "open what is under the cursor: a terminal, one request's whole story"),
    ("esc", "close, or one step back"),
)


class Help(Page):
    heading = "Keys"
    keys: ClassVar[tuple[Key, ...]] = (Key("esc", "close", "screen.close"),)

    def __init__(self) -> None:
        super().__init__()
        self._drawn = 0

    def on_resize(self) -> None:
        if self._drawn and self._drawn != self.width:
            self.query_one("#page-text", Static).update(lines(self._rows()))

    @property
    def width(self) -> int:
        """Cells in a line of the text, beside the scroll bar."""
        body = self.query_one(PageBody)
        return min(MAX_WIDTH, self.size.width - body.gutter.width - body.styles.scrollbar_size_vertical)

    async def rows(self) -> list[Content]:
        return self._rows()

    def _rows(self) -> list[Content]:
        self._drawn = self.width
        leader = key_label(self.carboy.leader)
        rows = [
            ink(
                (leader, "bold accent"), ("  leaves the agent's terminal; until then every key is the agent's.", "ink")
            ),
            ink((f"Pressed once more, {leader} itself goes to the agent. settings.yml: leader_key.", "faint")),
        ]
        groups = dict.fromkeys(item.group for item in COMMANDS)
        for group in groups:
            rows += heading(group)
            rows += [
                hanging(
                    ink((f"{key_label(item.key):>8}  ", "bold accent"), (f"{item.title:<30}", "ink")),
                    ink((item.help, "faint")),
                    self.width,
                )
                for item in COMMANDS
                if item.group == group
            ]
        rows += heading("Lists and panels")
        rows += [
            hanging(ink((f"{keys:>16}  ", "bold accent")), ink((text, "soft")), self.width) for keys, text in LISTS
        ]
        return rows
