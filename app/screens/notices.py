"""The notification centre: the last hundred notices. Enter goes to where one came from; they are marked as read, and
cleared once that was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from app.core.text import printable
from app.core.units import ago
from app.screens.list_page import ListPage
from app.widgets.ink import ink
from app.widgets.key_bar import Key

if TYPE_CHECKING:
    from textual.content import Content

    from app.core.notices import Notice
    from app.messages import BoardChanged

MARKS = {
    "success": ("✓", "ok"),
    "agent_complete": ("✓", "ok"),
    "info": ("·", "soft"),
    "warning": ("▲", "asks"),
    "error": ("!", "error"),
    "agent_error": ("✗", "refused"),
}


class NoticesScreen(ListPage["Notice"]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "read", "Mark all as read", show=False),
        Binding("c", "clear", "Clear", show=False),
    ]
    heading = "Notices"
    empty = "Nothing has happened that you should hear of"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "close", "screen.close"),
        Key("↵", "go to it"),
        Key("m", "mark as read", "screen.read"),
        Key("c", "clear", "screen.clear"),
    )

    async def fetch(self) -> Sequence[Notice]:
        return await self.client.notices()

    def show(self, items: Sequence[Notice]) -> None:
        unread = sum(not item.read for item in items)
        self.note = f"{unread} unread of {len(items)}" if items else ""
        super().show(items)

    def on_board_changed(self, event: BoardChanged) -> None:
        if event.notices:
            self.show(self.carboy.notices)

    def row(self, item: Notice) -> Content:
        glyph, tone = MARKS.get(item.level, ("·", "soft"))
        return ink(
            ("  " if item.read else "● ", "accent"),
            (f"{ago(self.carboy.clock() - item.at):>4}  ", "faint"),
            (f"{glyph} ", f"bold {tone}"),
            (f"{printable(item.title, 80)}  ", "soft" if item.read else "bold ink"),
            (printable(item.text, 200), "faint"),
        )

    def on_option_list_option_selected(self) -> None:
        item = self.chosen
        if item is None:
            return
        card = next((view for view in self.carboy.proposals if view.id == item.proposal), None)
        if card is not None:
            from app.screens.proposal import ProposalScreen

            self.carboy.push_screen(ProposalScreen(card))
        elif item.slug in self.carboy.board.views:
            self.app.call_later(self.carboy.go_to, item.slug)
        else:
            self.say(f"{printable(item.slug, 60) or 'It'} is not here any more", "asks")

    def action_read(self) -> None:
        if self.items:
            self.work("mark them as read", self._read(max(item.id for item in self.items)))

    async def _read(self, upto: int) -> None:
        self.carboy.notices_read(tuple(await self.client.read_notices(upto)))

    def action_clear(self) -> None:
        from app.screens.confirm import Confirm

        if self.items:
            question = Confirm("Clear all notices?", "Clear them", losses=("the list",), kept=("what they were about",))
            self.carboy.push_screen(question, lambda yes: self.work("clear them", self._clear()) if yes else None)

    async def _clear(self) -> None:
        await self.client.clear_notices()
        self.carboy.notices_read(())
