"""Budgets as they are kept: shared, never passed by more than what is in flight, told of once, raised live, fired."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from app.controller import budget_foresight
from app.controller.metering import Report
from app.controller.record import SessionRecord
from app.core.model import BottleView, SidecarHealth
from app.core.schema import Amount
from app.core.spending import AnswerOrder, BudgetOrder, CutoffOrder
from app.core.usage import Intent, UsageRow
from app.errors import CarboyError
from app.paths import Paths
from app.store.base import EventQuery
from app.store.metering import Metering
from app.tasks import spawn
from sidecar.allowance import LeaseNote
from sidecar.meter.ledger import Ledger, Need
from tests.conftest import until
from tests.controller.budget_kit import NEED, Kit, kit, sidecar


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.resolve({"CARBOY_HOME": str(tmp_path)})


def code(made: Kit, slug: str = "one", need: Need = NEED) -> str:
    return sidecar(made.desk.named(slug)).ledger.check(need).code


async def actions(made: Kit) -> list[str]:
    return [row.action for row in await made.store.audit()]


def shown(made: Kit, slug: str = "one") -> BottleView:
    return made.desk.named(slug).view


async def test_ten_bottles_on_one_budget_pass_it_by_no_more_than_what_is_in_flight(paths: Paths) -> None:
    budget, tokens = 100_000, 1_700
    async with kit(paths, budget={"claude": budget}) as made:
        sessions = [made.desk.add(f"b{number}") for number in range(10)]
        for session in sessions:
            await made.up(session)
        async with asyncio.timeout(120):
            await asyncio.gather(*(made.connection(session, tokens) for session in sessions for _ in range(5)))
        assert budget <= made.used <= budget + made.peak
        assert made.used - budget <= 50 * tokens
        await until(lambda: all(session.view.cut == "budget" for session in sessions))


async def test_a_budget_that_nothing_counts_against_is_not_set(paths: Paths) -> None:
    """It would look like a limit, and be none."""
    async with kit(paths) as made:
        await made.up(made.desk.add("one"))
        with pytest.raises(CarboyError, match="What shell uses in one is not counted") as caught:
            await made.orders.set(BudgetOrder(scope="one", provider="shell", amount="500k"))
        assert "claude" in caught.value.hint
        assert await actions(made) == []
        await made.orders.set(BudgetOrder(scope="one", provider="claude", amount="500k"))
        assert [item.provider for item in shown(made).budgets] == ["claude"]


@pytest.mark.parametrize("scope", ["global", "agent:dev", "bottle:box"])
async def test_a_budget_under_a_name_that_nothing_is_counted_as_is_refused(paths: Paths, scope: str) -> None:
    async with kit(paths) as made:
        with pytest.raises(CarboyError, match="Nothing is counted as cluade") as caught:
            await made.orders.set(BudgetOrder(scope=scope, provider="cluade", amount="5M"))
        assert {"claude", "openai"} <= set(caught.value.hint.removeprefix("Name one of ").split(", "))
        assert await actions(made) == []
        await made.orders.set(BudgetOrder(scope=scope, provider="openai", amount="5M"))


async def test_where_no_budget_governs_there_is_no_limit(paths: Paths) -> None:
    async with kit(paths) as made:
        await made.up(made.desk.add("one"))
        assert code(made) == ""
        assert shown(made).budgets == ()
        await made.spend(made.desk.named("one"), 10**9)
        await until(lambda: shown(made).spend.total == 10**9)
        assert code(made) == ""


async def test_the_nearest_governs_and_a_hard_one_besides(paths: Paths) -> None:
    async with kit(paths, budget={"claude": {"tokens": 5000, "hard": True}}) as made:
        bottle = {"budget": {"claude": {"tokens": 2000}}}
        one, two = made.desk.add("one", budget={"claude": Amount(tokens=50_000)}, bottle=bottle), made.desk.add("two")
        await made.up(one)
        await made.up(two)
        await until(lambda: [item.scope for item in shown(made).budgets] == ["launch:id-one", "global"])
        await made.spend(two, 5000)
        await until(lambda: code(made) == "budget_exhausted" and code(made, "two") == "budget_exhausted")


async def test_a_crossing_is_told_recorded_and_lifted_by_a_raise(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 10_000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        await made.spend(one, 8200)
        await until(lambda: shown(made).budgets[0].percent == 82)
        await made.spend(one, 2000)
        await until(lambda: code(made) == "budget_exhausted")
        await until(lambda: shown(made).cut == "budget")
        notices = [item.data["text"] for item in await made.store.events(EventQuery()) if item.kind == "notice"]
        assert [text.split(" %")[0] for text in notices if "% of" in text] == ["80"]
        assert any("is used up: its requests to the model are refused" in text for text in notices)
        assert await actions(made) == ["budget-cutoff"]
        await made.orders.set(BudgetOrder(scope="global", provider="claude", amount="5k", more=True, by="me"))
        assert code(made) == ""
        assert (shown(made).cut, shown(made).budgets[0].limit) == ("", 15_200)
        assert await actions(made) == ["budget-cutoff", "budget-set", "budget-lifted"]
        await made.orders.set(BudgetOrder(scope="global", provider="claude", amount=None))
        await until(lambda: code(made) == "budget_exhausted")


@pytest.mark.parametrize("policy", ["freeze", "kill"])
async def test_a_crossing_fires_its_policy_once(paths: Paths, policy: str) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one", bottle={"shutdown": policy})
        await made.up(one)
        await made.spend(one, 1000)
        await made.desk.acted.wait()
        await made.spend(one, 1000)
        await made.budgets.apply()
        await made.budgets.apply()
        assert made.desk.acts == [(policy, "one")]
        assert await actions(made) == [f"budget-{policy}"]


async def test_what_could_not_be_done_is_tried_again(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one", bottle={"shutdown": "freeze"})
        made.desk.refuses = 2
        await made.up(one)
        await made.spend(one, 1000)
        await until(lambda: "claude" in one.record.crossings)
        assert not one.record.crossings["claude"].done

        async def done() -> bool:
            await made.budgets.apply()
            return one.record.crossings["claude"].done

        await until(done)
        assert made.desk.acts == [("freeze", "one")]
        assert await actions(made) == ["budget-freeze"]


async def test_a_launch_that_would_be_frozen_at_once_is_refused(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one, two = made.desk.add("one"), made.desk.add("two", shutdown="freeze")
        await made.up(one)
        await budget_foresight.refuse(made.budgets, two)
        await made.spend(one, 1000)
        with pytest.raises(CarboyError, match="1,000 tokens a month is used up") as caught:
            await budget_foresight.refuse(made.budgets, two)
        assert caught.value.hint == "Raise it: carboy budget raise global claude AMOUNT"
        await budget_foresight.refuse(made.budgets, one)


async def test_an_ask_holds_until_the_operator_answers(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one", shutdown="ask")
        await made.up(one)
        await made.spend(one, 1000)
        await until(lambda: bool(shown(made).asks))
        assert sidecar(one).ledger.check(NEED).hold
        assert (shown(made).cut, shown(made).attention) == ("ask", 95)
        await made.orders.answer("one", AnswerOrder(action="raise", amount="2k", by="me"))
        assert (code(made), shown(made).asks) == ("", ())
        await made.spend(one, 2000)
        await until(lambda: bool(shown(made).asks))
        await made.orders.answer("one", AnswerOrder(action="cutoff", by="me"))
        assert (shown(made).cut, shown(made).asks) == ("budget", ())
        assert not sidecar(one).ledger.check(NEED).hold


async def test_a_bottle_that_has_ended_asks_nothing_any_more(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one", shutdown="ask")
        await made.up(one)
        await made.spend(one, 1000)
        await until(lambda: bool(shown(made).asks))
        await made.budgets.ended(one)
        assert (shown(made).cut, shown(made).asks) == ("", ())
        await made.budgets.apply()  # its box has not been taken away yet
        assert (shown(made).cut, shown(made).asks) == ("", ())


@pytest.mark.parametrize(("hold", "acts"), [("reject", []), ("park", [("freeze", "one")])])
async def test_an_ask_that_nobody_answers(paths: Paths, hold: str, acts: list[tuple[str, str]]) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one", shutdown="ask", bottle={"unattended": {"hold": hold, "max_wait": 1}})
        await made.up(one)
        await made.spend(one, 1000)
        await until(lambda: shown(made).cut == "budget")
        assert made.desk.acts == acts
        assert code(made) == "budget_exhausted"


async def test_the_operators_cutoff_and_its_end(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        await made.orders.cutoff("one", CutoffOrder(reason="enough", by="me"))
        assert (code(made), shown(made).cut) == ("budget_cutoff", "operator")
        await made.orders.restore("one", CutoffOrder(by="me"))
        assert (code(made), shown(made).cut) == ("", "")
        await made.spend(one, 1000)
        await until(lambda: shown(made).cut == "budget")
        with pytest.raises(CarboyError) as caught:
            await made.orders.restore("one", CutoffOrder())
        assert caught.value.code == "budget_used_up"
        assert await actions(made) == ["cutoff", "restore-egress", "budget-cutoff"]


async def test_a_cutoff_of_a_provider_that_closes_nothing_is_refused(paths: Paths) -> None:
    """Whoever misspells one must not believe that it is cut off."""
    async with kit(paths) as made:
        await made.up(made.desk.add("one"))
        with pytest.raises(CarboyError) as caught:
            await made.orders.cutoff("one", CutoffOrder(providers=("claude", "cluade"), by="me"))
        assert (caught.value.code, "cluade" in caught.value.message) == ("no_provider", True)
        assert "claude" in caught.value.hint
        assert (shown(made).cut, await actions(made)) == ("", [])
        await made.orders.cutoff("one", CutoffOrder(providers=("claude",), by="me"))
        assert code(made) == "budget_cutoff"


async def test_a_full_disk_keeps_no_cutoff_from_being_in_force_and_ends_none(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with kit(paths) as made:
        one = made.desk.add("one")
        await made.up(one)
        with monkeypatch.context() as patch:
            patch.setattr(SessionRecord, "save", full)
            await made.orders.cutoff("one", CutoffOrder(reason="enough", by="me"))
            assert (code(made), shown(made).cut) == ("budget_cutoff", "operator")
            with pytest.raises(OSError, match="space"):
                await made.orders.restore("one", CutoffOrder(by="me"))
        await made.budgets.apply(one.id)
        assert (code(made), shown(made).cut) == ("budget_cutoff", "operator")


async def test_a_cutoff_is_in_force_when_it_returns_also_while_the_sidecar_is_told_of_something_else(
    paths: Paths,
) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        sidecar(one).slow = slow = asyncio.Event()
        asked = spawn(made.orders.set(BudgetOrder(scope="global", provider="claude", amount="5k")), name="set")
        await until(lambda: made.budgets._sending)
        cut = spawn(made.orders.cutoff("one", CutoffOrder(reason="enough", by="me")), name="cut")
        await until(lambda: one.record.cutoff)
        await asyncio.sleep(0.1)
        slow.set()
        await cut
        assert code(made) == "budget_cutoff"
        await asked


async def test_a_cutoff_does_not_wait_for_the_sidecars_of_others(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one, two = made.desk.add("one"), made.desk.add("two")
        await made.up(one)
        await made.up(two)
        sidecar(two).slow = slow = asyncio.Event()
        asked = spawn(made.orders.set(BudgetOrder(scope="global", provider="claude", amount="5k")), name="set")
        await until(lambda: two.id in made.budgets._sending)
        await asyncio.wait_for(made.orders.cutoff("one", CutoffOrder(reason="enough", by="me")), 20)
        assert code(made) == "budget_cutoff"
        assert not asked.done()
        slow.set()
        await asked


async def test_a_sidecar_that_does_not_take_a_cutoff_is_restarted(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        one.sidecar_is(SidecarHealth(state="healthy"))
        await made.orders.cutoff("one", CutoffOrder(by="me"))
        await made.orders.restore("one", CutoffOrder(by="me"))
        assert (code(made), sidecar(one).restarts) == ("", 0)
        sidecar(one).down = True  # it runs, and answers nothing
        await made.orders.cutoff("one", CutoffOrder(by="me"))
        assert sidecar(one).restarts == 1
        await made.up(one)
        assert code(made) == "budget_cutoff"


async def test_a_controller_whose_clock_was_put_back_is_heard(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 10_000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        ledger = sidecar(one).ledger
    assert ledger.allowance is not None
    ledger.grant(ledger.allowance.model_copy(update={"version": ledger.allowance.version + 3_600_000}))
    async with kit(paths, budget={"claude": 10_000}) as made:
        one = made.desk.add("one")
        sidecar(one).ledger = ledger
        made.budgets.sidecar_up(one.id)
        await until(lambda: sidecar(one).grants > 0)
        await made.orders.cutoff("one", CutoffOrder(reason="enough", by="me"))
        assert code(made) == "budget_cutoff"


async def test_a_budget_in_dollars_counts_prices_and_refuses_a_model_without_one(paths: Paths) -> None:
    async with kit(paths, budget={"claude": {"usd": 0.003}}) as made:
        one = made.desk.add("one")
        await made.up(one)
        assert code(made) == ""
        assert code(made, need=Need("claude", "nobody-knows", 10, 10)) == "budget_unknown"
        await made.spend(one, 1000)  # $3 a million
        await until(lambda: code(made) == "budget_exhausted")
        await until(lambda: shown(made).spend.cost_nano == 3_000_000)  # shown when it was looked up


async def test_a_new_controller_finds_what_was_used_and_told(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 10_000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        await made.spend(one, 9000)
        await until(lambda: shown(made).budgets[0].percent == 90)
        ledger = sidecar(one).ledger
    async with kit(paths, budget={"claude": 10_000}) as made:
        one, made.number = made.desk.add("one"), 100  # ids of answers do not come twice
        sidecar(one).ledger = ledger
        made.budgets.sidecar_up(one.id)
        await until(lambda: sidecar(one).grants > 0)
        await until(lambda: bool(shown(made).budgets) and shown(made).budgets[0].used == 9000)
        await made.spend(one, 1000)
        await until(lambda: code(made) == "budget_exhausted")
        notices = [item.data["text"] for item in await made.store.events(EventQuery()) if item.kind == "notice"]
        assert sum("80 %" in text for text in notices) == 1


async def test_a_sidecar_that_says_it_used_more_than_there_is_stops_no_other_bottle(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1_000_000}) as made:
        one, two = made.desk.add("one"), made.desk.add("two")
        await made.up(one)
        await made.up(two)
        (held,) = sidecar(one).ledger.standing().leases
        for _ in range(3):
            made.budgets.used(one.id, Report(charged={held.lease: 1e15}), ())
        note = LeaseNote(**held.model_dump(), want=1000, waiting=1)
        made.budgets.lease(one.id, note.model_dump(mode="json"))
        await made.orders.cutoff("two", CutoffOrder(reason="enough", by="me"))
        assert code(made, "two") == "budget_cutoff"


async def test_an_idle_lease_goes_back(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kit(paths, budget={"claude": 10_000}) as made:
        one, two = made.desk.add("one"), made.desk.add("two")
        await made.up(one)
        await made.up(two)
        monkeypatch.setattr("app.controller.leases.IDLE_SECONDS", -1.0)
        await made.budgets.apply()
        await until(lambda: all(not item.limit for item in sidecar(one).ledger.standing().leases))
        assert code(made) == "budget_unknown"
        monkeypatch.undo()
        for note in sidecar(two).ledger.low([NEED]):
            made.budgets.lease(two.id, note.model_dump(mode="json"))
        await until(lambda: code(made, "two") == "")


async def test_a_session_that_goes_on_from_others_has_one_budget_with_them(paths: Paths) -> None:
    async with kit(paths) as made:
        given = {"claude": Amount(tokens=5000)}
        first = made.desk.add("one", budget=given)
        await made.up(first)
        await made.spend(first, 2000)
        await made.orders.set(BudgetOrder(scope="one", provider="claude", amount="1k", more=True))
        second = made.desk.add("two", budget=given, earlier=(first.id,))
        await made.up(second)
        await until(lambda: [(one.used, one.limit) for one in shown(made, "two").budgets] == [(2000, 6000)])
        await made.spend(second, 3500)
        third = made.desk.add("three", budget=given, earlier=(first.id, second.id))
        await made.up(third)
        await until(lambda: [(one.used, one.limit) for one in shown(made, "three").budgets] == [(5500, 6000)])
        await made.spend(third, 500)
        await until(lambda: shown(made, "three").cut == "budget")
        await made.orders.set(BudgetOrder(scope="three", provider="claude", amount="1k", more=True))
        assert [(one.used, one.limit) for one in shown(made, "three").budgets] == [(6000, 7000)]
        assert code(made, "three") == ""


async def test_one_that_ended_is_given_more_before_it_is_resumed(paths: Paths) -> None:
    async with kit(paths) as made:
        given = {"claude": Amount(tokens=5000)}
        first = made.desk.add("one", budget=given)
        await made.up(first)
        with pytest.raises(CarboyError):
            await made.orders.answer("one", AnswerOrder(action="raise", provider="claude", amount="1k"))
        await made.spend(first, 5000)
        await until(lambda: shown(made, "one").cut == "budget")
        first.show(save=False, state="failed")
        with pytest.raises(CarboyError) as refused:
            await made.orders.answer("one", AnswerOrder(action="raise", provider="openai", amount="1k"))
        assert refused.value.code == "wrong_state"
        await made.orders.answer("one", AnswerOrder(action="raise", provider="claude", amount="1k"))
        second = made.desk.add("two", budget=given, earlier=(first.id,))
        await made.up(second)
        await until(lambda: [(one.used, one.limit) for one in shown(made, "two").budgets] == [(5000, 6000)])
        with pytest.raises(CarboyError) as refused:
            await made.orders.answer("one", AnswerOrder(action="raise", provider="claude", amount="1k"))
        assert refused.value.code == "wrong_state"


async def test_an_answer_that_was_lost_with_its_sidecar_is_traced_as_an_estimate(paths: Paths) -> None:
    async with kit(paths) as made:
        told: list[UsageRow] = []
        made.budgets.traced = lambda _slug, _session, rows: told.extend(rows)
        one = made.desk.add("one")
        lost = Intent("r1", 1.0, "claude", model="claude-sonnet-4-5", input=500, output=100)
        await made.store.ingest("one", one.id, [], None, Metering(intents=(lost,)))
        await made.budgets.ended(one)
        assert [(row.request_id, row.total, row.estimated, row.complete) for row in told] == [("r1", 600, True, False)]


async def test_what_a_sidecar_lost_counts_before_the_next_one_asks_whatever_the_clock_says(paths: Paths) -> None:
    async with kit(paths, budget={"claude": 1000}) as made:
        one = made.desk.add("one")
        await made.up(one)
        ahead = time.time() + 3600  # put back since
        lost = Intent("r1", ahead, "claude", model="claude-sonnet-4-5", input=900, output=200)
        scopes = made.budgets.counts(one.id).scopes
        await made.store.ingest("one", one.id, [], None, Metering(scopes, intents=(lost,)))
        sidecar(one).ledger = Ledger()
        await made.up(one)
        assert code(made) == "budget_exhausted"
