"""The cards of all bottles that wait for a decision, oldest first, and the keys that answer them. A card that has just
come, or has just moved under the cursor, takes no answer for half a second: what was typed was not meant for it."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets.option_list import Option

from app.widgets.approval_card import card, clock
from app.widgets.ink import ink, lines
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from textual.content import Content
    from textual.events import Resize

    from app.core.approvals import ProposalView

DEAD_TIME = 0.5
"""Seconds (control-plane.md, "Proposals and decisions")."""
MOST = 50
"""Cards drawn; the rest is counted below them and moves up."""

Verb = Literal["allow", "reject", "edit", "log", "open", "batch"]


class ApprovalsPanel(Options):
    """`show` it what waits, whenever something changed or a second has passed."""

    DEFAULT_CSS = """
    ApprovalsPanel { height: 1fr; min-height: 5; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a,y", "answer('allow')", "Allow…", show=False),
        Binding("r", "answer('reject')", "Reject…", show=False),
        Binding("A", "answer('batch')", "Allow all alike…", show=False),
        Binding("e", "answer('edit')", "Edit…", show=False),
        Binding("l", "answer('log')", "Its request", show=False),
    ]

    class Asked(Message):
        """The operator wants to do something with a card."""

        def __init__(self, view: ProposalView, verb: Verb) -> None:
            super().__init__()
            self.view = view
            self.verb = verb

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._views: tuple[ProposalView, ...] | None = None
        self._drawn: dict[str, tuple[tuple[ProposalView, str, int], Content]] = {}
        """The cards in the list, in order, each with what it was made of."""
        self._armed: dict[str, float] = {}
        self._now = 0.0

    def on_mount(self) -> None:
        self.show(())

    def show(self, views: Sequence[ProposalView], now: float = 0.0) -> None:
        """Draw these. The cursor stays on its card."""
        if not views and self._views == ():
            return  # drawing it again would lay the whole screen out again
        self._now = now
        chosen = self.chosen
        self._views = tuple(views)
        self._arm(chosen)
        self.set_class(bool(views), "-asks")
        self.border_title = ink(("Approvals", "bold"), (f" {len(views)}" if views else "", "bold asks"))
        self.border_subtitle = ink(("a allow  r reject  ↵ look" if views else "", "faint"))
        self._draw(chosen)

    def _arm(self, chosen: ProposalView | None) -> None:
        """Start the dead time of new cards, and of the one that takes the place of the card under the cursor."""
        soon = monotonic() + DEAD_TIME
        ids = [view.id for view in self._views or ()]
        moved = chosen is not None and chosen.id not in ids
        self._armed = {identity: self._armed.get(identity, soon) for identity in ids}
        if moved:
            self._armed = dict.fromkeys(ids, soon)

    def armed(self, view: ProposalView) -> bool:
        """Whether this card takes an answer by now."""
        return monotonic() >= self._armed.get(view.id, float("inf"))

    @property
    def chosen(self) -> ProposalView | None:
        """The card under the cursor."""
        at = self.highlighted
        return self._views[at] if self._views and at is not None and at < len(self._views) else None

    @property
    def first(self) -> ProposalView | None:
        """The card that an answer from elsewhere is for: the one under the cursor, or the oldest."""
        return self.chosen or (self._views[0] if self._views else None)

    def _draw(self, chosen: ProposalView | None) -> None:
        held = self._views or ()
        names = [view.id for view in held[:MOST]]
        before = list(self._drawn)
        self._drawn = {name: self._drawn[name] for name in names if name in self._drawn}
        if not held:
            empty = [ink(("✓ Nothing waits for you", "soft")), ink(("No bottle has asked for more access.", "faint"))]
            self.set_options([Option(lines(empty), disabled=True)])
        elif before and names[: len(before)] == before:  # the newest come last
            self.add_options([Option(self._card(view)) for view in held[len(before) : MOST]])
            self._freshen()
            self._count_rest(len(names), len(held) - len(names))
        else:
            top = self.scroll_offset.y
            self.set_options([Option(self._card(view)) for view in held[:MOST]])
            self._count_rest(len(names), len(held) - len(names))
            self.highlighted = names.index(chosen.id) if chosen is not None and chosen.id in names else 0
            if before and top:
                self.scroll_to(y=top, animate=False, immediate=True)
                self.scroll_to_highlight()

    def _count_rest(self, drawn: int, more: int) -> None:
        """How many are not drawn, below those that are."""
        row = ink((f"and {more} more", "faint"))
        if self.option_count == drawn and more:
            self.add_option(Option(row, disabled=True))
        elif self.option_count > drawn and more:
            self.redraw(drawn, row)
        elif self.option_count > drawn:
            self.remove_option_at_index(drawn)

    def _card(self, view: ProposalView) -> Content:
        """Made anew only where it says something else by now."""
        width = max(10, self.scrollable_content_region.width - 2)
        key = (view, clock(view, self._now), width)
        drawn = self._drawn.get(view.id)
        if drawn is None or drawn[0] != key:
            drawn = self._drawn[view.id] = (key, card(view, self._now, width))
        return drawn[1]

    def _freshen(self) -> None:
        """Clocks have moved on: of the cards that can be seen. One that says something else is drawn in any case."""
        seen = self.in_sight()
        for at, view in enumerate((self._views or ())[:MOST]):
            if at in seen or self._drawn[view.id][0][0] != view:
                self.redraw(at, self._card(view))

    def on_resize(self, event: Resize) -> None:
        if self._views:
            self._drawn = {}
            self._draw(self.chosen)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._views:
            self._freshen()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a card its keys are the screen's: `e` opens the egress log, `A` the archive."""
        if action == "answer" and self.chosen is None:
            return False
        return super().check_action(action, parameters)

    def action_answer(self, verb: Verb) -> None:
        view = self.chosen
        if view is not None and self.armed(view):
            self.post_message(self.Asked(view, verb))

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        self.action_answer("open")
