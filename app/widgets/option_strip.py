"""One of a few: options side by side, moved with the arrows, the chosen one in brackets; some may be marked as not
working, and can be chosen all the same: whoever asks says why not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from app.widgets.ink import Pressable, ink, pressable

if TYPE_CHECKING:
    from collections.abc import Mapping


class OptionStrip(Pressable, Widget, can_focus=True):
    """`tones` gives an option a colour of its own; its word says the same."""

    DEFAULT_CSS = """
    OptionStrip { height: 1; padding: 0 1; background: $raised; }
    OptionStrip:focus { background: $cursor; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Previous", show=False),
        Binding("right,l,space", "move(1)", "Next", show=False),
    ]

    chosen: reactive[int] = reactive(0)

    class Changed(Message):
        """Another option is chosen."""

        def __init__(self, strip: OptionStrip, value: str) -> None:
            super().__init__()
            self.strip = strip
            self.value = value

    def __init__(
        self, options: Sequence[str], *, tones: Mapping[str, str] | None = None, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.options = tuple(options)
        self.tones = dict(tones or {})
        self.broken: frozenset[str] = frozenset()

    def offer(self, options: Sequence[str], broken: Collection[str] = ()) -> None:
        """Other options from now on; what was chosen stays so if it is among them."""
        was = self.value
        self.options, self.broken = tuple(options), frozenset(broken)
        self.chosen = self.options.index(was) if was in self.options else 0
        self.refresh()

    @property
    def value(self) -> str:
        return self.options[self.chosen]

    def choose(self, value: str) -> None:
        """Choose by value; an unknown one changes nothing."""
        if value in self.options:
            self.chosen = self.options.index(value)

    def watch_chosen(self) -> None:
        if self.is_mounted:
            self.post_message(self.Changed(self, self.value))

    def action_move(self, by: int) -> None:
        self.chosen = (self.chosen + by) % len(self.options)

    def action_take(self, index: int) -> None:
        self.focus()
        self.chosen = index

    def render(self) -> Content:
        shown: list[Content] = []
        for at, option in enumerate(self.options):
            tone = self.tones.get(option, "ink")
            text, tone = (f"✗ {option}", "refused") if option in self.broken else (option, tone)
            if at == self.chosen:
                shown.append(ink(("[", "accent"), (text, f"bold {tone}"), ("]", "accent")))
            else:
                shown.append(pressable(f"take({at})", f" {text} ").stylize_before("$faint"))
        return Content(" ").join(shown)
