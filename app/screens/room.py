"""What every screen shares: the app's board and client, work that cannot take the app down, the key bar's keys. A
screen's failure is shown to the operator in the same words as the command line's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen

from app.commands import Command, scoped
from app.core.text import printable_lines
from app.errors import CarboyError
from app.widgets.ink import ink

if TYPE_CHECKING:
    from textual.content import Content
    from textual.dom import DOMNode

    from app.carboy import CarboyApp
    from app.client import Client

log = logging.getLogger(__name__)

CLOSE: list[BindingType] = [Binding("escape", "close", "Close", show=False)]


def bindings(*commands: Command) -> list[BindingType]:
    """Textual's bindings for these commands."""
    return [Binding(item.key, item.action, item.title, tooltip=item.help, id=item.id, show=False) for item in commands]


def app_of(node: DOMNode) -> CarboyApp:
    """The app, with its own type."""
    return cast("CarboyApp", node.app)


def reconnecting(text: str) -> Content:
    """That the controller is away, and why."""
    return ink(("▲ reconnecting", "bold asks"), (" · bottles run on · ", "asks"), (text, "soft"))


def explain(error: BaseException) -> str:
    """An error as the operator reads it: what went wrong, and how to mend it."""
    if isinstance(error, CarboyError):
        return printable_lines(error.render(), 1000)
    detail = printable_lines(str(error), 300)
    return f"{type(error).__name__}: {detail}" if detail else type(error).__name__


class Working:
    """For screens: run something slow beside the screen, and show its failure instead of dying of it."""

    @property
    def carboy(self) -> CarboyApp:
        return app_of(cast("DOMNode", self))

    @property
    def client(self) -> Client:
        """The client; an error that says so while there is none yet."""
        client = self.carboy.feed.client
        if client is None:
            raise CarboyError(
                "The controller does not answer yet", "Wait for the connection, then try again", "offline"
            )
        return client

    def work(self, what: str, coro: Coroutine[Any, Any, None], *, group: str = "work", alone: bool = False) -> None:
        """Run `coro` in a worker. `what` completes "Could not …"; `alone` cancels the group's former work."""
        screen = cast("Screen[Any]", self)
        screen.run_worker(self._guarded(what, coro), group=group, exclusive=alone, exit_on_error=False)

    async def _guarded(self, what: str, coro: Coroutine[Any, Any, None]) -> None:
        try:
            await coro
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, CarboyError):
                log.exception("could not %s", what)
            self.failed(what, error)

    def failed(self, what: str, error: Exception) -> None:
        """Show a failure; screens with a place of their own for it say it there."""
        self.carboy.notify(explain(error), title=f"Could not {what}", severity="error", timeout=10)


class Room(Working, Screen[None]):
    """A whole-window screen. Escape closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [*CLOSE, *bindings(*scoped("app"))]

    def action_close(self) -> None:
        self.app.pop_screen()


class Box[Result](Working, ModalScreen[Result]):
    """A screen over another one. Escape closes it without an answer."""

    BINDINGS: ClassVar[list[BindingType]] = CLOSE

    def action_close(self) -> None:
        self.dismiss(None)
