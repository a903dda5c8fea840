"""A list that filters as one types: a field above, rows below, the arrows always move in the list. Rows that cannot
be chosen stay visible with their reason; choosing one says so instead of closing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.containers import Vertical
from textual.events import Key
from textual.message import Message
from textual.widgets import Input
from textual.widgets.option_list import Option

from app.core import fuzzy
from app.core.text import printable
from app.widgets.ink import ink, lines, spread, style
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.app import ComposeResult
    from textual.content import Content
    from textual.events import Resize


class Choice(NamedTuple):
    """One row. `reason` is set for what cannot be chosen; `always` keeps it whatever is typed."""

    id: str
    title: str
    note: str = ""
    detail: str = ""
    mark: str = ""
    tone: str = "soft"
    reason: str = ""
    always: bool = False


class PickerRow(Option):
    """A row knows its choice: by the time that a click is heard of, the list may have other rows."""

    def __init__(self, choice: Choice, content: Content) -> None:
        super().__init__(content)
        self.choice = choice


class PickerField(Input):
    """Leaves the arrows, paging and enter to the list below it. What was typed right behind the enter that chose is
    for whoever has the keyboard since."""

    async def on_key(self, event: Key) -> None:
        picker, now = self.parent, self.app.screen.focused
        if now is not self:
            if now is not None:
                now._forward_event(Key(event.key, event.character))
        elif not (isinstance(picker, Picker) and picker.steer(event.key)):
            return
        event.stop()
        event.prevent_default()


class Picker(Vertical):
    """`choices` may be replaced while it is open; the typed text and the row under the cursor stay. None at first: they
    are being read. `picked` is called with the row that was chosen, before any key that follows is looked at."""

    DEFAULT_CSS = """
    Picker { height: 1fr; }
    Picker > PickerField { border: none; height: 1; padding: 0 1; background: $raised; margin: 0 0 1 0; }
    Picker > PickerField:focus { border: none; background-tint: $background 0%; }
    Picker > Options { height: 1fr; }
    Picker > Options > .option-list--option-highlighted { background: $cursor; }
    """

    class Highlighted(Message):
        """The cursor is on another row; None where nothing fits."""

        def __init__(self, picker: Picker, choice: Choice | None) -> None:
            super().__init__()
            self.picker = picker
            self.choice = choice

    def __init__(
        self,
        choices: Iterable[Choice] | None = None,
        *,
        picked: Callable[[Choice], None],
        placeholder: str = "type to filter",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.choices = tuple(choices or ())
        self.picked = picked
        self._empty = "nothing fits" if choices is not None else "nothing to choose from yet"
        self.placeholder = placeholder
        self.fitting: tuple[Choice, ...] = ()
        self._cursor = ""
        self._filtered = ""
        """What `fitting` was found by."""
        self._width = 0

    def compose(self) -> ComposeResult:
        yield PickerField(placeholder=self.placeholder, compact=True)
        rows = Options()
        rows.can_focus = False
        yield rows

    def on_mount(self) -> None:
        self._refilter()

    def focus(self, scroll_visible: bool = True) -> Picker:
        """Put the cursor in the field: the list is steered from there."""
        self.query_one(PickerField).focus(scroll_visible)
        return self

    @property
    def typed(self) -> str:
        return self.query_one(PickerField).value

    @property
    def current(self) -> Choice | None:
        """The row under the cursor."""
        at = self.query_one(Options).highlighted
        return self.fitting[at] if at is not None and at < len(self.fitting) else None

    def show(self, choices: Iterable[Choice]) -> None:
        """Offer other rows."""
        self.choices, self._empty = tuple(choices), "nothing fits"
        if self.is_mounted:
            self._refilter()

    def steer(self, key: str) -> bool:
        """Move in the list or choose; False for a key that is not the list's."""
        rows = self.query_one(Options)
        moves = {
            "up": rows.action_cursor_up,
            "down": rows.action_cursor_down,
            "pageup": rows.action_page_up,
            "pagedown": rows.action_page_down,
            "enter": self._choose,
        }
        if key not in moves:
            return False
        self._follow()  # the key may be quicker than the word that something was typed
        if self.fitting:
            moves[key]()
        return True

    def _choose(self) -> None:
        if (current := self.current) is not None:
            self.picked(current)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._follow()

    def _follow(self) -> None:
        """Offer what fits the typed text, where that has changed."""
        if self.typed != self._filtered:
            self._cursor = ""
            self._refilter()

    def on_resize(self, event: Resize) -> None:
        self._refilter()

    def _refilter(self) -> None:
        typed = self._filtered = self.typed
        found = [(hit, choice) for choice in self.choices if (hit := _hit(typed, choice)) is not None]
        if typed.strip():
            found.sort(key=lambda pair: -pair[0].score)
        self.fitting = tuple(choice for _, choice in found)
        rows = self.query_one(Options)
        self._width = rows.scrollable_content_region.width
        width = max(16, self._width - 2)
        options = [PickerRow(choice, _row(choice, hit, width)) for hit, choice in found]
        with self.prevent(Options.OptionHighlighted):
            rows.set_options(options or [Option(ink((self._empty, "faint")), disabled=True)])
            at = next((at for at, choice in enumerate(self.fitting) if choice.id == self._cursor), 0)
            rows.highlighted = at if self.fitting else None
        self.call_after_refresh(self._fit)
        self._tell()

    def _fit(self) -> None:
        """Once more, where these rows brought a scrollbar or took it away: a row has the width of the list."""
        if self.query_one(Options).scrollable_content_region.width != self._width:
            self._refilter()

    def _tell(self) -> None:
        current = self.current
        self._cursor = current.id if current else ""
        self.post_message(self.Highlighted(self, current))

    def on_option_list_option_highlighted(self, event: Options.OptionHighlighted) -> None:
        event.stop()
        self._tell()

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        if isinstance(event.option, PickerRow):
            self.picked(event.option.choice)


def _hit(typed: str, choice: Choice) -> fuzzy.Match | None:
    found = fuzzy.match(typed, choice.title)
    if found is None and fuzzy.match(typed, f"{choice.title} {choice.detail}") is not None:
        found = fuzzy.Match(1, ())
    if found is None and choice.always:
        found = fuzzy.Match(0, ())
    return found


def _row(choice: Choice, hit: fuzzy.Match, width: int) -> Content:
    title = ink((printable(choice.title, 80), "faint" if choice.reason else "ink"))
    for at in hit.at:
        title = title.stylize(style("bold accent"), at, at + 1)
    mark = ink((f"{choice.mark} ", f"bold {choice.tone}")) if choice.mark else ink()
    rows = [spread(mark + title, ink((printable(choice.note, 60), choice.tone if choice.mark else "faint")), width)]
    detail = choice.detail or choice.reason
    if detail:
        indent = "  " if choice.mark else ""
        rows.append(
            spread(ink((f"{indent}{printable(detail, 300)}", "refused" if choice.reason else "faint")), ink(), width)
        )
    return lines(rows)
