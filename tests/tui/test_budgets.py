"""Budgets and usage in the app: gauges, the header, what waits for the operator, what the controller is asked."""

from typing import Any

import pytest

from app.core.model import BudgetAsk, BudgetView, StreamEvent, Sum
from app.core.spending import AnswerOrder, BottleBudget, BudgetOrder, BudgetsReport, Line, UsageReport
from app.core.usage import Metrics, Slice
from app.core.windows import Gauge
from app.widgets.approvals_panel import ApprovalsPanel
from app.widgets.budget_panel import BudgetPanel
from tests.tui.scripted import NOW, ScriptedClient, app, asked, view
from tests.tui.test_snapshots import LARGE, SMALL, keys
from tests.tui.waiting import ready, text_of, until

pytestmark = pytest.mark.xdist_group("snapshots")

SPEND = Sum(
    requests=41, input=48_000, output=62_000, cache_read=191_000, cache_write=9_000, cost_nano=840_000_000,
    tool_calls=23, ms=60_000.0, estimated=1,
)  # fmt: skip
OWN = BudgetView(scope="launch:s", provider="claude", used=310_000, limit=500_000)
HOST = BudgetView(
    scope="global", provider="claude", used=1_420_000, limit=5_000_000, period="month", source="settings.yml", hard=True
)
SPENT = OWN.model_copy(update={"used": 500_100})
TOTALS: dict[str, Any] = {
    "today": Sum(input=1_000_000, output=420_000, cost_nano=3_100_000_000).model_dump(),
    "windows": [Gauge(provider="claude", name="5h", kind="subscription", used=0.61).model_dump()],
}


def _slice(start: int, n: int) -> Slice:
    return Slice(start=start, sum=SPEND.model_copy(update={"input": 1000 * n * n}))


def client(*, spent: bool = False) -> ScriptedClient:
    held = (SPENT, HOST) if spent else (OWN, HOST)
    asks = (BudgetAsk(provider="claude", scope="launch:s", at=NOW - 20, until=NOW + 280),) if spent else ()
    first = view(
        "research-2", agent="researcher", color="blue", allowed=48, refused=5, spend=SPEND, budgets=held, asks=asks,
        cut="ask" if spent else "", shutdown="ask", attention=95 if spent else 10,
    )  # fmt: skip
    made = ScriptedClient((first, view("docs", provider="opencode", cut="operator", attention=0)))
    made.totals = TOTALS
    days = tuple(_slice(int(NOW) - 86_400 * (14 - n), n) for n in range(1, 15) if n != 9)  # on one day nothing was used
    quarters = tuple(_slice(int(NOW) // 900 * 900 - 900 * (40 - n), n) for n in range(20, 41))
    made.report_of_usage = UsageReport(
        since=0.0, now=NOW, today=SPEND, whole=SPEND, days=days, quarters=quarters,
        models=(Slice(provider="claude", model="claude-sonnet-4-5", sum=SPEND),
                Slice(provider="openai", model="mystery", sum=Sum(requests=1, input=5, unpriced=5))),
        bottles=(Slice(scope="research-2", provider="claude", sum=SPEND),),
        windows=(Gauge(provider="claude", name="5h", used=0.61, shares={"research-2": 0.4, "": 0.21}),),
        last=(Line(slug="research-2", at=NOW, provider="claude", model="claude-sonnet-4-5", host="h", context=18_200,
                   output=1_100, cached=0, cost_nano=12_000_000, ms=812.0),),
        sessions=(Metrics(session_id="s", slug="research-2", project="/p", model="claude-sonnet-4-5", turns=41,
                          tool_calls=23, peak_context=92_000, cost_nano=840_000_000, status="running"),),
    )  # fmt: skip
    made.report_of_budgets = BudgetsReport(
        period="month", thresholds=(50, 80, 95), budgets=(HOST, OWN),
        bottles=(BottleBudget(slug="research-2", shutdown="ask", cut="ask", budgets=held),),
    )  # fmt: skip
    return made


PICTURES: dict[str, tuple[bool, tuple[int, int], tuple[str, ...], str]] = {
    "budget_main": (False, LARGE, (), "310k of 500k"),
    "budget_asks": (True, LARGE, (), "waits for you"),
    "budget_small": (True, SMALL, ("3", "4"), "waits for you"),
    "budget_box": (True, LARGE, ("3", "b"), "Raise by"),
    "budget_usage": (False, LARGE, ("3", "u"), "By model"),
    "budget_usage_small": (False, SMALL, ("3", "u"), "History"),
    "budget_usage_bottle": (False, LARGE, ("3", "U"), "By model"),
    "budget_budgets": (False, LARGE, ("3", "B"), "told of at"),
    "budget_budgets_small": (False, SMALL, ("3", "B"), "told of at"),
    "budget_change": (False, LARGE, ("3", "B", "n"), "A new budget"),
    "budget_box_small": (True, SMALL, ("3", "b"), "Raise by"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    spent, size, pressed, shows = PICTURES[name]
    assert snap_compare(app(client(spent=spent)), terminal_size=size, run_before=keys(*pressed, shows=shows))


async def test_the_header_and_the_list_say_what_is_used() -> None:
    async with app(client()).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "1.4M tok" in text_of(pilot), "the header")
        shown = text_of(pilot)
        for text in ("$3.10 today", "5h window", "claude · 62%", "310k of 500k", "$0.84", "1 estimated", "cut off"):
            assert text in shown, text


async def test_the_list_of_budgets_says_all_of_itself_in_a_small_window() -> None:
    made = client()
    async with app(made).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("B")
        await until(pilot, lambda: "told of at" in text_of(pilot), "budgets")
        assert "a month, told of at 50 %, 80 %, 95 %" in text_of(pilot)
        assert "used up: cutoff, unless a file says otherwise" in text_of(pilot)
        made.report_of_budgets = made.report_of_budgets.model_copy(update={"thresholds": tuple(range(10, 100, 5))})
        await pilot.press("r")
        await until(pilot, lambda: "…" in text_of(pilot).splitlines()[0], "a cut that is seen")


@pytest.mark.parametrize(("typed", "amount"), [("50k", "50k"), ("", "125k")])
async def test_a_used_up_budget_is_raised_by_what_is_typed_or_suggested(typed: str, amount: str) -> None:
    made = client(spent=True)
    async with app(made).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("3", "b")
        await until(pilot, lambda: "Raise by" in text_of(pilot), "the box")
        await pilot.press("b", *typed, "enter")
        await until(pilot, lambda: bool(made.orders), "the answer")
        (order,) = made.orders
        assert isinstance(order, AnswerOrder)
        assert (order.action, order.provider, order.amount) == ("raise", "claude", amount)
        await until(pilot, lambda: "Raise by" not in text_of(pilot), "the box to close")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("key", "action", "amount"), [("y", "raise", "125k"), ("r", "cutoff", "")])
async def test_an_ask_is_a_card_that_two_keys_answer(size: tuple[int, int], key: str, action: str, amount: str) -> None:
    made = client(spent=True)
    made.proposals_now = [asked()]
    async with app(made).run_test(size=size) as pilot:
        await ready(pilot)
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await pilot.press("a", "down")
        await until(pilot, lambda: panel.chosen is not None and panel.chosen.kind == "budget-ask", "the card")
        assert "claude is used up" in text_of(pilot)
        await until(pilot, lambda: panel.armed(panel.chosen), "it takes keys")  # type: ignore[arg-type]
        await pilot.press(key)
        await until(pilot, lambda: "It is used up" in text_of(pilot), "the box")
        await pilot.press(key, "enter")  # a key that is pressed twice is no amount
        await until(pilot, lambda: bool(made.orders), "the answer")
        (order,) = made.orders
        assert isinstance(order, AnswerOrder)
        assert (order.action, order.provider, order.amount) == (action, "claude", amount)


async def test_an_ask_is_answered_from_the_terminal_and_gives_it_back() -> None:
    made = client(spent=True)
    async with app(made).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await pilot.press("enter")
        await until(pilot, pilot.app.screen._in_terminal, "the terminal")  # type: ignore[attr-defined]
        await until(pilot, lambda: panel.first is not None and panel.armed(panel.first), "the card")
        await pilot.press("ctrl+right_square_bracket", "y")
        await until(pilot, lambda: "It is used up" in text_of(pilot), "the box")
        await pilot.press("enter")
        await until(pilot, lambda: bool(made.orders), "the answer")
        await until(pilot, pilot.app.screen_stack[0]._in_terminal, "the terminal again")  # type: ignore[attr-defined]


async def test_a_budget_that_is_not_used_up_is_raised_in_its_own_scope_and_the_policy_changes() -> None:
    made = client()
    async with app(made).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("3", "b")
        await until(pilot, lambda: "Raise by" in text_of(pilot), "the box")
        await pilot.press(*"1M", "tab", "right", "ctrl+s")
        await until(pilot, lambda: len(made.orders) == 2, "both orders")
        policy, raised = made.orders
        assert isinstance(policy, AnswerOrder)
        assert isinstance(raised, BudgetOrder)
        assert (policy.action, policy.policy) == ("policy", "cutoff")
        assert (raised.scope, raised.provider, raised.amount, raised.more) == ("research-2", "claude", "1M", True)


async def test_nothing_chosen_is_said_and_keeps_the_box() -> None:
    made = client(spent=True)
    async with app(made).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("3", "b")
        await until(pilot, lambda: "Raise by" in text_of(pilot), "the box")
        await pilot.press("backspace", "enter")
        await until(pilot, lambda: "Nothing was chosen" in text_of(pilot), "the complaint")
        assert made.orders == []


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_usage_is_asked_for_again_when_there_is_more_and_only_while_it_is_seen(size: tuple[int, int]) -> None:
    made = client()
    async with app(made).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("3", "U")
        await until(pilot, lambda: "41 answers" in text_of(pilot), "the screen")
        assert made.asked_usage == ["research-2"]
        more = SPEND.model_copy(update={"requests": 42})
        made.report_of_usage = made.report_of_usage.model_copy(update={"whole": more})
        made.push(StreamEvent(seq=0, at=NOW, kind="usage", data=dict(TOTALS)))
        await until(pilot, lambda: "42 answers" in text_of(pilot), "what is new")
        await pilot.press("D")
        await until(pilot, lambda: "Doctor" in text_of(pilot), "another screen")
        made.push(StreamEvent(seq=0, at=NOW, kind="usage", data=dict(TOTALS)))
        board = pilot.app.board  # type: ignore[attr-defined]
        await until(pilot, lambda: board.totals is not None, "it is known")
        await pilot.pause(1.2)
        assert len(made.asked_usage) == 2
        await pilot.press("escape")
        await until(pilot, lambda: len(made.asked_usage) == 3, "asked again once it is seen")


async def test_any_budget_is_changed_from_their_screen_and_a_new_one_is_made() -> None:
    made = client()
    async with app(made).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("3", "B")
        await until(pilot, lambda: "told of at" in text_of(pilot), "the screen")
        await pilot.press("enter")
        await until(pilot, lambda: "What to do" in text_of(pilot), "the box")
        await pilot.press(*"2M", "enter")
        await until(pilot, lambda: len(made.orders) == 1, "the raise")
        await until(pilot, lambda: "What to do" not in text_of(pilot), "the box to close")
        await pilot.press("down", "b")
        await until(pilot, lambda: "What to do" in text_of(pilot), "the second box")
        await pilot.press("shift+tab", "right", "right", "ctrl+s")
        await until(pilot, lambda: len(made.orders) == 2, "cleared")
        await until(pilot, lambda: "What to do" not in text_of(pilot), "the box to close")
        await pilot.press("n")
        await until(pilot, lambda: "A new budget" in text_of(pilot), "the new one")
        await pilot.press("enter")
        await until(pilot, lambda: "Something is missing" in text_of(pilot), "the complaint")
        await pilot.press(*"agent:x", "tab", *"codex", "tab", *"$5", "enter")
        await until(pilot, lambda: len(made.orders) == 3, "the new one")
        first, second, third = (order.model_copy(update={"by": ""}) for order in made.orders)
        assert first == BudgetOrder(scope="global", provider="claude", amount="2M", more=True, hard=True)
        assert second == BudgetOrder(scope="research-2", provider="claude", amount=None)
        assert third == BudgetOrder(scope="agent:x", provider="codex", amount="$5")


async def test_the_header_of_a_narrow_window_says_what_was_used_today() -> None:
    async with app(client(spent=True)).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "1.4M tok · $3.10 today" in text_of(pilot), "the header")
        for text in ("2 bottles", "1 approval", "healthy"):
            assert text in text_of(pilot).splitlines()[0], text


async def test_a_cutoff_asks_once_and_is_taken_back_at_once() -> None:
    made = client()
    async with app(made).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("3", "x")
        await until(pilot, lambda: "Cut research-2 off?" in text_of(pilot), "the question")
        await pilot.press("y")
        await until(pilot, lambda: ("cutoff", "research-2") in made.calls, "the cutoff")
        await until(pilot, lambda: "x gives it back" in text_of(pilot), "the panel")
        await pilot.press("x")
        await until(pilot, lambda: ("restore_egress", "research-2") in made.calls, "the model's return")


async def test_a_budget_is_offered_only_for_what_is_counted() -> None:
    made = ScriptedClient((view("sh", provider="shell", counted=("anthropic", "openai")),))
    async with app(made).run_test(size=SMALL) as pilot:
        await ready(pilot)
        await pilot.press("3", "b")
        await until(pilot, lambda: "Budget for one of anthropic, openai" in text_of(pilot), "what can be set")
        assert "Budget for shell" not in text_of(pilot)
        await pilot.press("tab", *"500k", "enter")
        await until(pilot, lambda: "Whose tokens it is for is missing" in text_of(pilot), "the complaint")
        await pilot.press("shift+tab", *"anthropic", "enter")
        await until(pilot, lambda: bool(made.orders), "the order")
        assert made.orders[0].model_copy(update={"by": ""}) == BudgetOrder(
            scope="sh", provider="anthropic", amount="500k"
        )


async def test_gauges_have_the_width_that_there_is_also_after_the_window_became_narrow() -> None:
    async with app(client()).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("4")
        await until(pilot, lambda: "at 100 %: ask" in text_of(pilot), "the panel")
        await pilot.resize_terminal(60, 15)
        panel = pilot.app.screen.query_one(BudgetPanel)
        await until(pilot, lambda: 0 < panel.size.width < 60, "its new width")
        await until(pilot, lambda: panel.content_size.height == len(panel._content.plain.splitlines()), "its height")
        await pilot.press("3", "b")
        await until(pilot, lambda: "Raise by" in text_of(pilot), "the box")
        shown = text_of(pilot).splitlines()
        assert any("claude  this host" in line and "of 5.0M" in line for line in shown)
        assert any("▰▰" in line and "28%" in line for line in shown)
