"""The line at the bottom: the keys that do something here, in order of use, cut to the width; each can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content
from textual.widget import Widget

from app.widgets.ink import Pressable, ink, pressable


class Key(NamedTuple):
    """A key as it reads on the keyboard, what it does in a word or two, and the action for the mouse."""

    key: str
    word: str
    action: str = ""


class KeyBar(Pressable, Widget):
    """Shows as many keys as fit; the last one (help, usually) always stays. A remark, which has no key, is there only
    where all of them fit."""

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $panel; color: $faint; padding: 0 1; dock: bottom; }
    """

    def __init__(self, keys: Sequence[Key] = (), id: str | None = None) -> None:
        super().__init__(id=id)
        self.keys = tuple(keys)

    def show(self, keys: Sequence[Key]) -> None:
        """Offer other keys: the focus moved."""
        if tuple(keys) != self.keys:
            self.keys = tuple(keys)
            self.refresh()

    def render(self) -> Content:
        pieces, room = [self._piece(key) for key in self.keys], self.size.width
        if sum(piece.cell_length + 3 for piece in pieces) - 3 > room:
            pieces = [self._piece(key) for key in self.keys if key.key]
        if not pieces:
            return Content("")
        last = pieces[-1]
        used, shown = last.cell_length, list[Content]()
        for piece in pieces[:-1]:
            if used + piece.cell_length + 3 > room:
                break
            used += piece.cell_length + 3
            shown.append(piece)
        return Content("   ").join([*shown, last])

    @staticmethod
    def _piece(key: Key) -> Content:
        parts = ((key.key, "bold accent"), (f" {key.word}", "faint"))
        return pressable(key.action, *parts) if key.action else ink(*parts)
