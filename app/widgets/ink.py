"""Styled text built from plain parts, never parsed: the one way in which widgets and screens make text with colours.
Styles are the theme's names (`soft`, `ok`, `bold asks`); a name may be followed by an action for the mouse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content
from textual.style import Style

if TYPE_CHECKING:
    from textual.events import Click
    from textual.widget import Widget

_WORDS = frozenset({"bold", "dim", "italic", "underline", "reverse", "strike", "not", "on"})

PRESS = "press"
"""Key of the action in a style's meta data."""

LEAST = 16
"""Cells that a hanging text has at least."""

Part = str | tuple[str, str] | Content


def style(names: str) -> str:
    """`bold asks` as Textual writes it: `bold $asks`."""
    return " ".join(word if word in _WORDS or word.startswith("$") else f"${word}" for word in names.split())


def ink(*parts: Part) -> Content:
    """Join parts, `(text, style names)` or plain text. Text is taken as it is: markup in it means nothing."""
    return Content.assemble(*((part[0], style(part[1])) if isinstance(part, tuple) else part for part in parts))


def pressable(action: str, *parts: Part) -> Content:
    """Parts that run `action` when the mouse clicks them, in a widget that is `Pressable`. They keep their colours,
    unlike Textual's own links."""
    return ink(*parts).stylize(Style.from_meta({PRESS: action}))


class Pressable:
    """Mixed into a widget: runs the action of the part under the mouse."""

    async def on_click(self, event: Click) -> None:
        action = event.style.meta.get(PRESS)
        if action:
            event.stop()
            await self.run_action(action)  # type: ignore[attr-defined]


def lines(rows: list[Content]) -> Content:
    """Rows, one a line."""
    return Content("\n").join(rows)


def refresh(widget: Widget, old: Content, new: Content) -> None:
    """Draw a widget as high as its content again. The screen is laid out anew (10 to 20 ms) only where `new` is higher
    or lower than `old`."""
    width = widget.content_size.width
    widget.refresh(layout=not width or old.get_height({}, width) != new.get_height({}, width))


def hanging(head: Content, text: Content, width: int) -> Content:
    """`text` after `head`, wrapped within `width` cells so that it stays in its own column."""
    first, *more = text.wrap(max(1, width - head.cell_length)) or [text]
    return lines([head + first, *(line.pad_left(head.cell_length) for line in more)])


@dataclass(frozen=True)
class Hanging:
    """A row whose `text` stays in its own column, however wide the window is (`hanging`)."""

    head: Content
    text: Content

    @property
    def plain(self) -> str:
        return self.head.plain + self.text.plain


type Row = Content | Hanging


def marked(text: Content, cells: int = 2) -> Hanging:
    """A row that begins with a mark of so many cells, its space with it, and hangs behind that."""
    return Hanging(text[:cells], text[cells:])


def laid(rows: Iterable[Row], width: int) -> Content:
    """Rows as they stand in `width` cells. One whose text would have too little room stands below its head."""
    return lines([_row(row, width) for row in rows])


def _row(row: Row, width: int) -> Content:
    if not isinstance(row, Hanging):
        return row
    if row.head.cell_length + LEAST > width > LEAST:
        return lines([row.head.rstrip(), hanging(Content("  "), row.text, width)])
    return hanging(row.head, row.text, width)


def spread(left: Content, right: Content, width: int) -> Content:
    """`left` and `right` at the two ends of a line of `width` cells; the left one is cut where both do not fit."""
    room = width - right.cell_length - (1 if right else 0)
    if left.cell_length > room:
        left = left.truncate(max(1, room), ellipsis=True)
    gap = max(1 if right else 0, width - left.cell_length - right.cell_length)
    return Content.assemble(left, " " * gap, right)
