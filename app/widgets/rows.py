"""Lines of text at whatever width the widget has: a row that hangs goes on below its own text, also after the window
became wider or narrower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import VerticalScroll
from textual.widget import Widget

from app.widgets.ink import Row, ink, laid, refresh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.content import Content
    from textual.geometry import Size


BLOCK = 100
"""Rows that are drawn together: what nobody looks at costs its height alone."""


class Rows(Widget):
    DEFAULT_CSS = "Rows { height: auto; }"

    def __init__(self, rows: Sequence[Row] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows = tuple(rows)
        self._drawn: tuple[int, Content] | None = None

    def show(self, rows: Sequence[Row]) -> None:
        width = self.content_size.width
        old = self._at(width)
        self._rows, self._drawn = tuple(rows), None
        if not width or not self._at(width).is_same(old):
            refresh(self, old, self._at(width))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._at(width).get_height({}, width)

    def render(self) -> Content:
        return self._at(self.content_size.width)

    def _at(self, width: int) -> Content:
        if not width:
            return ink()
        if self._drawn is None or self._drawn[0] != width:
            self._drawn = width, laid(self._rows, width)
        return self._drawn[1]


class Blocks(VerticalScroll):
    """Any number of rows, in blocks of which those out of sight are not drawn: thousands at once take a second."""

    def __init__(self, rows: Sequence[Row] | None = None, *, can_focus: bool = True) -> None:
        """With `rows` its first block is there from the first frame on; without, it is a plain scroll."""
        super().__init__(can_focus=can_focus)
        self._blocks = [] if rows is None else [Rows(rows)]

    def compose(self) -> ComposeResult:
        yield from self._blocks

    def show(self, rows: Sequence[Row]) -> None:
        parts = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)] or [()]
        for block in self._blocks[len(parts) :]:
            block.remove()
        del self._blocks[len(parts) :]
        for block, part in zip(self._blocks, parts, strict=False):
            block.show(part)
        new = [Rows(part) for part in parts[len(self._blocks) :]]
        self._blocks += new
        self.mount(*new)
