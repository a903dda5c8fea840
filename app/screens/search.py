"""Search in what agents said and did: a field, the best hits below as one types, and a page with what was said around
one. All of it is from bottles and drawn as text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from app.core.text import printable, printable_lines
from app.core.units import ago, date_and_time
from app.screens.list_page import ListPage
from app.screens.page import Page, fact
from app.widgets.ink import Row, ink, lines
from app.widgets.key_bar import Key, KeyBar
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content

    from app.core.found import Hit

DEBOUNCE = 0.3
"""Seconds without a key before it is asked (hardening.md, Search)."""
MARKS = {
    "user": ("›", "accent"),
    "assistant": ("●", "ok"),
    "reasoning": ("✻", "faint"),
    "call": ("⚙", "soft"),
    "result": ("⎿", "soft"),
    "asks": ("?", "asks"),
}
MAX_SHOWN = 4000
"""Characters of one entry on the page around a hit."""


class SearchScreen(ListPage["Hit"]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move('up')", "Up", show=False),
        Binding("down", "move('down')", "Down", show=False),
        Binding("pageup", "move('page_up')", "Page up", show=False),
        Binding("pagedown", "move('page_down')", "Page down", show=False),
        Binding("ctrl+g", "go", "Go to the bottle", show=False),
    ]
    AUTO_FOCUS = "Input"
    DEFAULT_CSS = """
    SearchScreen > Input { border: none; height: 1; margin: 1 2 0 2; padding: 0 1; background: $raised; }
    SearchScreen > Input:focus { border: none; background-tint: $background 0%; }
    """
    heading = "Search"
    note = "what agents said and did, in live and past sessions"
    empty = ""
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "close", "screen.close"),
        Key("↵", "read on"),
        Key("^g", "go to the bottle", "screen.go"),
    )

    def compose(self) -> ComposeResult:
        yield Static(id="list-title")
        yield Input(placeholder='every word must be there; "words side by side"', compact=True, max_length=500)
        options = Options()
        options.can_focus = False
        yield options
        yield Static(id="list-word")
        yield KeyBar(self.keys)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.reload()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._read_on()

    def on_option_list_option_selected(self) -> None:
        self._read_on()

    async def _load(self) -> None:
        await asyncio.sleep(DEBOUNCE)  # the next key cancels this
        await super()._load()

    async def fetch(self) -> Sequence[Hit]:
        text = self.query_one(Input).value.strip()
        if not any(char.isalnum() for char in text):
            self.empty, self.note = "", SearchScreen.note
            self.say("")
            return ()
        found = await self.client.search(text)
        self.empty = "Nothing found"
        self.note = f"{len(found.hits)}{' or more' if found.more else ''} hits" if found.hits else "no hit"
        self.say("")
        return found.hits

    def row(self, item: Hit) -> Content:
        glyph, tone = MARKS.get(item.kind, ("·", "soft"))
        tool = f" {printable(item.tool, 40)}" if item.tool else ""
        when = ago(self.carboy.clock() - item.at) if item.at else "-"
        head = ink(
            (f"{glyph} ", f"bold {tone}"), (printable(item.label, 40), "bold ink"),
            (f"  {item.kind}{tool}", "soft"), (f"  {when}", "faint"),
        )  # fmt: skip
        return lines([head, ink("  ") + _marked(item)])

    def action_move(self, way: str) -> None:
        options = self.query_one(Options)
        {
            "up": options.action_cursor_up,
            "down": options.action_cursor_down,
            "page_up": options.action_page_up,
            "page_down": options.action_page_down,
        }[way]()

    def _read_on(self) -> None:
        if self.chosen is not None:
            self.carboy.push_screen(PassageScreen(self.chosen))

    def action_go(self) -> None:
        if self.chosen is not None and not go_to(self, self.chosen):
            self.say(f"{printable(self.chosen.slug, 63)} is over; ↵ reads on", "asks")


class PassageScreen(Page):
    """What was said around a hit."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+g", "go", "Go to the bottle", show=False)]
    heading = "Search"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "back", "screen.close"),
        Key("^g", "go to the bottle", "screen.go"),
    )

    def __init__(self, hit: Hit) -> None:
        super().__init__()
        self._hit = hit
        self.note = printable(hit.label, 63)

    async def rows(self) -> list[Row]:
        found = await self.client.around(self._hit.id)
        hit = found.hit
        rows: list[Row] = [
            fact("session", f"{printable(hit.slug, 63)}  {hit.session_id}"),
            fact("agent", printable(" ".join(filter(None, (hit.agent, hit.provider))), 80)),
        ]
        for said in found.entries:
            glyph, tone = MARKS.get(said.kind, ("·", "soft"))
            when = date_and_time(said.at) if said.at else ""
            tool = f" {printable(said.tool, 60)}" if said.tool else ""
            rows += [
                ink(),
                ink((f"{glyph} ", f"bold {tone}"), (f"{said.kind}{tool}", "bold accent" if said.here else "bold soft"),
                    (f"  {when}", "faint")),
                ink((printable_lines(said.text, MAX_SHOWN), "ink" if said.here else "soft")),
            ]  # fmt: skip
        return rows

    def action_go(self) -> None:
        if not go_to(self, self._hit):
            self.carboy.notify(f"{self._hit.slug} is not here any more", severity="warning")


def go_to(screen: SearchScreen | PassageScreen, hit: Hit) -> bool:
    """To the bottle's place on the main screen; False where it is not there."""
    if hit.slug not in screen.carboy.board.views:
        return False
    screen.app.call_later(screen.carboy.go_to, hit.slug)
    return True


def _marked(hit: Hit) -> Content:
    """The snippet with its words marked. Made printable piece by piece, so that the marks stay where they are."""
    parts, done = list[tuple[str, str]](), 0
    for first, last in hit.marks:
        parts += [(hit.snippet[done:first], "faint"), (hit.snippet[first:last], "bold accent")]
        done = last
    parts.append((hit.snippet[done:], "faint"))
    return ink(*((printable(text, 300), tone) for text, tone in parts if text))
