"""The prompt library as a picker: a ready task is chosen by name and lands in the task field, to be changed there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.text import printable
from app.screens.overlay import Overlay
from app.widgets.picker import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.core.model import PromptEntry


class PromptPicker(Overlay):
    """`use` gets the task that was chosen."""

    title_text = "Ready tasks"
    note_text = "↵ take it, then change it · esc close · your own: prompts/NAME.md in the config folder"

    def __init__(self, entries: tuple[PromptEntry, ...], use: Callable[[PromptEntry], None]) -> None:
        super().__init__()
        self._entries = {entry.name: entry for entry in entries}
        self._use = use

    def choices(self) -> Iterable[Choice]:
        return [
            Choice(
                entry.name,
                entry.name,
                detail=printable(entry.description, 200),
                mark="✗" if entry.error else "●",
                tone="refused" if entry.error else "faint",
                reason=printable(entry.error or "", 300),
            )
            for entry in self._entries.values()
        ]

    def chosen(self, choice: Choice) -> None:
        self.dismiss(None)
        self._use(self._entries[choice.id])
