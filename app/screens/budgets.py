"""All budgets: of the host, agents, bottle files and running bottles. Each is raised, set, cleared or made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from app.core.scopes import session_of, shown
from app.core.spending import BudgetOrder
from app.core.text import printable
from app.errors import CarboyError
from app.screens.answer import who
from app.screens.budget import BudgetForm, gauge
from app.screens.list_page import ListPage
from app.screens.live import LiveRoom
from app.widgets.ink import ink, lines
from app.widgets.key_bar import Key
from app.widgets.option_strip import OptionStrip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.content import Content
    from textual.widgets import OptionList

    from app.core.model import BudgetView
    from app.core.spending import BudgetsReport

WIDTH = 72
STATES = {"": ("open", "ok"), "budget": ("cut off", "refused"), "ask": ("waits for you", "asks")}


class BudgetsScreen(ListPage["BudgetView"], LiveRoom):
    """One budget a row; below, how the running bottles stand."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "change", "Change it…", show=False),
        Binding("n", "new", "New budget…", show=False),
        Binding("r", "reload", "Ask again", show=False),
    ]
    heading = "Budgets"
    empty = "None is set: n sets one, and so does settings.yml"
    keys = (
        Key("↵", "change", "screen.change"),
        Key("n", "new", "screen.new"),
        Key("r", "ask again", "screen.reload"),
        Key("esc", "close", "screen.close"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._slugs: dict[str, str] = {}

    def ask_again(self) -> None:
        self.reload()

    def action_reload(self) -> None:
        self.reload()

    async def fetch(self) -> Sequence[BudgetView]:
        found = await self.client.budgets()
        self._slugs = {item.scope: bottle.slug for bottle in found.bottles for item in bottle.budgets}
        marks = ", ".join(f"{mark} %" for mark in found.thresholds)
        self.note = f"a {found.period}, told of at {marks}"
        end = ink((f"used up: {found.shutdown}, unless a file says otherwise", "faint"))
        self.query_one("#list-word", Static).update(lines([end, *_bottles(found)]))
        return found.budgets

    def row(self, item: BudgetView) -> Content:
        return lines(gauge(item, self._slugs.get(item.scope, ""), WIDTH))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_change()

    def action_change(self) -> None:
        item = self.chosen
        if item is None:
            self.action_new()
            return
        scope = self._slugs.get(item.scope, "") if session_of(item.scope) else item.scope
        self.app.push_screen(ChangeBudget(scope, item), self._changed)

    def action_new(self) -> None:
        self.app.push_screen(ChangeBudget(), self._changed)

    def _changed(self, done: bool | None) -> None:
        if done:
            self.reload()


def _bottles(found: BudgetsReport) -> list[Content]:
    rows = [
        ink(
            (f"{printable(bottle.slug, 24):<25}", "ink"),
            STATES.get(bottle.cut, ("cut off by you", "refused")),
            (f"   at 100 %: {bottle.shutdown}", "faint"),
        )
        for bottle in found.bottles[:8]
    ]
    more = len(found.bottles) - len(rows)
    return [*rows, ink((f"and {more} more", "faint"))] if more > 0 else rows


class ChangeBudget(BudgetForm):
    """One budget of any scope: raised, set, or given back to what the files say."""

    def __init__(self, scope: str = "", held: BudgetView | None = None) -> None:
        super().__init__()
        self._scope = scope
        self._held = held

    def compose(self) -> ComposeResult:
        held = self._held
        with VerticalScroll(can_focus=False) as box:
            box.border_title = ink((shown(held.scope, self._scope) if held else "A new budget", "bold"))
            box.border_subtitle = ink(("↵ do it · tab next · esc leave it", "faint"))
            if held is not None:
                yield Static(lines(gauge(held, self._scope, self.room)))
                yield Static("What to do", classes="field")
                yield OptionStrip(("raise by", "set to", "clear"), id="verb")
            else:
                yield Static("Whose: global, agent:NAME, bottle:NAME, or a running bottle's name", classes="field")
                yield Input("global", id="scope", compact=True)
                yield Static("Provider: claude, codex, openai…", classes="field")
                yield Input(id="provider", compact=True)
            yield Static("Amount", classes="field")
            yield Input(placeholder="500k, 5M, or $5", id="amount", compact=True)
            yield Static(id="word", classes="field")

    def on_mount(self) -> None:
        self.query_one("#amount" if self._held is not None else "#scope", Input).focus()

    async def _apply(self) -> None:
        held = self._held
        amount = self.query_one("#amount", Input).value.strip()
        verb = self.query_one("#verb", OptionStrip).value if held is not None else "set to"
        scope = self._scope if held is not None else self.query_one("#scope", Input).value.strip()
        provider = held.provider if held is not None else self.query_one("#provider", Input).value.strip()
        if not scope or not provider or (not amount and verb != "clear"):
            raise CarboyError("Something is missing", "Say whose it is, of which provider, and how much", "bad_budget")
        order = BudgetOrder(
            scope=scope,
            provider=provider,
            amount=None if verb == "clear" else amount,
            more=verb == "raise by",
            hard=held.hard if held is not None else False,
            by=who(),
        )
        await self.client.set_budget(order)
        self.dismiss(True)
