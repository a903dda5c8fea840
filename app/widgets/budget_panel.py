"""The selected bottle's budgets as gauges, its tokens of the last hour as a sparkline, and what a used up budget does.
Drawn from snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widget import Widget

from app.core import trail
from app.core.scopes import shown
from app.core.text import printable
from app.core.units import count
from app.widgets.ink import Pressable, ink, lines, pressable, refresh, spread

if TYPE_CHECKING:
    from textual.geometry import Size

    from app.core.model import BottleView, BudgetView

MOST = 3
"""Budgets drawn; `b` shows them all."""


class BudgetPanel(Pressable, Widget):
    DEFAULT_CSS = """
    BudgetPanel { height: auto; padding: 0 1; }
    """

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = ink(("Budget", "bold"))
        self._shown: tuple[BottleView, Sequence[int]] | None = None
        self._content: Content = ink()

    def show(self, view: BottleView | None, minutes: Sequence[int]) -> None:
        """Draw one bottle's. Nothing is drawn for one that used nothing and has no budget."""
        self.display = view is not None and bool(view.budgets or view.spend.total or view.cut or view.fault)
        if view is None or not self.display:
            return
        self._shown = view, minutes
        self.set_class(bool(view.asks), "-asks")
        content = self._draw()
        if not content.is_same(self._content):
            refresh(self, self._content, content)

    def render(self) -> Content:
        # here, not when it is told: only now the width is known
        self._content = self._draw()
        return self._content

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """At the width that it is about to have: drawn for a wider one, its rows would be counted as wrapped."""
        return self._draw(width).get_height({}, width)

    def _draw(self, width: int = 0) -> Content:
        if self._shown is None:
            return ink()
        return lines(list(_rows(*self._shown, max(16, width or self.content_region.width or 34))))


def _rows(view: BottleView, minutes: Sequence[int], width: int) -> list[Content]:
    rows: list[Content] = []
    if view.asks:
        rows.append(ink((f"⚑ {printable(view.asks[0].provider, 30)} used up: waits for you", "bold asks")))
        rows.append(pressable("screen.budget", ("b", "bold accent"), (" raise it, or say what to do", "soft")))
    elif view.cut:
        why = "by you · x gives it back" if view.cut == "operator" else "its budget is used up · b raises it"
        rows.append(ink(("■ cut off ", "bold refused"), (why, "soft")))
    for budget in view.budgets[:MOST]:
        rows += _gauge(budget, view, width)
    spend = view.spend
    if any(minutes):
        rows.append(ink((trail.sparkline(minutes, width), "accent")))
    if spend.total:
        parts = (("in ", spend.input + spend.cache_write), ("  cache ", spend.cache_read), ("  out ", spend.output))
        rows.append(ink(*(piece for name, value in parts for piece in ((name, "faint"), (count(value), "soft")))))
        left = trail.left(view.budgets[0], minutes) if view.budgets else ""
        rows.append(ink((trail.cost(spend), "ink"), (" this bottle", "faint"), (f" · {left}" if left else "", "faint")))
    if spend.unmetered or spend.estimated:
        rows.append(ink((f"▲ {spend.estimated} estimated, {spend.unmetered} without usage", "asks")))
    if view.fault:
        rows.append(ink((f"▲ {printable(view.fault, 200)}", "asks")))
    if view.budgets:
        rows.append(ink(("at 100 %: ", "faint"), (view.shutdown, "soft")))
    return rows


def _gauge(budget: BudgetView, view: BottleView, width: int) -> list[Content]:
    tone = trail.tone(budget.percent)
    name = printable(budget.provider, 20)
    scope = "" if budget.scope.startswith("launch:") else f" {printable(shown(budget.scope, view.slug), 24)}"
    used = f"{trail.amount(budget.used, budget.unit)} of {trail.amount(budget.limit, budget.unit)}"
    percent = f" {budget.percent}%"
    full, empty = trail.bar(budget.fraction, max(4, width - len(percent)))
    return [
        spread(ink((name, "bold ink"), (scope, "faint")), ink((used, "soft")), width),
        ink((full, tone), (empty, "line"), (percent, f"bold {tone}")),
    ]
