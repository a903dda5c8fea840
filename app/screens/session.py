"""The link between one bottle's terminal and the pane that draws it: attach, feed with back-pressure, attach again
after a loss. It passes bytes and sizes; what they mean is the emulator's business."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from app.core import bottles
from app.core.text import printable
from app.core.units import count, date_and_time, plural
from app.errors import CarboyError
from app.screens.room import app_of, explain
from app.widgets.ink import ink, lines

if TYPE_CHECKING:
    from app.core.model import BottleView
    from app.widgets.terminal_pane import TerminalPane

log = logging.getLogger(__name__)

RETRY = (0.2, 0.5, 1.0, 2.0)
CLAIM_SECONDS = 1.0
"""A key after so long without one may be the first since somebody else looked at the terminal."""
RESET = b"\x1bc"
"""RIS: a redraw starts from an empty screen, also after a lost link."""


class Session(Vertical):
    """One bottle's terminal. Made anew for each bottle that is looked at; removing it detaches."""

    DEFAULT_CSS = """
    Session { height: 1fr; background: $background; }
    Session > .session--card { height: 1fr; padding: 1 2; color: $soft; overflow-y: auto; }
    Session > .session--word { height: auto; padding: 0 1; display: none; color: $asks; background: $panel; }
    Session.-worded > .session--word { display: block; }
    """

    def __init__(self, view: BottleView) -> None:
        super().__init__()
        self.view = view
        self.pane: TerminalPane | None = None
        self._terminal: Any = None
        self._cells: tuple[int, int] | None = None
        self._sized = asyncio.Event()
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1000)
        self._typed_at = 0.0

    def on_mount(self) -> None:
        self.mount(Static(classes="session--word"))
        self.update_view(self.view)

    def update_view(self, view: BottleView) -> None:
        """Follow the bottle's state: attach once it runs, show how it ended when it has."""
        before, self.view = self.view, view
        if self.pane is not None:
            if before.state != view.state and not bottles.live(view):
                self.pane.ended(view.exit_code)
                self._say(None)
            return
        if view.state in ("running", "frozen", "stopping"):
            self._open_pane()
        else:
            self._card(view)

    def _card(self, view: BottleView) -> None:
        content = card(view)
        for old in self.query(".session--card").results(Static):
            old.update(content)
            return
        self.mount(Static(content, classes="session--card"))

    def _open_pane(self) -> None:
        from app.widgets.terminal_pane import TerminalPane

        self.query(".session--card").remove()
        self.pane = TerminalPane(leader=app_of(self).leader)
        self.mount(self.pane)
        self.run_worker(self._keep_linked(), group="terminal", exit_on_error=False)
        self.run_worker(self._send_typed(), group="terminal", exit_on_error=False)

    def focus_terminal(self) -> bool:
        """Give the agent the keyboard; False where there is no terminal to type into."""
        if self.pane is None or not bottles.live(self.view):
            return False
        self.screen.set_focus(self.pane)  # at once: what is typed by now is the agent's
        return True

    def send(self, data: bytes) -> None:
        """Bytes for the agent; dropped with a word where it takes none for a long while."""
        try:
            self._outbox.put_nowait(data)
        except asyncio.QueueFull:
            self._say(ink(("the agent takes no input", "asks")))

    def on_terminal_pane_input(self, event: TerminalPane.Input) -> None:
        event.stop()
        self.send(event.data)

    def on_terminal_pane_resized(self, event: TerminalPane.Resized) -> None:
        event.stop()
        self._cells = (event.rows, event.cols)
        self._sized.set()
        self._claim()

    def on_terminal_pane_copied(self, event: TerminalPane.Copied) -> None:
        event.stop()
        text = f"{count(event.characters)} {plural('character', event.characters)} copied"
        app_of(self).notify(text, timeout=2)

    def on_descendant_focus(self) -> None:
        self._claim()

    def _claim(self) -> None:
        """Give the agent's terminal this window's size, again where another window may have given it its own: who
        works in it sees it whole."""
        if self._terminal is not None and self._cells is not None:
            tell = partial(self._tell_size, *self._cells)  # no coroutine yet: the next size may cancel it unstarted
            self.run_worker(tell, group="resize", exclusive=True, exit_on_error=False)

    async def _tell_size(self, rows: int, cols: int) -> None:
        try:
            await self._terminal.resize(rows, cols)
        except (CarboyError, OSError) as error:
            log.info("resize failed: %s", error)

    async def _keep_linked(self) -> None:
        """Attach, again and again, until the bottle has ended."""
        attempt = 0
        await self._sized.wait()
        while bottles.live(self.view):
            try:
                await self._follow()
                attempt = 0
                word = ink(("the terminal's stream ended, attaching again", "asks"))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if not isinstance(error, CarboyError | OSError):
                    log.exception("the terminal's link failed")
                word = ink(("▲ terminal: ", "bold asks"), (explain(error), "asks"))
            if not bottles.live(self.view):  # heard of before its stream was over: nothing is attached again
                return
            self._say(word)
            await asyncio.sleep(RETRY[min(attempt, len(RETRY) - 1)])
            attempt += 1

    async def _follow(self) -> None:
        client, pane, size = app_of(self).feed.client, self.pane, self._cells
        if client is None or pane is None or size is None:
            raise CarboyError("The controller does not answer yet", "Wait a moment", "offline")
        terminal = await client.terminal(self.view.slug, *size)
        try:
            self._terminal = terminal
            if self._cells != size and self._cells is not None:
                await terminal.resize(*self._cells)
            first = True
            async for chunk in terminal.output():
                await pane.feed(RESET + chunk if first else chunk)
                if first:
                    self._say(None)
                first = False
        finally:
            self._terminal = None
            await terminal.close()

    async def _send_typed(self) -> None:
        while True:
            data = await self._outbox.get()
            if self._terminal is None:  # keys that would arrive seconds later are worse than none
                self._say(ink(("▲ not sent: ", "bold asks"), ("the terminal is not attached yet", "asks")))
                continue
            if monotonic() - self._typed_at > CLAIM_SECONDS:
                self._claim()
            self._typed_at = monotonic()
            try:
                await self._terminal.write(data)
            except (CarboyError, OSError) as error:
                self._say(ink(("▲ not sent: ", "bold asks"), (explain(error), "asks")))

    def _say(self, content: Content | None) -> None:
        if not self.is_attached:
            return
        self.set_class(content is not None, "-worded")
        for word in self.query(".session--word").results(Static):
            word.update(content or "")


def card(view: BottleView) -> Content:
    """What is known of a bottle that has no terminal (any more)."""
    glyph, word, tone = bottles.mark(view)
    rows = [ink((f"{glyph} {bottles.title(view)} ", f"bold {tone}"), (word, tone)), ink()]
    facts = [
        ("bottles", bottles.lineage(view)),
        ("runs in", bottles.where(view)),
        ("folder", printable(view.cwd, 300)),
        ("started", date_and_time(view.started_at or view.created_at)),
        ("ended", date_and_time(view.ended_at) if view.ended_at else ""),
        ("exit code", "" if view.exit_code is None else str(view.exit_code)),
    ]
    rows += [ink((f"{name:<11}", "faint"), (value, "soft")) for name, value in facts if value]
    if view.error:
        rows += [ink(), ink((printable(view.error, 1000), "refused"))]
    rows += [ink(("\nIts transcript and its egress log are kept.", "faint"))] if view.ended_at else []
    return lines(rows)
