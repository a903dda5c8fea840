"""A screen that is read: a title, lines of text that scroll, the keys below. What it shows is asked for when it opens,
and again with `r`; while that takes, and where it fails, it says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from app.screens.room import Room, explain, reconnecting
from app.widgets.ink import Hanging, Row, ink
from app.widgets.key_bar import Key, KeyBar
from app.widgets.rows import Blocks

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from app.messages import LinkChanged


MAX_WIDTH = 120
"""Cells in a line: longer ones are hard to read."""


class PageBody(Blocks, can_focus=True):
    """Scrolls with the keys of a pager, too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("space", "page_down", "Page down", show=False),
        Binding("g", "scroll_home", "Top", show=False),
        Binding("G", "scroll_end", "End", show=False),
    ]


class Page(Room):
    """Subclasses set `heading` and give `rows()`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "reload", "Ask again", show=False),
        Binding("q", "close", "Close", show=False),
    ]
    AUTO_FOCUS = "PageBody"
    DEFAULT_CSS = f"""
    Page > #page-title {{ height: 1; padding: 0 1; background: $panel; dock: top; text-wrap: nowrap;
        text-overflow: ellipsis; }}
    Page > PageBody {{ padding: 1 2; background: $background; }}
    Page > PageBody > Rows {{ max-width: {MAX_WIDTH}; }}
    """
    heading = ""
    note = ""
    _waits = False
    keys: ClassVar[tuple[Key, ...]] = (Key("esc", "close", "screen.close"), Key("r", "ask again", "screen.reload"))

    def compose(self) -> ComposeResult:
        yield Static(id="page-title")
        yield PageBody(())
        yield KeyBar(self.keys)

    def on_mount(self) -> None:
        self._draw_title()
        self.action_reload()

    def _draw_title(self) -> None:
        title = ink(("◖ carboy  ", "bold accent"), (self.heading, "bold ink"), (f"  {self.note}", "faint"))
        self.query_one("#page-title", Static).update(title)

    def action_reload(self) -> None:
        self._waits = True
        self._draw_waiting()
        self.work(f"show {self.heading.lower()}", self._fill(), group="page", alone=True)

    def _draw_waiting(self) -> None:
        """Another controller is started by itself, which takes a moment: why nothing comes is said meanwhile."""
        away = [ink(), reconnecting(self.carboy.link_text)] if self.carboy.link == "lost" else []
        self.query_one(PageBody).show([ink(("asking…", "faint")), *away])

    def on_link_changed(self, event: LinkChanged) -> None:
        if self._waits:
            self._draw_waiting()

    async def _fill(self) -> None:
        rows = await self.rows()
        self._waits = False
        self.query_one(PageBody).show(rows)
        self._draw_title()

    def failed(self, what: str, error: Exception) -> None:
        self._waits = False
        self.query_one(PageBody).show([ink((f"✗ Could not {what}", "bold refused")), ink((explain(error), "soft"))])

    async def rows(self) -> Sequence[Row]:
        """The page's lines."""
        raise NotImplementedError


def heading(text: str) -> list[Row]:
    """A section's title, with a line before it."""
    return [ink(), ink((text, "bold accent"))]


def fact(name: str, value: Content | str, width: int = 14) -> Hanging:
    """A name and what there is to say of it."""
    text = value if isinstance(value, Content) else ink((value, "soft"))
    return Hanging(ink((f"{name:<{width}} ", "faint")), text)
