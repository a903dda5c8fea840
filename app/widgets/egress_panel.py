"""The egress log in its frame: the filter's field, the log, and what the frame says about both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from app.core.journal import Filter, parse_filter
from app.core.text import printable
from app.core.units import count
from app.widgets.event_log import EventLog
from app.widgets.ink import ink
from app.widgets.key_bar import Key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual import events
    from textual.app import ComposeResult

    from app.core.journal import Entry

HINT = "refused  held  host:example.com  any text"
FILTER_KEYS = (Key("↵", "keeps the filter"), Key("esc", "clears it"))
"""While its field has the keyboard."""


class FilterField(Input):
    """Escape clears and leaves, enter keeps the filter and leaves."""

    class Left(Message):
        def __init__(self, keep: bool) -> None:
            super().__init__()
            self.keep = keep

    def on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "enter", "down"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Left(keep=event.key != "escape"))


class EgressPanel(Vertical):
    """`slug` is the bottle shown; empty means all of them, with a column that names each line's."""

    class Retitled(Message):
        """The counts in the frame changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, EgressPanel.Retitled)

    DEFAULT_CSS = """
    EgressPanel { background: $background; }
    EgressPanel FilterField { height: 1; border: none; background: $raised; padding: 0 1; display: none; }
    EgressPanel FilterField:focus { border: none; background-tint: $background 0%; }
    EgressPanel.-filtering FilterField { display: block; }
    """

    def __init__(self, *, show_slug: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.slug = ""
        self.show_slug = show_slug
        self._newest = 0
        self.log_view = EventLog(show_slug=show_slug)

    def compose(self) -> ComposeResult:
        yield FilterField(placeholder=HINT, compact=True)
        yield self.log_view

    def on_mount(self) -> None:
        self.retitle()

    def show(self, slug: str, entries: Iterable[Entry]) -> None:
        """Show one bottle's journal from the start; the filter stays."""
        self.slug = slug
        self.log_view.filter = parse_filter(self.query_one(FilterField).value, slug)
        held = list(entries)
        self._newest = max((item.seq for item in held), default=0)
        self.log_view.replace(held)
        self.retitle()

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add what is new, of this bottle. What `show` had already is not added again."""
        new = [item for item in entries if item.seq > self._newest and (not self.slug or item.slug == self.slug)]
        if new:
            self._newest = new[-1].seq
            self.log_view.extend(new)

    def edit_filter(self) -> None:
        """Open the filter's field, and put the cursor there."""
        self.add_class("-filtering")
        self.query_one(FilterField).focus()

    @property
    def editing(self) -> bool:
        """Whether what is typed goes into the filter."""
        return self.query_one(FilterField).has_focus

    def toggle_word(self, word: str) -> None:
        """Put a word into the filter, or take it out."""
        field = self.query_one(FilterField)
        words = field.value.split()
        field.value = " ".join([item for item in words if item != word] if word in words else [*words, word])
        self.set_class(bool(field.value), "-filtering")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.log_view.show_only(parse_filter(event.value, self.slug))

    def on_filter_field_left(self, event: FilterField.Left) -> None:
        event.stop()
        if not event.keep:
            self.query_one(FilterField).value = ""
        if not self.query_one(FilterField).value.strip():
            self.remove_class("-filtering")
        self.log_view.focus()

    def on_event_log_changed(self, event: EventLog.Changed) -> None:
        event.stop()
        self.retitle()
        self.post_message(self.Retitled())

    def retitle(self) -> None:
        """Say in the frame what is shown, how much, and whether it follows."""
        log = self.log_view
        name = printable(self.slug, 40) if self.slug else "all bottles" if self.show_slug else ""
        filtered = log.filter._replace(slug="") != Filter()
        self.border_title = ink(("Egress", "bold"), (f" {name}", "faint") if name else "")
        shown = f"{count(log.shown)} of {count(log.total)}" if filtered else count(log.total)
        state = ink(("following", "faint")) if log.following else ink(("paused", "bold asks"))
        self.border_subtitle = ink(
            (f"{shown} ", "faint"), ("filtered · " if filtered else "· ", "asks" if filtered else "faint"), state
        )
