"""What the steps of a launch share: the line that says where one is, a place for errors, escape back one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Static

from app.core.text import printable_lines
from app.screens.launch.flow import STEPS, Flow
from app.screens.room import CLOSE, Working, explain
from app.widgets.ink import Part, ink
from app.widgets.key_bar import Key, KeyBar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.content import Content
    from textual.widget import Widget


class Step(Working, Screen[None]):
    """Subclasses set `step` and `keys`, and give `body()`."""

    BINDINGS: ClassVar[list[BindingType]] = CLOSE
    DEFAULT_CSS = """
    Step > #step-title { height: 1; padding: 0 1; background: $panel; dock: top; }
    Step > #step-body { padding: 1 2; height: 1fr; }
    Step > #step-error { height: auto; max-height: 8; padding: 0 2; color: $refused; display: none; }
    Step > #step-error.-shown { display: block; margin-bottom: 1; }
    Step .panel { border: round $line; border-title-color: $soft; border-subtitle-color: $faint; padding: 0 1; }
    Step .panel:focus, Step .panel:focus-within { border: round $accent; border-title-color: $accent; }
    """
    step: ClassVar[str] = ""
    keys: ClassVar[tuple[Key, ...]] = ()

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def compose(self) -> ComposeResult:
        yield Static(self._where(), id="step-title")
        with Vertical(id="step-body"):
            yield from self.body()
        yield Static(id="step-error")
        yield KeyBar([*self.keys, Key("esc", "back", "screen.close")])

    def body(self) -> Iterable[Widget]:
        """The step's own widgets."""
        raise NotImplementedError

    def _where(self) -> Content:
        parts: list[Part] = [("◖ carboy  ", "bold accent"), ("New bottle", "bold ink"), ("   ", "faint")]
        for number, name in enumerate(STEPS, 1):
            parts.append((f"{number} {name}", "bold accent underline" if name == self.step else "faint"))
            parts.append((" › " if number < len(STEPS) else "", "faint"))
        return ink(*parts)

    def complain(self, text: str) -> None:
        """Say what to mend; an empty text takes it back."""
        line = self.query_one("#step-error", Static)
        line.update(ink((f"✗ {printable_lines(text, 1000)}", "refused")) if text else "")
        line.set_class(bool(text), "-shown")

    @staticmethod
    def shorter(error: str, file: str) -> str:
        """What is wrong with a file, without its folder: a row of a list has no room for what all of them share."""
        return error.replace(file, file.rpartition("/")[2], 1) if file else error

    def failed(self, what: str, error: Exception) -> None:
        self.complain(explain(error))

    def go_on(self, step: Screen[None]) -> None:
        """Open the next step: once, however often its key was pressed before it was there."""
        if self.app.screen is self:
            self.app.push_screen(step)

    def action_close(self) -> None:
        self.app.pop_screen()
