"""The archive: sessions that were put aside with their files. One is brought back, or removed for good once that was
asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from app.core import bottles
from app.core.text import printable
from app.core.units import ago
from app.screens.list_page import ListPage
from app.widgets.ink import ink
from app.widgets.key_bar import Key

if TYPE_CHECKING:
    from textual.content import Content

    from app.core.model import BottleView
    from app.screens.confirm import Confirm


class ArchiveScreen(ListPage["BottleView"]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("d,delete", "purge", "Remove it for good", show=False)]
    heading = "Archive"
    note = "stopped and put aside, with their files"
    empty = "The archive is empty: X puts a bottle into it"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "close", "screen.close"),
        Key("↵", "bring it back"),
        Key("d", "remove for good", "screen.purge"),
    )

    async def fetch(self) -> Sequence[BottleView]:
        found = await self.client.bottles(ended=True)
        return [view for view in found if view.kept == "archived"]

    def row(self, item: BottleView) -> Content:
        saved = f"snapshot {ago(self.carboy.clock() - item.saved_at)}" if item.saved_at else "no snapshot"
        return ink(
            (f"{ago(self.carboy.clock() - (item.ended_at or item.created_at)):>4}  ", "faint"),
            (f"{printable(item.slug, 63):<32} ", "bold ink"),
            (f"{printable(item.agent or item.provider, 40)} · {item.backend} · {saved}", "soft"),
        )

    def on_option_list_option_selected(self) -> None:
        if (item := self.chosen) is not None:
            self.work(f"bring {bottles.name(item)} back", self._restore(item), group="archive", alone=True)

    async def _restore(self, item: BottleView) -> None:
        view = await self.client.restore(item.slug)
        self.carboy.board.bottle(view)
        self.carboy.board_changed(bottles=True)
        self.carboy.notify(f"{bottles.name(view)} is back: p goes on with it")
        await self._load()

    def action_purge(self) -> None:
        if (item := self.chosen) is not None:
            ask = purge_question(item)
            run = lambda yes: self.work(f"remove {bottles.name(item)}", self._purge(item)) if yes else None  # noqa: E731
            self.carboy.push_screen(ask, run)

    async def _purge(self, item: BottleView) -> None:
        await self.client.purge(item.slug)
        self.carboy.notify(f"{bottles.name(item)} is gone for good")
        await self._load()


def purge_question(item: BottleView) -> Confirm:
    """Asked before a session's files are removed for good, here and on the main screen."""
    from app.screens.confirm import Confirm as Question

    copied = ("its copy of the project",) if item.workspace == "copy" else ()
    return Question(
        f"Remove {bottles.name(item)} for good?",
        "Remove it",
        losses=("its home, with the agent's conversation", *copied, "its snapshot and transcript"),
        kept=("usage, decisions and the audit trail",),
    )
