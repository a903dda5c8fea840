"""The field of a box that a single key has opened. The same key, pressed once more, is a habit of the fingers
(`a a ↵` from the main screen): it is not typed into the field, where it would replace what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Input

if TYPE_CHECKING:
    from textual.events import Key, Paste

OPENING = {"allow": frozenset("ayA"), "reject": frozenset("r")}
"""Keys that open a box for this answer."""


class AnswerField(Input):
    """While nothing was typed, the keys `deaf` wait for what comes next: a letter, and they were the beginning of a
    word; anything else, and they were nothing."""

    def __init__(
        self, value: str, *, deaf: frozenset[str], max_length: int = 0, placeholder: str = "", id: str | None = None
    ) -> None:
        super().__init__(value, max_length=max_length, placeholder=placeholder, compact=True, id=id)
        self._deaf = deaf
        self._begun = ""
        self._typed = False

    def on_key(self, event: Key) -> None:
        char = event.character if event.is_printable else None
        if self._typed:
            return
        if char is not None and char in self._deaf:
            self._begun = self._begun if char in self._begun else self._begun + char
            event.prevent_default()
            event.stop()
            return
        self._typed = True
        if self._begun and char is not None and (char.isalpha() or char == " "):
            self.replace(self._begun, *self.selection)

    def on_paste(self, event: Paste) -> None:
        self._typed = True
