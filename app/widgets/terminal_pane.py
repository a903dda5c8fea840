"""The pane in which an agent's terminal is drawn and typed into. It knows bytes, keys and cells; not where they go.

The owner awaits `feed` with what the agent printed and passes on `Input` and `Resized`. Drawing is bounded to 30 frames
a second, of which at most 8 ms each go to parsing: `feed` waits beyond that, and so slows down its source. While the
pane has the focus every key is the agent's but for the leader, which the app takes before it comes here.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from app.terminal import keys, mouse
from app.terminal.emulator import Emulator
from app.terminal.history import MAX_LINES
from app.terminal.viewport import Place, Viewport, clip, whole
from app.widgets.terminal_strip import inverted, overlay, strip_of

if TYPE_CHECKING:
    from textual import events

LEADER = "ctrl+right_square_bracket"
FRAME = 1 / 30
BUDGET = 0.008
"""Seconds of parsing in one frame (style.md, "The agent's terminal")."""
SLICE = 1024
"""Bytes parsed between two looks at the clock: 0.1 ms of ordinary output, 10 ms of the most expensive known."""
SYNC_HOLD = 0.2
"""Seconds for which synchronized output (mode 2026) may hold a frame back."""
WHEEL_LINES = 3


class TerminalPane(Widget, can_focus=True, inherit_bindings=False):
    """One agent's terminal. `browsing` gives the keys to the history instead of the agent until it is left."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = []
    COMPONENT_CLASSES: ClassVar[set[str]] = {"terminal-pane--selection", "terminal-pane--note"}
    DEFAULT_CSS = """
    TerminalPane {
        width: 1fr;
        height: 1fr;
        background: $background;
        color: $foreground;
        & > .terminal-pane--selection { background: $primary; color: $background; }
        & > .terminal-pane--note { background: $panel; color: $foreground; text-style: bold; }
    }
    """

    browsing: reactive[bool] = reactive(False, init=False)

    class Input(Message):
        """Bytes for the agent: keys, a paste, mouse or focus reports."""

        def __init__(self, data: bytes) -> None:
            super().__init__()
            self.data = data

    class Resized(Message):
        """The pane has another size; the agent's terminal should follow."""

        def __init__(self, rows: int, cols: int) -> None:
            super().__init__()
            self.rows = rows
            self.cols = cols

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, TerminalPane.Resized)

    class TitleChanged(Message):
        """What the agent's program calls its window: bounded and printable, and still not to be trusted."""

        def __init__(self, title: str) -> None:
            super().__init__()
            self.title = title

    class Copied(Message):
        """A selection went to the clipboard."""

        def __init__(self, characters: int) -> None:
            super().__init__()
            self.characters = characters

    def __init__(self, *, leader: str = LEADER, history: int = MAX_LINES, id: str | None = None) -> None:
        super().__init__(id=id)
        self.leader = leader
        self.term = Emulator(80, 24, history=history)
        self.view = Viewport(self.term)
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._spent = 0.0
        self._painted_at = 0.0
        self._held_at = 0.0
        self._frame: asyncio.TimerHandle | None = None
        self._strips: dict[int, Strip] = {}
        self._cursor_row = 0
        self._title = ""
        self._ending = ""
        self._drag: Place | None = None
        self._gone = False
        self._fitted = Size(0, 0)

    # what the agent printed

    async def feed(self, data: bytes) -> None:
        """Take output. Returns once it is parsed, which may be some frames later: stop reading until then."""
        async with self._turn:
            for at in range(0, len(data), SLICE):
                while self._spent >= BUDGET and self.is_running:
                    self._room.clear()
                    self._schedule()
                    await self._room.wait()
                if self._gone:
                    return
                began = perf_counter()
                self.term.feed(data[at : at + SLICE])
                self._spent += perf_counter() - began
        self._schedule()

    @property
    def ready(self) -> bool:
        """Whether this frame has parsing time left."""
        return self._spent < BUDGET

    def ended(self, code: int | None, text: str = "") -> None:
        """Show below the last screen that the agent ended, and how."""
        status = "" if code is None else f" with exit code {code}"
        self._ending = text or f" ended{status} "
        self._redraw()

    def _schedule(self) -> None:
        """Paint at once if the last frame is old enough (a key's echo), else when the next one is due."""
        if self._frame is not None or not self.is_running:
            return
        delay = self._painted_at + FRAME - perf_counter()
        if delay <= 0 and self._spent < BUDGET:
            self._tick()
        else:
            self._frame = asyncio.get_running_loop().call_later(max(delay, 0.001), self._tick)

    def _tick(self) -> None:
        """One frame: parsing may go on, and what changed is drawn unless the program asked to wait."""
        self._frame = None
        self._spent = 0.0
        self._room.set()
        now = perf_counter()
        if self.term.modes.sync:
            self._held_at = self._held_at or now
            if now - self._held_at < SYNC_HOLD:
                self._painted_at = now
                self._frame = asyncio.get_running_loop().call_later(FRAME, self._tick)
                return
        self._held_at = 0.0
        self._painted_at = now
        self._paint()

    def _paint(self) -> None:
        """Ask Textual to draw the rows that changed."""
        dirty, cursor = self.term.dirty, self.term.cursor
        if self.view.offset or len(dirty) >= self.term.rows:
            self._strips.clear()
            self.refresh()
        else:
            for y in dirty:
                self._strips.pop(y, None)
            width = self.size.width
            rows = dirty | {self._cursor_row, cursor.y}
            self.refresh(*(Region(0, y, width, 1) for y in rows))
        dirty.clear()
        self._cursor_row = cursor.y
        if self.term.title != self._title:
            self._title = self.term.title
            self.post_message(self.TitleChanged(self._title))

    def _redraw(self) -> None:
        self._strips.clear()
        self.refresh()

    def on_unmount(self) -> None:
        if self._frame is not None:
            self._frame.cancel()
        self._frame = None
        self._gone = True
        self._room.set()

    def on_resize(self, event: events.Resize) -> None:
        self._fit(event.size)

    def _fit(self, size: Size) -> None:
        """Give the terminal the pane's size, once for each."""
        cols, rows = size
        if not cols or not rows or size == self._fitted:
            return
        self._fitted = size
        self.term.resize(cols, rows)
        self._redraw()
        self.post_message(self.Resized(rows, cols))

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    # drawing

    def render_line(self, y: int) -> Strip:
        if self.size != self._fitted:
            # Textual 8.2 sends a new widget no Resize where somebody asked for its region before it was laid out
            self.call_later(self._fit, self.size)
        base, width = self.rich_style, self.size.width
        strip = self._strips.get(y)
        if strip is None:
            reverse = 5 in self.term.modes.private
            strip = strip_of(clip(self.view.line(y), width), width, base, reverse=reverse).crop(0, width)
            self._strips[y] = strip
        span = self.view.span(y)
        if span is not None:
            strip = overlay(strip, *span, self.get_component_rich_style("terminal-pane--selection"))
        note = self._note(y)
        if note:
            style = self.get_component_rich_style("terminal-pane--note")
            start = max(0, width - len(note))
            strip = Strip.join([strip.crop(0, start), Strip([Segment(note[:width], style)], min(len(note), width))])
        return self._with_cursor(strip, y)

    def _with_cursor(self, strip: Strip, y: int) -> Strip:
        x, row, visible, shape = self.term.cursor
        if y != row or not visible or self.view.offset or self._ending or self.browsing:
            return strip
        low, high = whole(self.term.line(row), x, x + 1)
        if not self.has_focus:
            return overlay(strip, low, high, RichStyle(underline=True))
        if shape in (3, 4):
            return overlay(strip, low, high, RichStyle(underline=True, bold=True))
        return inverted(strip, low, high)

    def _note(self, y: int) -> str:
        """A word in the corner: how far back, or how it ended."""
        if self._ending and y == self.size.height - 1:
            return self._ending
        if y == 0 and (self.view.offset or self.browsing):
            return f" {self.view.offset} lines back · {'esc' if self.browsing else 'any key'} returns "
        return ""

    # keys

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if self.browsing:
            self._browse(event.key)
        elif event.key in ("shift+pageup", "shift+pagedown"):
            self.scroll_history(self.size.height - 1 if event.key.endswith("down") else 1 - self.size.height)
        else:
            self.view_end()
            self._send(keys.encode(event.key, event.character, self.term.modes, self.term.kitty_flags))

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.view_end()
        self._send(keys.paste(event.text, self.term.modes))
        if len(event.text) > keys.MAX_PASTE:
            text = f"Only its first {keys.MAX_PASTE:,} characters reached the agent: give it the text as a file instead"
            self.notify(text, title="The paste is too long", severity="warning")

    def send_leader(self) -> None:
        """The leader itself, for the agent."""
        self._send(keys.encode(self.leader, None, self.term.modes, self.term.kitty_flags))

    def _send(self, data: bytes) -> None:
        if data and not self._ending:
            self.post_message(self.Input(data))

    def on_focus(self) -> None:
        self._focus_changed(True)

    def on_blur(self) -> None:
        self._focus_changed(False)

    def _focus_changed(self, gained: bool) -> None:
        self.refresh()
        if self.term.modes.focus_events:
            self._send(keys.focus(gained))

    # history

    def _browse(self, key: str) -> None:
        page = max(1, self.size.height - 1)
        moves = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page, "home": -MAX_LINES}
        if key in moves:
            self.scroll_history(moves[key])
        elif key in ("n", "N"):
            self.search_next(1 if key == "N" else -1)
        elif key in ("escape", "q", "enter", "end"):
            self.browsing = False

    def watch_browsing(self, browsing: bool) -> None:
        if not browsing:
            self.view_end()
            self.view.selected = None
        self._redraw()

    def scroll_history(self, lines: int) -> None:
        """Look back (negative) or forward."""
        if self.view.scroll(lines):
            self._redraw()

    def view_end(self) -> None:
        """Look at the screen as it is now."""
        if self.view.to_end():
            self._redraw()

    def search(self, needle: str) -> int:
        """Find plain text in history and screen, and show the newest match. Returns how many there are."""
        count = self.view.search(needle)
        self._redraw()
        return count

    def search_next(self, step: int = -1) -> None:
        """Show the next older match, or with 1 the next newer one."""
        self.view.next_match(step)
        self._redraw()

    # mouse

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if self._report(mouse.Kind.PRESS, event):
            return
        if event.button == 1:
            self._drag = self.view.place(event.x, event.y)
            self.view.selected = None
            self.capture_mouse()
            self._redraw()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._drag is None:
            self._report(mouse.Kind.MOVE, event)
        else:
            self.view.selected = (self._drag, self.view.place(max(0, event.x), event.y))
            self._redraw()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._drag is None:
            self._report(mouse.Kind.RELEASE, event)
            return
        self._drag = None
        self.release_mouse()
        text = self.view.selected_text()
        if text:
            self.app.copy_to_clipboard(text)
            self.post_message(self.Copied(len(text)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(mouse.Kind.WHEEL_UP, -WHEEL_LINES, event)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(mouse.Kind.WHEEL_DOWN, WHEEL_LINES, event)

    def _wheel(self, kind: mouse.Kind, lines: int, event: events.MouseEvent) -> None:
        event.stop()
        if self._report(kind, event):
            return
        if self.term.alt and not self.view.offset and not self.browsing:
            key = "up" if lines < 0 else "down"  # what terminals do for a pager that did not ask for the mouse
            self._send(keys.encode(key, None, self.term.modes, self.term.kitty_flags) * abs(lines))
        else:
            self.scroll_history(lines)

    def _report(self, kind: mouse.Kind, event: events.MouseEvent) -> bool:
        """Tell the agent's program, if it asked for the mouse and the operator does not hold shift."""
        modes = self.term.modes
        if not modes.mouse or event.shift or self.view.offset or self.browsing or self._ending:
            return False
        event.stop()
        modifiers = (event.shift, event.meta, event.ctrl)
        self._send(
            mouse.encode(
                *(kind, event.button, event.x, event.y, modifiers), tracking=modes.mouse, encoding=modes.mouse_encoding
            )
        )
        return True
