"""What may leave under an allowance, by table: no clock but the test's, no waiting."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from sidecar.allowance import Allowance, Cutoff, Lease, Rate
from sidecar.meter.ledger import BUSY_SECONDS, MORE_SECONDS, Ledger, Need, Spent

NEED = Need("claude", "m", 100, 50)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lease(limit: float | None = 1000, **more: Any) -> Lease:
    return Lease.model_validate({"id": "L", "provider": "claude", "limit": limit, "budget": "the budget"} | more)


def ledger(*leases: Lease, clock: Clock | None = None, version: int = 1, **more: Any) -> Ledger:
    made = Ledger(clock or Clock())
    assert made.grant(Allowance(version=version, leases=leases, **more))
    return made


def use(books: Ledger, amount: int, name: str = "r") -> dict[str, float]:
    return books.settle(name, "claude", [Spent("m", amount)])


def test_nothing_leaves_unless_it_was_granted():
    assert Ledger().check(NEED).code == "budget_unknown"
    assert ledger().check(NEED).code == "budget_unknown"
    assert ledger(lease(provider="codex")).check(NEED).code == "budget_unknown"
    assert ledger(lease(None)).check(NEED).code == ""
    assert ledger(lease(0, when_spent="cutoff")).check(NEED).code == "budget_exhausted"


@pytest.mark.parametrize("when_spent", ["more", "cutoff", "ask"])
def test_what_goes_on_with_an_unseen_answer_leaves_only_where_no_limit_holds(when_spent: str):
    unseen = replace(NEED, known=False)
    verdict = ledger(lease(1_000_000, when_spent=when_spent)).check(unseen)
    assert (verdict.code, verdict.wait, verdict.hold) == ("budget_preflight", 0.0, False)
    assert ledger(lease(None)).check(unseen).code == ""


def test_a_grant_ends_with_its_time():
    clock = Clock()
    books = ledger(lease(seconds=30), clock=clock)
    clock.now = 29.9
    assert books.check(NEED).code == ""
    clock.now = 30.0
    assert (books.check(NEED).code, books.check(NEED).wait) == ("budget_unknown", MORE_SECONDS)
    books.grant(Allowance(version=2, leases=(lease(seconds=30),)))
    assert books.check(NEED).code == ""


@pytest.mark.parametrize(
    ("when_spent", "code", "wait", "hold"),
    [
        ("more", "budget_unknown", MORE_SECONDS, False),
        ("cutoff", "budget_exhausted", 0.0, False),
        ("ask", "budget_exhausted", 0.0, True),
    ],
)
def test_what_happens_when_it_is_spent(when_spent: str, code: str, wait: float, hold: bool):
    books = ledger(lease(when_spent=when_spent))
    use(books, 999)
    assert books.check(NEED).code == "", "one token is left: one more request"
    use(books, 1)
    verdict = books.check(NEED)
    assert (verdict.code, verdict.wait, verdict.hold) == (code, wait, hold)
    assert "the budget" in verdict.reason


def test_what_is_in_flight_counts_by_its_estimate_and_may_turn_out_smaller():
    books = ledger(lease(300, when_spent="cutoff"))
    for name in ("a", "b"):
        assert books.check(NEED).code == ""
        books.reserve(name, NEED)
    verdict = books.check(NEED)
    assert (verdict.code, verdict.wait) == ("budget_exhausted", BUSY_SECONDS)
    use(books, 20, "a")
    assert books.check(NEED).code == ""
    standing = books.standing()
    assert (standing.leases[0].used, standing.leases[0].reserved, standing.in_flight) == (20, 150, 1)


def test_limits_are_cumulative_so_that_nothing_is_granted_twice():
    books = ledger(lease(1000))
    use(books, 600)
    again = Allowance(version=1, leases=(lease(1000),))
    assert books.grant(again)
    assert books.grant(again)
    assert books.standing().leases[0].used == 600
    assert books.grant(Allowance(version=3, leases=(lease(2000),)))
    assert not books.grant(Allowance(version=2, leases=(lease(9000),)))
    assert books.standing().leases[0].limit == 2000
    assert books.grant(Allowance(version=4, leases=(lease(500),)))
    assert books.check(NEED).code == "budget_unknown"
    assert books.grant(Allowance(version=5, leases=(lease(500, id="M"),)))
    assert (books.standing().leases[0].used, books.check(NEED).code) == (0, "")


def test_every_lease_of_a_provider_must_have_room_and_is_charged():
    near, hard = lease(1000), lease(100, id="H", when_spent="cutoff", budget="the hard one")
    books = ledger(near, hard)
    assert use(books, 100) == {"L": 100, "H": 100}
    assert "the hard one" in books.check(NEED).reason


def test_money_is_counted_by_rates_and_by_what_the_provider_says():
    searches = {"web_searches": 10_000, "file_searches": 2_500}
    rates = {
        "claude": {"big": Rate(input=3, output=15, cache_read=0.3, cache_write_5m=3.75, cache_write_1h=6, **searches)}
    }
    books = ledger(lease(1.0, unit="usd", when_spent="cutoff"), rates=rates)
    assert books.check(Need("claude", "unheard-of", 1, 1)).code == "budget_unknown"
    assert books.check(Need("claude", "big-2026", 1, 1)).code == "", "the longest name that it begins with"
    books.reserve("r", Need("claude", "big", 100_000, 10_000))
    assert books.standing().leases[0].reserved == pytest.approx(0.45)
    spent = Spent("big-2026", 100_000, 20_000, 1_000_000, 10_000, 1_000)
    assert books.settle("r", "claude", [spent]) == {"L": pytest.approx(0.3 + 0.3 + 0.3 + 0.0375 + 0.006)}
    assert books.settle("t", "claude", [Spent("big", web_searches=3)]) == {"L": pytest.approx(0.03)}
    assert books.settle("u", "claude", [Spent("big", file_searches=4)]) == {"L": pytest.approx(0.01)}
    assert books.settle("s", "claude", [Spent("big", 1, cost_usd=0.25)]) == {"L": 0.25}
    assert books.check(Need("claude", "big")).code == "budget_exhausted"


def test_preflight_refuses_what_cannot_fit():
    books = ledger(lease(1000, when_spent="cutoff"), preflight=True)
    assert books.check(Need("claude", "m", 900, 100)).code == ""
    verdict = books.check(Need("claude", "m", 900, 101))
    assert (verdict.code, verdict.wait, verdict.hold) == ("budget_preflight", 0, False)
    assert "1,001 tokens" in verdict.reason


def test_the_operator_s_cutoff_and_its_scopes():
    def cut(**more: Any) -> Ledger:
        return ledger(lease(None), lease(None, id="C", provider="codex"), cutoff=Cutoff(reason="enough", **more))

    assert cut().check(NEED).code == "budget_cutoff"
    assert "enough" in cut().check(NEED).reason
    assert cut().closed(None) is None
    everything = cut(scope="all").closed(None)
    assert everything is not None
    assert everything.code == "budget_cutoff"
    assert cut(providers=("codex",)).check(NEED).code == ""
    assert cut(providers=("codex",)).check(Need("codex")).code == "budget_cutoff"


def test_a_spent_budget_closes_everything_only_where_that_was_said():
    for scope in ("metered", "all"):
        books = ledger(lease(10, when_spent="cutoff"), cutoff_scope=scope)
        assert books.closed(None) is None
        use(books, 10)
        closed = books.closed(None)
        assert (closed is not None) == (scope == "all")


def test_more_is_asked_for_before_it_is_spent_and_while_somebody_waits():
    books = ledger(lease(1000))
    assert books.low(()) == []
    use(books, 760)
    (note,) = books.low(())
    assert (note.lease, note.limit, note.used, note.want, note.waiting) == ("L", 1000, 760, 1000, 0)
    books.grant(Allowance(version=2, leases=(lease(1200),)))
    assert books.low(()) == []
    ask = ledger(lease(100, when_spent="ask"))
    use(ask, 100)
    assert ask.low(()) == []
    (note,) = ask.low((NEED, NEED))
    assert (note.waiting, note.want) == (2, 300)
    done = ledger(lease(100, when_spent="cutoff"))
    use(done, 100)
    assert done.low((NEED,)) == []


def test_at_most_so_many_at_once():
    books = ledger(lease(None), in_flight=2)
    for name in ("a", "b"):
        books.reserve(name, NEED)
    assert books.check(NEED).code == "budget_busy"
    books.release("a")
    assert books.check(NEED).code == ""


@pytest.mark.parametrize(
    "bad",
    [
        {"leases": [{"id": "a", "provider": "p"}] * 2},
        {"leases": [{"id": "a", "provider": "p", "limit": float("nan")}]},
        {"leases": [{"id": "a", "provider": "p", "limit": -1}]},
        {"in_flight": 0},
        {"rates": {"p": {str(number): {} for number in range(5001)}}},
    ],
    ids=["twice", "nan", "negative", "none-at-once", "many"],
)
def test_an_allowance_that_makes_no_sense_is_refused(bad: dict[str, Any]):
    with pytest.raises(ValidationError):
        Allowance.model_validate(bad)
