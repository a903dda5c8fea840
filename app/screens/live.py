"""For screens that show usage: asked for again when the controller has told of more, while they are on top. Nothing is
asked of the controller to find out; the app's event stream has told it already."""

from __future__ import annotations

from typing import Any

from app.screens.room import Room

LOOK_SECONDS = 1.0
"""Most often that a screen asks again while agents work."""


class LiveRoom(Room):
    """Subclasses give `ask_again`."""

    _told: dict[str, Any] | None = None

    def on_mount(self) -> None:
        self._told = self.carboy.board.totals
        self.set_interval(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if self.app.screen is self and self.carboy.board.totals is not self._told:
            self._told = self.carboy.board.totals
            self.ask_again()

    def ask_again(self) -> None:
        raise NotImplementedError
