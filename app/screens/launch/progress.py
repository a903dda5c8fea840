"""Step 5: the launch itself, step by step with its times. Escape cancels it and waits until all is undone; an error
stays here, and one about the name goes back to where names are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from app.core.text import printable
from app.core.units import took
from app.errors import CarboyError
from app.screens.launch.step import Step
from app.screens.room import explain
from app.widgets.ink import ink, lines
from app.widgets.key_bar import Key, KeyBar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.content import Content
    from textual.widget import Widget

    from app.core.model import LaunchStep, Preflight
    from app.screens.launch.flow import Flow

MARKS = {"running": ("◌", "changed"), "done": ("✓", "ok"), "failed": ("✗", "refused"), "undone": ("↩", "asks")}


class StartStep(Step):
    step = "start"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "again", "Try again", show=False)]
    keys: ClassVar[tuple[Key, ...]] = ()
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, flow: Flow, preflight: Preflight) -> None:
        super().__init__(flow)
        self.preflight = preflight
        self.session_id = ""
        self.running = False
        self._steps: dict[str, LaunchStep] = {}
        self._cancelling = False

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(Static(id="steps"))

    def on_mount(self) -> None:
        self.action_again()

    def action_again(self) -> None:
        """Start, or start once more after an error was mended."""
        if self.running:
            return
        self.running, self._cancelling, self.session_id = True, False, ""
        self._steps.clear()
        self.complain("")
        self._draw()
        self.work("start the bottle", self._launch(), group="launch", alone=True)

    async def _launch(self) -> None:
        from app.core.model import LaunchStep

        try:
            async for item in self.client.launch(self.flow.request(self.preflight)):
                if isinstance(item, LaunchStep):
                    self.session_id = item.session_id
                    self._steps[item.step] = item
                    self._draw()
                    continue
                self.flow.forget()
                self.carboy.board.bottle(item)
                self.carboy.board_changed(bottles=True)
                self.app.call_later(self.carboy.go_to, item.slug, enter=True)
        finally:
            self.running = False
            self._draw()

    def failed(self, what: str, error: Exception) -> None:
        if self._cancelling:
            self.app.pop_screen()
            self.carboy.notify("The launch was cancelled; everything that it made is gone")
        elif isinstance(error, CarboyError) and error.code == "name_in_use":
            self.flow.name_error = explain(error)
            self.app.pop_screen()
            self.app.pop_screen()
        else:
            super().failed(what, error)

    def _draw(self) -> None:
        head = ink((printable(self.preflight.label, 63), "bold ink"), (f" in {self.preflight.backend}", "soft"))
        spent = sum(item.ms or 0.0 for item in self._steps.values())
        total = f"{took(spent)} so far" if self.running else took(spent)
        rows: list[Content] = [head, ink()]
        rows += [_line(item) for item in self._steps.values()]
        rows += (
            [ink(), ink(("cancelling: everything that was made is being undone", "asks"))] if self._cancelling else []
        )
        rows += [ink(), ink((total, "faint"))] if self._steps else []
        self.query_one("#steps", Static).update(lines(rows))
        back = Key("esc", "cancel" if self.running else "back", "screen.close")
        self.query_one(KeyBar).show([back] if self.running else [Key("r", "try again", "screen.again"), back])

    def action_close(self) -> None:
        """Cancel a launch that is under way; else go back."""
        if not self.running:
            super().action_close()
        elif self.session_id and not self._cancelling:
            self._cancelling = True
            self._draw()
            self.work("cancel the launch", self._cancel(), group="cancel", alone=True)

    async def _cancel(self) -> None:
        try:
            await self.client.cancel_launch(self.session_id)
        except CarboyError as error:
            self._cancelling = False
            self.complain(explain(error))


def _line(item: LaunchStep) -> Content:
    glyph, tone = MARKS[item.state]
    time_taken = took(item.ms) if item.ms is not None else ""
    detail = (f"  {printable(item.detail, 400)}", "soft") if item.detail else ""
    return ink(
        (f"{glyph} ", f"bold {tone}"), (f"{printable(item.step, 60):<32}", "ink"), (f"{time_taken:>8}", "faint"), detail
    )
