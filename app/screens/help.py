"""All keys, made from the table of commands: what is listed here is what is bound."""

from __future__ import annotations

from typing import ClassVar

from app.commands import COMMANDS, key_label
from app.screens.page import Page, heading
from app.widgets.ink import Hanging, Row, ink
from app.widgets.key_bar import Key

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

    async def rows(self) -> list[Row]:
        leader = key_label(self.carboy.leader)
        rows: list[Row] = [
            ink(
                (leader, "bold accent"), ("  leaves the agent's terminal; until then every key is the agent's.", "ink")
            ),
            ink((f"Pressed once more, {leader} itself goes to the agent. settings.yml: leader_key.", "faint")),
        ]
        groups = dict.fromkeys(item.group for item in COMMANDS)
        for group in groups:
            rows += heading(group)
            rows += [
                Hanging(
                    ink((f"{key_label(item.key):>8}  ", "bold accent"), (f"{item.title:<30}", "ink")),
                    ink((item.help, "faint")),
                )
                for item in COMMANDS
                if item.group == group
            ]
        rows += heading("Lists and panels")
        rows += [Hanging(ink((f"{keys:>16}  ", "bold accent")), ink((text, "soft"))) for keys, text in LISTS]
        return rows
