"""Which budgets hold, what is left of them, when they are whole again, and what a crossing does."""

import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import budget
from app.core.budget import LEASE, NANO, Layer, Limit, Period, Spent, Standing
from app.core.schema import Amount, BudgetScope, Manifest
from app.core.scopes import GLOBAL, agent_scope, bottle_scope, launch_scope, said
from app.errors import CarboyError

SCOPES = (
    launch_scope("s1"),
    agent_scope("writer"),
    bottle_scope("dev"),
    bottle_scope("net"),
    bottle_scope("base"),
    GLOBAL,
)


def tokens(number: int, *, hard: bool = False) -> Amount:
    return Amount(tokens=number, hard=hard)


def chain(amounts: Mapping[str, Amount], *, beside: str = "") -> tuple[Layer, ...]:
    return tuple(
        Layer(scope, {"claude": amounts[scope]} if scope in amounts else {}, "month", beside=scope == beside)
        for scope in SCOPES
    )


def scopes_of(amounts: Mapping[str, Amount], *, beside: str = "") -> list[str]:
    return [held.scope for held in budget.governing(chain(amounts, beside=beside), "claude")]


@given(st.sets(st.sampled_from(SCOPES)))
def test_the_nearest_scope_governs_alone(having: set[str]) -> None:
    expected = [next(scope for scope in SCOPES if scope in having)] if having else []
    assert scopes_of({scope: tokens(5) for scope in having}) == expected


@given(st.sets(st.sampled_from(SCOPES)), st.sets(st.sampled_from(SCOPES)))
def test_a_hard_one_holds_besides(having: set[str], hard: set[str]) -> None:
    found = scopes_of({scope: tokens(5, hard=scope in hard) for scope in having})
    nearest = next((scope for scope in SCOPES if scope in having), None)
    assert set(found) == {scope for scope in having if scope == nearest or scope in hard}


@given(st.sets(st.sampled_from(SCOPES[2:])))
def test_a_projects_agent_takes_the_place_of_no_budget(above: set[str]) -> None:
    mine = agent_scope("writer")
    found = scopes_of({scope: tokens(5) for scope in {mine, *above}}, beside=mine)
    without = scopes_of({scope: tokens(5) for scope in above})
    assert found == [mine, *without]


def test_the_scopes_of_a_launch_are_in_order_and_other_providers_do_not_count() -> None:
    manifest = Manifest(
        budget_scopes=(
            BudgetScope(scope=agent_scope("writer"), source="agent writer"),
            BudgetScope(scope=bottle_scope("dev"), budget={"claude": tokens(7)}, source="dev"),
        )
    )
    found = budget.layers("s1", {"codex": tokens(1)}, manifest, {"claude": tokens(9)}, "week")
    assert [layer.scope for layer in found] == [launch_scope("s1"), agent_scope("writer"), bottle_scope("dev"), GLOBAL]
    assert [layer.period for layer in found] == ["never", "week", "week", "week"]
    (held,) = budget.governing(found, "claude")
    assert (held.scope, held.value, held.source) == (bottle_scope("dev"), 7, "dev")
    assert budget.governing(found, "gemini") == ()


def test_what_the_operator_set_stands_in_place_of_the_files() -> None:
    given_by_hand = {(bottle_scope("net"), "claude"): tokens(3)}
    found = budget.overlaid(chain({bottle_scope("net"): tokens(9), GLOBAL: tokens(99)}), given_by_hand)
    assert [held.value for held in budget.governing(found, "claude")] == [3]


@pytest.mark.parametrize(
    ("zone", "at", "period", "start", "end"),
    [
        ("UTC", "2026-02-14 13:00", "month", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("UTC", "2026-12-31 23:59", "month", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("UTC", "2026-11-26 00:00", "week", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("UTC", "2026-03-01 00:00", "week", "2026-02-23 00:00", "2026-03-02 00:00"),
        ("Europe/Berlin", "2026-03-29 12:00", "day", "2026-03-29 00:00", "2026-03-30 00:00"),
        ("Europe/Berlin", "2026-10-25 12:00", "day", "2026-10-25 00:00", "2026-10-26 00:00"),
        ("Asia/Kathmandu", "2026-05-05 00:10", "day", "2026-05-05 00:00", "2026-05-06 00:00"),
    ],
)
def test_periods_are_local(
    monkeypatch: pytest.MonkeyPatch, zone: str, at: str, period: Period, start: str, end: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:

        def moment(text: str) -> float:
            return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))

        assert budget.period_start(period, moment(at)) == moment(start)
        assert budget.period_end(period, moment(at)) == moment(end)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_never_ends_has_no_period() -> None:
    assert budget.period_start("never", 1e9) == 0
    assert budget.period_end("never", 1e9) is None


@given(
    st.integers(1, 10**9), st.integers(0, 2 * 10**9), st.integers(0, 10**6), st.integers(1, 50), st.integers(0, 10**6)
)
def test_no_more_is_handed_out_than_is_left(value: int, used: int, out: int, sharing: int, wants: int) -> None:
    standing = Standing(Limit(GLOBAL, "claude", "tokens", value, "month"), used, out)
    given_out = budget.piece(standing, sharing, wants)
    assert 0 <= given_out <= max(0, value - used - out)
    assert given_out <= max(LEASE["tokens"], wants)
    assert (given_out > 0) == (standing.left > 0)
    assert standing.exhausted == (used >= value) == (standing.percent >= 100)


@given(st.integers(1, 10**7), st.integers(1, 12))
def test_all_of_a_budget_can_be_handed_out_in_the_end(value: int, sharing: int) -> None:
    limit = Limit(GLOBAL, "claude", "tokens", value, "month")
    used = rounds = 0
    while used < value:
        used += budget.piece(Standing(limit, used), sharing)
        rounds += 1
        assert rounds < 2000
    assert used == value


def test_money_is_exact_and_an_unknown_price_is_never_nothing() -> None:
    assert budget.amount_value(Amount(usd=0.1)) == ("usd", NANO // 10)
    spent = Spent(tokens=1000, nano=5, unpriced=10)
    assert budget.used(spent, "tokens") == 1000
    assert budget.used(spent, "usd") == 5 + 10 * budget.DEAREST_NANO


def test_thresholds_are_told_of_once() -> None:
    assert budget.crossed(49, (50, 80, 95), ()) == ()
    assert budget.crossed(96, (50, 80, 95), (50,)) == (80, 95)
    assert budget.crossed(250, (50, 80, 95), (50, 80, 95)) == (100,)
    assert budget.crossed(100, (50,), (50, 100)) == ()


@pytest.mark.parametrize("policy", ["ask", "cutoff", "freeze", "kill"])
def test_a_crossing_fires_the_policy(policy: budget.Policy) -> None:
    limit = Limit(GLOBAL, "claude", "tokens", 10, "month")
    assert budget.outcome([Standing(limit, 9)], policy) == "open"
    assert budget.outcome([Standing(limit, 9), Standing(limit, 10)], policy) == policy
    answered = budget.outcome([Standing(limit, 10)], policy, answered=True)
    assert answered == ("cutoff" if policy == "ask" else policy)


def test_nobody_there() -> None:
    assert budget.unanswered("reject") == "cutoff"
    assert budget.unanswered("park") == "freeze"


def test_a_raise_adds_to_what_is_used_already() -> None:
    held = Limit(GLOBAL, "claude", "tokens", 100, "month", hard=True)
    assert budget.raised(held, tokens(50), 20) == tokens(150, hard=True)
    assert budget.raised(held, tokens(50), 130) == tokens(180, hard=True)
    assert budget.raised(Limit(GLOBAL, "claude", "usd", NANO, "month"), Amount(usd=2), 0) == Amount(usd=3)
    with pytest.raises(ValueError, match="counted in tokens"):
        budget.raised(held, Amount(usd=2), 0)


@pytest.mark.parametrize(
    ("text", "scope"),
    [("global", "global"), ("agent:a-1", "agent:a-1"), ("bottle:net", "bottle:net"), ("research-2", None)],
)
def test_scopes_as_people_write_them(text: str, scope: str | None) -> None:
    assert said(text) == scope


@pytest.mark.parametrize("text", ["agent:", "agent:A", "launch:0", "bottle:../x", "x:y", "agent:a\n"])
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(CarboyError) as caught:
        said(text)
    assert caught.value.code == "bad_scope"
