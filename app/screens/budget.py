"""One bottle's budgets, over the main screen: raise them, freeze, kill or cut off where one is used up, or say what a
used up budget shall do. Also where an ask is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from app.core import asks, bottles, trail
from app.core.scopes import shown
from app.core.spending import AnswerOrder, BudgetOrder
from app.core.text import printable
from app.errors import CarboyError
from app.screens.answer import who
from app.screens.room import CLOSE, Box, explain
from app.widgets.answer_field import OPENING, AnswerField
from app.widgets.ink import ink, lines, spread
from app.widgets.option_strip import OptionStrip

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content

    from app.core.model import BottleView, BudgetView

POLICIES = ("ask", "cutoff", "freeze", "kill")
SPENT = ("raise", "cutoff", "freeze", "kill")
DEAF = OPENING["allow"] | OPENING["reject"] | {"b"}
"""Keys that open this box."""


class BudgetForm(Box[bool]):
    """A box that changes a budget: ↵ applies what was typed, its last line says what went wrong. True once something
    was changed."""

    BINDINGS: ClassVar[list[BindingType]] = [*CLOSE, Binding("ctrl+s", "apply", "Do it", show=False, priority=True)]
    DEFAULT_CSS = """
    BudgetForm { align: center middle; background: $background 60%; }
    BudgetForm > VerticalScroll {
        width: 74; max-width: 96%; height: auto; max-height: 94%; border: round $accent; background: $panel;
        padding: 1 2; border-title-color: $accent; border-subtitle-color: $faint;
    }
    BudgetForm Static { height: auto; }
    BudgetForm .field { color: $faint; margin-top: 1; }
    BudgetForm Input { height: 1; border: none; background: $raised; padding: 0 1; }
    BudgetForm Input:focus { border: none; background: $cursor; background-tint: $background 0%; }
    """

    @property
    def room(self) -> int:
        """Cells in a line of the box, beside its scroll bar."""
        return min(74, int(self.app.size.width * 0.96)) - 8

    def on_input_submitted(self) -> None:
        self.action_apply()

    def on_option_strip_changed(self, event: OptionStrip.Changed) -> None:
        event.stop()

    def action_apply(self) -> None:
        self.work("change the budget", self._apply(), group="budget", alone=True)

    async def _apply(self) -> None:
        """Order what was chosen and close. Raises CarboyError."""
        raise NotImplementedError

    def failed(self, what: str, error: Exception) -> None:
        self.query_one("#word", Static).update(ink((f"✗ {printable(explain(error), 400)}", "refused")))


class BudgetBox(BudgetForm):
    """One bottle's."""

    AUTO_FOCUS = "#provider, #amount"

    def __init__(self, view: BottleView, *, action: str = "raise", provider: str = "") -> None:
        """What is chosen already when it opens, and the provider that it is about."""
        super().__init__()
        self.view = view
        self._action = action
        used_up = [item for item in view.budgets if item.percent >= 100 and provider in ("", item.provider)]
        self.spent = used_up[0] if used_up else None

    def compose(self) -> ComposeResult:
        view = self.view
        with VerticalScroll(can_focus=False) as box:
            box.border_title = ink((f"Budget of {bottles.name(view)}", "bold"))
            box.border_subtitle = ink(("↵ do it · tab next · esc leave it", "faint"))
            yield Static(lines(_rows(view, self.room)))
            if self.spent is not None:
                yield Static("It is used up", classes="field")
                answer = OptionStrip(SPENT, id="action")
                answer.choose(self._action)
                yield answer
            if self._choose:
                yield Static(f"Budget for one of {', '.join(view.counted)}", classes="field")
                yield AnswerField("", deaf=DEAF, placeholder="whose tokens", id="provider")
                yield Static("Amount", classes="field")
            else:
                yield Static("Raise by" if view.budgets else f"Budget for {self._provider}", classes="field")
            amount = asks.suggested(self.spent) if self.spent is not None else ""
            yield AnswerField(amount, deaf=DEAF, placeholder="500k, 5M, or $5", id="amount")
            yield Static("A used up budget means", classes="field")
            strip = OptionStrip(POLICIES, id="policy")
            strip.choose(view.shutdown)
            yield strip
            yield Static(id="word", classes="field")

    @property
    def _choose(self) -> bool:
        """Whether what its own CLI uses is not counted, as a shell's is not: a budget for it would never be used up."""
        return not self.view.budgets and bool(self.view.counted) and self.view.provider not in self.view.counted

    @property
    def _provider(self) -> str:
        """Which budget an amount is for: the one that is used up, else the first."""
        if self.spent is not None:
            return self.spent.provider
        if self._choose:
            return self.query_one("#provider", Input).value.strip()
        return self.view.budgets[0].provider if self.view.budgets else self.view.provider

    async def _apply(self) -> None:
        slug, by = self.view.slug, who()
        amount = self.query_one("#amount", Input).value.strip()
        action = self.query_one("#action", OptionStrip).value if self.spent is not None else "raise"
        policy = self.query_one("#policy", OptionStrip).value
        changed = False
        if policy != self.view.shutdown:
            order = AnswerOrder.model_validate({"action": "policy", "policy": policy, "by": by})
            self._shown(await self.client.answer_budget(slug, order))
            changed = True
        if action != "raise":
            order = AnswerOrder.model_validate({"action": action, "provider": self._provider, "by": by})
            self._shown(await self.client.answer_budget(slug, order))
            changed = True
        elif amount:
            if not self._provider:
                raise CarboyError("Whose tokens it is for is missing", "Name one of them above", "bad_budget")
            await self._raise(amount, by)
            changed = True
        if not changed:
            raise CarboyError("Nothing was chosen", "Type an amount, or choose what shall happen", "bad_budget")
        self.carboy.notify(f"{bottles.name(self.view)}: its budget is changed")
        self.dismiss(True)

    async def _raise(self, amount: str, by: str) -> None:
        if self.spent is not None:
            order = AnswerOrder(action="raise", provider=self._provider, amount=amount, by=by)
            self._shown(await self.client.answer_budget(self.view.slug, order))
            return
        first = self.view.budgets[0] if self.view.budgets else None
        launch = first is None or first.scope.startswith("launch:")
        scope = self.view.slug if first is None or launch else first.scope
        await self.client.set_budget(
            BudgetOrder(scope=scope, provider=self._provider, amount=amount, more=first is not None, by=by)
        )

    def _shown(self, view: BottleView) -> None:
        self.carboy.board.bottle(view)
        self.carboy.board_changed(bottles=True)


def _rows(view: BottleView, width: int) -> list[Content]:
    if not view.budgets:
        return [ink(("No budget holds for it. An amount below is one for this bottle alone.", "soft"))]
    return [row for item in view.budgets for row in gauge(item, view.slug, width)]


def gauge(item: BudgetView, slug: str, width: int) -> list[Content]:
    """A budget in two lines: what it is, and how full."""
    tone = trail.tone(item.percent)
    kind = "" if item.period == "never" else f" a {item.period}"
    hard = " · hard" if item.hard else ""
    used = f"{trail.amount(item.used, item.unit)} of {trail.amount(item.limit, item.unit)}{kind}{hard}"
    full, empty = trail.bar(item.fraction, width - 6)
    name = ink((printable(item.provider, 30), "bold ink"), (f"  {printable(shown(item.scope, slug), 40)}", "faint"))
    return [spread(name, ink((used, "soft")), width), ink((full, tone), (empty, "line"), (f" {item.percent}%", tone))]
