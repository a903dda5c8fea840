"""A screen that is a list: a title, rows under a cursor, a line that says what went wrong or what to know, the keys.
Subclasses fetch values and draw each as one row; an answer to a key is a method of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Static
from textual.widgets.option_list import Option

from app.screens.room import Room, explain
from app.widgets.ink import ink
from app.widgets.key_bar import Key, KeyBar
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content


class ListPage[Item](Room):
    """`items` are what is shown; `chosen` is the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "close", "Close", show=False),
        Binding("j", "app.simulate_key('down')", "Down", show=False),
        Binding("k", "app.simulate_key('up')", "Up", show=False),
    ]
    AUTO_FOCUS = "Options"
    DEFAULT_CSS = """
    ListPage > #list-title { height: 1; padding: 0 1; background: $panel; dock: top; text-wrap: nowrap;
        text-overflow: ellipsis; }
    ListPage > Options { height: 1fr; padding: 1 1; }
    ListPage > #list-word { height: auto; padding: 0 2; }
    """
    heading = ""
    note = ""
    empty = "Nothing here"
    keys: ClassVar[tuple[Key, ...]] = (Key("esc", "close", "screen.close"),)

    def __init__(self) -> None:
        super().__init__()
        self.items: tuple[Item, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="list-title")
        yield Options()
        yield Static(id="list-word")
        yield KeyBar(self.keys)

    def on_mount(self) -> None:
        self.draw_title()
        self.reload()

    def draw_title(self) -> None:
        title = ink(("◖ carboy  ", "bold accent"), (self.heading, "bold ink"), (f"  {self.note}", "faint"))
        self.query_one("#list-title", Static).update(title)

    def reload(self) -> None:
        """Ask for the items again."""
        self.work(f"show {self.heading.lower()}", self._load(), group="list", alone=True)

    async def _load(self) -> None:
        self.show(await self.fetch())

    def show(self, items: Sequence[Item]) -> None:
        """Draw these; the cursor stays where it is."""
        at = self.query_one(Options).highlighted or 0
        self.items = tuple(items)
        rows = [Option(self.row(item)) for item in self.items]
        options = self.query_one(Options)
        options.set_options(rows or [Option(ink((self.empty, "faint")), disabled=True)])
        if rows:
            options.highlighted = min(at, len(rows) - 1)
        self.draw_title()

    @property
    def chosen(self) -> Item | None:
        at = self.query_one(Options).highlighted
        return self.items[at] if at is not None and at < len(self.items) else None

    def say(self, text: str, tone: str = "soft") -> None:
        """One line below the list."""
        self.query_one("#list-word", Static).update(ink((text, tone)) if text else ink())

    def failed(self, what: str, error: Exception) -> None:
        self.say(f"✗ Could not {what}: {explain(error)}", "refused")

    async def fetch(self) -> Sequence[Item]:
        raise NotImplementedError

    def row(self, item: Item) -> Content:
        raise NotImplementedError
