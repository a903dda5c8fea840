"""`carboy attach`: one agent's terminal on the whole screen, in an app as small as can be.

The operator's terminal is never handed to the agent: everything it prints is drawn by the emulator. Leaving leaves the
agent alone. It knows a way to connect, and a way to learn the exit code; not the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from app.errors import CarboyError
from app.hangup import end_with_terminal
from app.tasks import spawn
from app.widgets.terminal_pane import LEADER, TerminalPane

if TYPE_CHECKING:
    from textual import events

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0)
"""Waits before attaching again after the controller went away; then it is given up."""


class Stream(Protocol):
    """An attachment, as `app.backends.base.Terminal` describes it."""

    def output(self) -> AsyncIterator[bytes]: ...

    async def write(self, data: bytes) -> None: ...

    async def resize(self, rows: int, cols: int) -> None: ...

    async def close(self) -> None: ...


Connect = Callable[[int, int], Awaitable[Stream]]
"""Attach with so many rows and columns: `Client.terminal` of one bottle."""
Ended = Callable[[], Awaitable[int | None]]
"""The exit code of an agent whose output has come to its end."""


class AttachApp(App[int], inherit_bindings=False):
    """Returns the exit code (if `ended` tells it), or None when the operator left; `error` is what broke the link."""

    class Left(Message):
        """The operator leaves. It comes the way that the pane's input does, and so behind it."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = """
    Screen { background: $background; layers: below above; }
    #bar { layer: above; dock: bottom; height: 1; padding: 0 1; background: $panel; display: none; }
    #needle { layer: above; dock: bottom; height: 1; border: none; padding: 0 1; background: $panel; display: none; }
    #bar.-shown, #needle.-shown { display: block; }
    """

    def __init__(self, connect: Connect, ended: Ended | None = None, *, leader: str = LEADER) -> None:
        super().__init__()
        self._connect = connect
        self._ended = ended
        self._stream: Stream | None = None
        self._outbox: asyncio.Queue[bytes | tuple[int, int]] = asyncio.Queue()
        self._commanded = False
        self.error: CarboyError | None = None
        self.pane = TerminalPane(leader=leader)

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Static(id="bar")
        yield Input(placeholder="find in the history", id="needle")

    def on_mount(self) -> None:
        end_with_terminal(self)
        self.pane.focus()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        spawn(self._follow(), name="attach-output", on_error=self._failed)
        spawn(self._send(), name="attach-input", on_error=self._failed)

    def _failed(self, error: BaseException) -> None:
        self.error = error if isinstance(error, CarboyError) else CarboyError(f"The terminal's link failed: {error}")
        self.exit(None)

    # the stream

    async def _follow(self) -> None:
        """Attach, and attach again where only the connection was lost, until the agent's output ends."""
        tries = 0
        while True:
            try:
                async with asyncio.timeout(30):
                    self._stream = await self._connect(self.pane.term.rows, self.pane.term.cols)
                async for data in self._stream.output():
                    tries = 0
                    if not self._commanded:  # what the leader's next key does stays in sight, whatever is printed
                        self._say("")
                    await self.pane.feed(data)
                break
            except (CarboyError, OSError, TimeoutError) as error:
                code = getattr(error, "code", "connection_lost")
                if code != "connection_lost" or tries >= len(RETRY_SECONDS):
                    raise
                self._say(f"{error or 'The controller does not answer'} (attaching again)")
                await asyncio.sleep(RETRY_SECONDS[tries])
                tries += 1
        self.exit(await self._ended() if self._ended else None)

    async def _send(self) -> None:
        """Keys and sizes, in order. What is typed while no stream is there is lost, as on any line."""
        while True:
            item = await self._outbox.get()
            if self._stream is None:
                continue
            try:
                await (self._stream.write(item) if isinstance(item, bytes) else self._stream.resize(*item))
            except (CarboyError, OSError):
                continue  # the reader has learned of it, or will at once

    def on_terminal_pane_input(self, event: TerminalPane.Input) -> None:
        self._outbox.put_nowait(event.data)

    def on_terminal_pane_resized(self, event: TerminalPane.Resized) -> None:
        self._outbox.put_nowait((event.rows, event.cols))

    async def on_unmount(self) -> None:
        if self._stream is not None:
            await self._stream.close()

    # the leader

    def _take_command(self) -> None:
        """First press: the next key is ours. Second press: the leader goes through."""
        self._commanded = True
        self._browse(True)
        self._say("d leaves · the leader again sends it · ↑ ↓ PgUp PgDn history · / find · n N next · esc back")

    async def on_event(self, event: events.Event) -> None:
        from textual.events import Key

        if isinstance(event, Key) and not event.is_forwarded:
            if event.key == self.pane.leader and self.focused is self.pane and not self._commanded:
                self._take_command()  # here, where keys are in one order: the next one may have been typed already
                return
            if self._commanded and self._command(event.key):
                return
        await super().on_event(event)

    def _command(self, key: str) -> bool:
        """A key after the leader; False where the history takes it."""
        if key in ("d", "D"):
            self.pane.call_later(self.pane.post_message, self.Left())
        elif key == self.pane.leader:
            self._back()
            self.pane.call_later(self.pane.send_leader)
        elif key == "slash":
            self._commanded = False
            needle = self.query_one("#needle", Input)
            needle.add_class("-shown")
            needle.focus()
        else:
            if key in ("escape", "q", "enter", "end"):
                self._back()
            return key not in ("up", "down", "k", "j", "pageup", "pagedown", "home", "n", "N", "shift+n")
        return True

    def _back(self) -> None:
        self._commanded = False
        self._browse(False)
        self._say("")

    def _browse(self, on: bool) -> None:
        """In the pane's turn: what was typed before may still be on its way there."""
        self.pane.call_later(setattr, self.pane, "browsing", on)

    def on_attach_app_left(self) -> None:
        self.exit(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.input.remove_class("-shown")
        count = self.pane.search(event.value)
        self.pane.focus()
        self._commanded = True
        self._say(f"{count} found · n older · N newer · esc back" if count else "Nothing found · esc back")

    def _say(self, text: str) -> None:
        if not self.is_running:
            return
        bar = self.query_one("#bar", Static)
        bar.update(Content(text))
        bar.set_class(bool(text), "-shown")


async def attach(connect: Connect, ended: Ended, *, leader: str = LEADER) -> int | None:
    """Run the app until the operator leaves (None) or the agent ends (its exit code). Raises what broke the link."""
    app = AttachApp(connect, ended, leader=leader)
    code = await app.run_async()
    if app.error is not None:
        raise app.error
    return code
