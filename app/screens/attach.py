"""The agent's terminal alone on the screen, with one line that says how to leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from app.commands import key_label
from app.core import bottles
from app.screens.room import Room
from app.screens.session import Session
from app.widgets.key_bar import Key, KeyBar

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from app.core.model import BottleView
    from app.messages import BoardChanged, BoardReplaced


class AttachScreen(Room):
    """Every key is the agent's but the leader, which closes the screen."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, view: BottleView) -> None:
        super().__init__()
        self.session = Session(view)

    def compose(self) -> ComposeResult:
        yield self.session
        view, leader = self.session.view, key_label(self.carboy.leader)
        yield KeyBar([Key(leader, "back", "screen.close"), Key("", f"{bottles.title(view)} · {view.provider}")])

    def on_screen_resume(self) -> None:
        self.session.focus_terminal()

    def take_leader(self) -> bool:
        self.action_close()
        return True

    def on_board_changed(self, event: BoardChanged) -> None:
        self._follow()

    def on_board_replaced(self, event: BoardReplaced) -> None:
        self._follow()

    def _follow(self) -> None:
        view = self.carboy.board.views.get(self.session.view.slug)
        if view is not None:
            self.session.update_view(view)
