"""The egress journal's widget: a ring of entries on the line API, drawn at most ten times a second however many
arrive (5,000 a second are expected). It knows entries and filters; it fetches nothing and parses no markup."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from app.core.journal import Entry, Filter
from app.widgets.event_line import Columns, columns, parts

if TYPE_CHECKING:
    from textual import events

FLUSH = 0.1
"""Seconds between redraws (style.md, "Textual 8": flush at 10 Hz)."""
CAP = 20_000
"""Entries held; the oldest tenth goes when it is passed, so that trimming is rare."""
TONES = ("ok", "refused", "asks", "changed", "error", "quiet", "time", "soft", "ink", "method")


class EventLog(ScrollView, can_focus=True):
    """Follows the newest entry until the cursor is moved; `end` or a switch of `following` follows again."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"event-log--{tone}" for tone in TONES} | {"event-log--cursor"}
    DEFAULT_CSS = """
    EventLog {
        height: 1fr;
        background: $background;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .event-log--time { color: $faint; }
        & > .event-log--ok { color: $ok; }
        & > .event-log--refused { color: $refused; }
        & > .event-log--asks { color: $asks; }
        & > .event-log--changed { color: $changed; }
        & > .event-log--error { color: $failed; text-style: bold; }
        & > .event-log--quiet { color: $faint; }
        & > .event-log--soft { color: $soft; }
        & > .event-log--method { color: $faint; }
        & > .event-log--ink { color: $ink; }
        & > .event-log--cursor { background: $cursor; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last, and follow", show=False),
        Binding("enter", "open", "The request's whole story", show=False),
    ]

    following: reactive[bool] = reactive(True, init=False)
    cursor: reactive[int | None] = reactive(None, init=False)
    """Index into the shown entries; None while following without one."""

    class Opened(Message):
        """The operator wants one request's whole story."""

        def __init__(self, log: EventLog, entry: Entry) -> None:
            super().__init__()
            self.log = log
            self.entry = entry

    class Changed(Message):
        """What the frame says has changed: counts, following. At most one per redraw."""

        def __init__(self, log: EventLog) -> None:
            super().__init__()
            self.log = log

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, EventLog.Changed)

    def __init__(self, *, show_slug: bool = False, cap: int = CAP, id: str | None = None) -> None:
        super().__init__(id=id)
        self.show_slug = show_slug
        self.cap = cap
        self.filter = Filter()
        self._all: deque[Entry] = deque(maxlen=cap)
        self._shown: list[Entry] = []
        self._base = 0
        self._waiting: list[Entry] = []
        self._open: dict[str, int] = {}
        self._scheduled = False
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(1024)
        self._styles: dict[str, Style] = {}

    @property
    def shown(self) -> int:
        """How many entries pass the filter."""
        return len(self._shown)

    @property
    def total(self) -> int:
        """How many entries are held."""
        return len(self._all)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What passes the filter, oldest first."""
        return tuple(self._shown)

    def append(self, entry: Entry) -> None:
        """Take in one entry; it is drawn at the next flush."""
        self._waiting.append(entry)
        self._schedule_pending()

    def extend(self, entries: Iterable[Entry]) -> None:
        """Take in several entries, oldest first."""
        self._waiting.extend(entries)
        self._schedule_pending()

    def replace(self, entries: Iterable[Entry]) -> None:
        """Show these entries and none of the old: another bottle was selected."""
        self._all.clear()
        self._waiting.clear()
        self._restart(entries)

    def show_only(self, wanted: Filter) -> None:
        """Filter what is held, and what comes."""
        self.filter = wanted
        held = [*self._all, *self._waiting]
        self._all.clear()
        self._waiting.clear()
        self._restart(held)

    def _restart(self, entries: Iterable[Entry]) -> None:
        self._shown, self._base, self._open = [], 0, {}
        self._strips.clear()
        self.cursor, self.following = None, True
        self._take(entries)
        self._draw_again()

    def _schedule_pending(self) -> None:
        if not self._scheduled and self.is_mounted:
            self._scheduled = True
            self.set_timer(FLUSH, self._take_pending)

    def _take_pending(self) -> None:
        self._scheduled = False
        pending, self._waiting = self._waiting, []
        if pending:
            self._take(pending)
            self._draw_again()

    def _take(self, entries: Iterable[Entry]) -> None:
        passes, filtered = self.filter.passes, self.filter != Filter()
        for entry in entries:
            self._all.append(entry)
            if filtered and not passes(entry):
                continue
            if entry.request_id and self._settle(entry):
                continue
            self._shown.append(entry)
        self._trim()

    def _settle(self, entry: Entry) -> bool:
        """Put the end of a request into the line of its beginning. False where it needs a line of its own."""
        if entry.open:
            self._open[entry.request_id] = self._base + len(self._shown)
            return False
        index = self._open.pop(entry.request_id, None) if self._open else None
        if index is None or index < self._base:
            return False
        self._shown[index - self._base] = entry
        self._strips.clear()
        return True

    def _trim(self) -> None:
        over = len(self._shown) - self.cap
        if over < max(1, self.cap // 10):
            return
        del self._shown[:over]
        self._base += over
        self._open = {key: index for key, index in self._open.items() if index >= self._base}
        if self.cursor is not None:
            self.cursor = max(0, self.cursor - over)
        if not self.following:
            self.scroll_to(y=max(0, self.scroll_offset.y - over), animate=False, immediate=True)

    def _draw_again(self) -> None:
        # Setting virtual_size would lay the whole screen out again, ten times a second in a flood: 10 ms each.
        size = Size(self.size.width, len(self._shown))
        self.set_reactive(cast("Reactive[Size]", Widget.virtual_size), size)
        self._scroll_update(self.virtual_size)
        if self.following:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
            self.call_after_refresh(self._to_end)
        self.refresh()
        self.post_message(self.Changed(self))

    def _to_end(self) -> None:
        """Once more after the layout: before it, the height that the end depends on may be the old one."""
        if self.following and self.scroll_offset.y < self.max_scroll_y:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def on_mount(self) -> None:
        if self._waiting:
            self._schedule_pending()
        self._draw_again()

    def on_resize(self, event: events.Resize) -> None:
        self._strips.clear()
        self._draw_again()

    def notify_style_update(self) -> None:
        self._styles.clear()
        self._strips.clear()
        super().notify_style_update()

    def watch_following(self, following: bool) -> None:
        if following:
            self.cursor = None
            self._draw_again()
        else:
            self.post_message(self.Changed(self))

    def watch_cursor(self, old: int | None, new: int | None) -> None:
        self.refresh()
        if new is not None:
            self.scroll_to_region(Region(0, new, 1, 1), animate=False, immediate=True, x_axis=False)

    def action_move(self, by: int) -> None:
        """Move the cursor; the first move stops following."""
        if not self._shown:
            return
        self.following = False
        start = len(self._shown) if self.cursor is None else self.cursor
        self.cursor = min(max(0, start + by), len(self._shown) - 1)

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self.action_move(-len(self._shown) - 1)

    def action_last(self) -> None:
        self.following = True

    def action_open(self) -> None:
        """Ask for the story of the request under the cursor, or of the newest one."""
        if self._shown:
            self.post_message(self.Opened(self, self._shown[-1 if self.cursor is None else self.cursor]))

    def toggle_following(self) -> None:
        """Pause where it is, or follow the newest again."""
        self.following = not self.following

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if self.following and self.max_scroll_y > 0:
            self.following = False

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; one on the cursor's line, or a double one, opens the story."""
        at = event.get_content_offset(self)
        index = None if at is None else self.scroll_offset.y + at.y
        if index is None or index >= len(self._shown):
            return
        again = self.cursor == index
        self.following = False
        self.cursor = index
        if again or event.chain > 1:
            self.action_open()

    def render_line(self, y: int) -> Strip:
        index, width = self.scroll_offset.y + y, self.size.width
        if index >= len(self._shown):
            return Strip.blank(width, self.rich_style)
        at_cursor = index == self.cursor
        key = (self._base + index, width, at_cursor)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._strip(self._shown[index], columns(width, self.show_slug), at_cursor)
        return strip

    def _strip(self, entry: Entry, widths: Columns, at_cursor: bool) -> Strip:
        base = self.rich_style
        if at_cursor:
            base += self.get_component_rich_style("event-log--cursor").background_style
        segments = [Segment(text, base + self._ink(tone)) for tone, text in parts(entry, widths)]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _ink(self, tone: str) -> Style:
        """A tone's colour and weight without its background, which is the line's."""
        found = self._styles.get(tone)
        if found is None:
            whole = self.get_component_rich_style(f"event-log--{tone}")
            found = self._styles[tone] = Style(color=whole.color, bold=whole.bold)
        return found
