"""Step 2: which bottles, and in what order; later ones win. Starts with the agent's own; space takes one in or out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets.option_list import Option

from app.core.draft import moved, toggled
from app.core.text import printable
from app.screens.launch.step import Step
from app.widgets.ink import ink, lines, spread
from app.widgets.key_bar import Key
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.events import Resize
    from textual.widget import Widget

    from app.core.model import BottleEntry
    from app.messages import BoardChanged


class Available(Options):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "screen.take", "Take in or out", show=False),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]


class Order(Options):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K,shift+up", "screen.shift(-1)", "Earlier", show=False),
        Binding("J,shift+down", "screen.shift(1)", "Later", show=False),
        Binding("space,delete,backspace", "screen.drop", "Take out", show=False),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]


class BottlesStep(Step):
    step = "bottles"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("space", "take in or out", "screen.take"),
        Key("tab", "order"),
        Key("K J", "move"),
        Key("↵", "next", "screen.next"),
    )
    AUTO_FOCUS = "Available"
    DEFAULT_CSS = """
    BottlesStep Horizontal { height: 1fr; }
    BottlesStep Available { width: 3fr; height: 1fr; }
    BottlesStep Order { width: 2fr; height: 1fr; margin-left: 1; }
    """

    def body(self) -> Iterable[Widget]:
        available, order = Available(classes="panel"), Order(classes="panel")
        available.border_title = ink(("Bottles", "bold"))
        order.border_title = ink(("Order", "bold"), (" later ones win", "faint"))
        yield Horizontal(available, order)

    def on_mount(self) -> None:
        self._draw(first=True)

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._draw)

    def on_board_changed(self, event: BoardChanged) -> None:
        if event.catalogue:
            self.work("read the bottles", self._read(), group="catalogue", alone=True)

    async def _read(self) -> None:
        self.flow.catalogue = await self.client.catalogue(self.flow.draft.cwd)
        self._draw()

    @property
    def entries(self) -> tuple[BottleEntry, ...]:
        return self.flow.catalogue.bottles if self.flow.catalogue else ()

    def _draw(self, *, first: bool = False) -> None:
        chosen, available, order = self.flow.draft.chosen, self.query_one(Available), self.query_one(Order)
        at = available.highlighted
        width = max(20, available.scrollable_content_region.width - 2)
        available.set_options([Option(_row(item, chosen, width), id=item.name) for item in self.entries])
        if first:
            at = next((index for index, item in enumerate(self.entries) if item.name in chosen), 0)
        available.highlighted = min(at or 0, len(self.entries) - 1) if self.entries else None
        place = order.highlighted
        if chosen:
            rows = [ink((f"{number} ", "faint"), (printable(name, 63), "ink")) for number, name in enumerate(chosen, 1)]
            order.set_options([Option(row, id=name) for row, name in zip(rows, chosen, strict=True)])
            order.highlighted = min(place or 0, len(chosen) - 1)
        else:
            order.set_options([Option(ink(("none yet: space takes one in", "faint")), disabled=True)])

    def _change(self, order: tuple[str, ...]) -> None:
        self.flow.draft = replace(self.flow.draft, bottles=order)
        self.complain("")
        self._draw()

    def action_take(self) -> None:
        at = self.query_one(Available).highlighted
        if at is None or at >= len(self.entries):
            return
        item = self.entries[at]
        if item.error and item.name not in self.flow.draft.chosen:
            self.complain(printable(item.error, 600))
            return
        self._change(toggled(self.flow.draft.chosen, item.name))

    def action_drop(self) -> None:
        at, chosen = self.query_one(Order).highlighted, self.flow.draft.chosen
        if at is not None and at < len(chosen):
            self._change(toggled(chosen, chosen[at]))

    def action_shift(self, by: int) -> None:
        """Move the bottle under the cursor of the order."""
        order = self.query_one(Order)
        if order.highlighted is None or not self.flow.draft.chosen:
            return
        changed, place = moved(self.flow.draft.chosen, order.highlighted, by)
        self._change(changed)
        order.highlighted = place

    def on_option_list_option_selected(self, event: Options.OptionSelected) -> None:
        event.stop()
        self.action_next()

    def action_next(self) -> None:
        from app.screens.launch.task import TaskStep

        if not self.flow.draft.chosen:
            self.complain("Take in at least one bottle with space: an agent without one has no sandbox")
            return
        self.go_on(TaskStep(self.flow))


def _row(item: BottleEntry, chosen: tuple[str, ...], width: int) -> Content:
    number = chosen.index(item.name) + 1 if item.name in chosen else 0
    box = ink((f"[{number}] ", "bold accent")) if number else ink(("[ ] ", "faint"))
    if item.error:
        head = box + ink(("✗ ", "bold refused"), (printable(item.name, 63), "faint"))
        why = printable(Step.shorter(item.error, item.file), 300)
        return lines([head, spread(ink((f"    {why}", "refused")), ink(), width)])
    head = box + ink((printable(item.name, 63), "bold ink" if number else "ink"))
    lineage = printable(item.lineage.replace(" -> ", " → "), 120) if item.lineage != item.name else ""
    provider = ink((printable(item.provider, 30), "faint")) if item.provider else ink()
    first = item.notes.strip().partition("\n")[0].lstrip("# ")
    about = " · ".join(part for part in (lineage, printable(first, 120)) if part)
    return lines([spread(head, provider, width), spread(ink((f"    {about}", "faint")), ink(), width)])
