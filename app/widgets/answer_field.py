"""The field of a box that a single key has opened. The same key, pressed again at once, is a habit of the fingers
(`a a ↵` from the main screen): it is not typed into the field, where it would replace what stands there."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from textual.widgets import Input

from app.widgets.approvals_panel import DEAD_TIME

if TYPE_CHECKING:
    from textual.events import Key

OPENING = {"allow": frozenset("ayA"), "reject": frozenset("r")}
"""Keys that open a box for this answer."""


class AnswerField(Input):
    """Takes none of the keys `deaf` until half a second has passed without one."""

    def __init__(
        self, value: str, *, deaf: frozenset[str], max_length: int = 0, placeholder: str = "", id: str | None = None
    ) -> None:
        super().__init__(value, max_length=max_length, placeholder=placeholder, compact=True, id=id)
        self._deaf = deaf
        self._until = monotonic() + DEAD_TIME

    def on_mount(self) -> None:
        self._until = monotonic() + DEAD_TIME

    def on_key(self, event: Key) -> None:
        if event.character in self._deaf and monotonic() < self._until:
            self._until = monotonic() + DEAD_TIME
            event.prevent_default()
            event.stop()
        elif event.is_printable:
            self._until = 0.0
