"""The egress log in the whole window: one bottle's or all, older entries fetched from the store, filters, export."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from app.core.journal import VERDICTS, Entry, entry
from app.core.text import printable
from app.core.units import count
from app.errors import CarboyError
from app.screens.room import Room
from app.widgets.egress_panel import FILTER_KEYS, EgressPanel
from app.widgets.ink import Pressable, ink, pressable
from app.widgets.key_bar import Key, KeyBar

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.content import Content

    from app.messages import BoardChanged, BoardReplaced
    from app.widgets.event_log import EventLog

OLDER = 5_000
"""Entries asked of the store when the screen opens; the widget holds four times as many."""
KEYS = (
    Key("esc", "close", "screen.close"),
    Key("f", "filter", "screen.filter"),
    Key("space", "follow or pause", "screen.pause"),
    Key("↵", "the whole story", "screen.story"),
    Key("b", "one bottle or all", "screen.everyone"),
    Key("x", "export", "screen.export"),
    Key("?", "keys", "app.help"),
)


class Decisions(Pressable, Static):
    """How many of each decision there are; a click filters by it."""


class EgressScreen(Room):
    """`slug` is the bottle shown; `everyone` shows all of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f,slash", "filter", "Filter", show=False),
        Binding("space", "pause", "Follow or pause", show=False),
        Binding("b", "everyone", "One bottle or all", show=False),
        Binding("x", "export", "Export", show=False),
        Binding("q", "close", "Close", show=False),
    ]
    AUTO_FOCUS = "EventLog"
    DEFAULT_CSS = """
    EgressScreen > Horizontal { height: 1; background: $panel; padding: 0 1; }
    EgressScreen EgressPanel { border: round $line; border-title-color: $soft; height: 1fr; }
    EgressScreen EgressPanel:focus-within { border: round $accent; border-title-color: $accent; }
    """

    def __init__(self, slug: str) -> None:
        super().__init__()
        self.slug = slug
        self.everyone = not slug
        self._older: list[Entry] = []

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Decisions(id="decisions")
        yield EgressPanel(show_slug=True)
        yield KeyBar(KEYS)

    def on_mount(self) -> None:
        self._fill()
        self.work("read older entries", self._fetch(), group="older", alone=True)

    @property
    def shown_slug(self) -> str:
        return "" if self.everyone else self.slug

    async def _fetch(self) -> None:
        """Entries of before this window was opened, from the store."""
        found = await self.client.log(slug=self.shown_slug or None, limit=OLDER)
        self._older = [entry(item.seq, item.at, item.slug, item.kind, item.data) for item in found]
        self._fill()

    def _fill(self) -> None:
        known = self.carboy.board.entries(self.shown_slug)
        first = known[0].seq if known else None
        older = [item for item in self._older if first is None or item.seq < first]
        self.query_one(EgressPanel).show(self.shown_slug, [*older, *known])
        self._count()

    def _count(self) -> None:
        counts = dict.fromkeys(VERDICTS, 0)
        for item in self.query_one(EgressPanel).log_view.entries:
            if item.decision in counts:
                counts[item.decision] += 1
        title = ink(("◖ carboy  ", "bold accent"), ("Egress", "bold ink"), ("   ", ""))
        parts = [_decision(name, amount) for name, amount in counts.items()]
        gap = ink("   ")
        self.query_one("#decisions", Static).update(title + gap.join(parts))

    def on_board_changed(self, event: BoardChanged) -> None:
        if event.entries:
            self.query_one(EgressPanel).extend(event.entries)

    def on_board_replaced(self, event: BoardReplaced) -> None:
        self._fill()

    def on_egress_panel_retitled(self, event: EgressPanel.Retitled) -> None:
        self._count()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.query_one(KeyBar).show(FILTER_KEYS if self.query_one(EgressPanel).editing else KEYS)

    def on_event_log_opened(self, event: EventLog.Opened) -> None:
        from app.screens.story import Story

        self.app.push_screen(Story(event.entry))

    def action_story(self) -> None:
        self.query_one(EgressPanel).log_view.action_open()

    def action_filter(self) -> None:
        self.query_one(EgressPanel).edit_filter()

    def action_only(self, word: str) -> None:
        """Filter by a decision, or no longer."""
        self.query_one(EgressPanel).toggle_word(word)

    def action_pause(self) -> None:
        self.query_one(EgressPanel).log_view.toggle_following()

    def action_everyone(self) -> None:
        if not self.slug:
            self.carboy.notify("No bottle was selected: these are all of them")
            return
        self.everyone = not self.everyone
        self._older = []
        self._fill()
        self.work("read older entries", self._fetch(), group="older", alone=True)

    def action_export(self) -> None:
        """Write what is shown, as it was recorded, one JSON object a line."""
        self.work("export the log", self._export(), group="export", alone=True)

    async def _export(self) -> None:
        entries = self.query_one(EgressPanel).log_view.entries
        stamp = int(self.carboy.clock())
        path = Path.cwd() / f"carboy-egress-{self.shown_slug or 'all'}-{stamp}.jsonl"
        text = "".join(json.dumps(_record(item), ensure_ascii=True) + "\n" for item in entries)
        try:
            _write_private(path, text)
        except OSError as error:
            raise CarboyError(
                f"{path}: {error.strerror}", "Start carboy in a folder that you may write to", "export"
            ) from None
        self.carboy.notify(f"{count(len(entries))} entries in {path}", title="Exported")


def _write_private(path: Path, text: str) -> None:
    """A new file for the operator alone: the log names what the agent works on."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _record(item: Entry) -> dict[str, Any]:
    return {"seq": item.seq, "slug": item.slug, **item.data}


def _decision(name: str, amount: int) -> Content:
    glyph, word, tone = VERDICTS[name]
    label = printable(word, 20)
    return pressable(
        f"screen.only('{label}')", (f"{glyph} {label} ", tone if amount else "faint"), (count(amount), "soft")
    )
