"""The bottles, those that need the operator first: state in glyph and word, provider, what got out and what did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets.option_list import Option

from app.core import bottles
from app.core.text import printable
from app.core.trail import amount, tightest
from app.core.trail import tone as tone_of
from app.core.units import ago, count
from app.widgets.ink import ink, lines, spread
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from app.core.model import BottleView


class BottleList(Options):
    """Keeps the selection on its bottle however the order changes."""

    DEFAULT_CSS = """
    BottleList { height: 1fr; padding: 0; }
    BottleList > .option-list--option { padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "first", "First", show=False),
        Binding("G", "last", "Last", show=False),
    ]

    class Selected(Message):
        """Another bottle is under the cursor; `slug` is empty where there is none."""

        def __init__(self, slug: str) -> None:
            super().__init__()
            self.slug = slug

    class Entered(Message):
        """The operator wants to type to this bottle's agent."""

        def __init__(self, slug: str) -> None:
            super().__init__()
            self.slug = slug

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.views: tuple[BottleView, ...] = ()
        self.selected = ""
        self._now = 0.0

    def show(self, views: Sequence[BottleView], now: float) -> None:
        """Draw these bottles, in this order."""
        same = [view.slug for view in views] == [view.slug for view in self.views]
        self.views, self._now = tuple(views), now
        if same:
            for index, view in enumerate(views):
                self.redraw(index, self._row(view))
            return
        with self.prevent(self.OptionHighlighted):
            self.set_options([Option(self._row(view), id=view.slug) for view in views])
        self.select(self.selected if self.selected in {view.slug for view in views} else "")

    def select(self, slug: str) -> None:
        """Move the cursor to a bottle; to the first one where `slug` is empty or unknown."""
        index = next((at for at, view in enumerate(self.views) if view.slug == slug), 0 if self.views else None)
        with self.prevent(self.OptionHighlighted):
            self.highlighted = index
        self._announce("" if index is None else self.views[index].slug)

    def _announce(self, slug: str) -> None:
        if slug != self.selected:
            self.selected = slug
            self.post_message(self.Selected(slug))

    def on_option_list_option_highlighted(self, event: Options.OptionHighlighted) -> None:
        event.stop()
        self._announce(event.option_id or "")

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Entered(event.option_id or ""))

    def on_resize(self, event: events.Resize) -> None:
        if self.views:
            self.show(self.views, self._now)

    def _row(self, view: BottleView) -> Content:
        glyph, word, tone = bottles.mark(view)
        width = max(12, self.scrollable_content_region.width - 2)
        color = f"bottle-{view.color}" if view.color else "ink"
        if word in ("works", "stalled") and view.last_activity and self._now - view.last_activity >= 60:
            word = f"{'stalled' if word == 'stalled' else 'quiet'} {ago(self._now - view.last_activity)}"
            tone = "asks" if view.attention > 10 else tone
        head = spread(
            ink((f"{glyph} ", f"bold {tone}"), (bottles.name(view), f"bold {color}")), ink((word, tone)), width
        )
        provider = printable(view.provider, 16)
        counts = ink(
            (f"✓ {count(view.allowed)}", "faint"), (f"  ✗ {count(view.refused)}", "refused") if view.refused else ""
        )
        held = tightest(view.budgets)
        if held is not None:
            of = f" · {held.percent}% of {amount(held.limit, held.unit)}"
            if len(of) + len(provider) + 3 + counts.cell_length > width:
                of = f" · {held.percent}%"
            share = ink((f"  {provider}", "faint"), (of, "faint" if held.percent < 80 else tone_of(held.percent)))
        else:
            share = ink((f"  {provider}", "faint"))
        rows = [ink(" ", row, " ") for row in (head, spread(share, counts, width))]
        if len(self.views) * 3 <= self.scrollable_content_region.height:
            rows.append(ink((" " * (width + 2), "on background")))
        return lines(rows)
