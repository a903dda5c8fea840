"""Numbers of usage as people read them, and a bottle's hour by minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import trail
from app.core.model import BudgetView, Sum
from app.core.schema import NAME_PATTERN
from app.core.scopes import _NAME
from app.core.trail import Trail


def test_names_are_the_schemas() -> None:
    assert f"^{_NAME.pattern}$" == NAME_PATTERN


def test_the_first_sight_counts_for_no_minute_and_an_hour_is_kept() -> None:
    seen = Trail()
    seen.see("s", 1000, 0.0)
    seen.see("s", 1300, 59.0)
    seen.see("s", 1400, 60.0)
    assert seen.minutes(119.0)[-2:] == [300, 100]
    seen.see("s", 1500, 3660.0)
    assert seen.minutes(3660.0)[0] == 0
    assert sum(seen.minutes(3660.0)) == 100
    seen.see("another", 9, 3661.0)
    assert sum(seen.minutes(3661.0)) == 100


@given(st.lists(st.integers(0, 10**9), max_size=200), st.integers(0, 80))
def test_a_sparkline_fits(values: list[int], width: int) -> None:
    assert len(trail.sparkline(values, width)) <= width


@given(st.floats(0, 10), st.integers(4, 80))
def test_a_bar_is_full_only_when_used_up_and_empty_only_when_unused(fraction: float, width: int) -> None:
    full, empty = trail.bar(fraction, width)
    assert len(full) + len(empty) == width
    assert (len(full) == width) == (fraction >= 1)
    assert (full == "") == (fraction == 0)


@pytest.mark.parametrize(
    ("spend", "said"),
    [
        (Sum(), "$0.00"),
        (Sum(cost_nano=1), "<$0.01"),
        (Sum(cost_nano=1_230_000_000), "$1.23"),
        (Sum(unpriced=5), "price unknown"),
        (Sum(cost_nano=2_000_000_000, unpriced=5), "$2.00 + unpriced"),
    ],
)
def test_a_cost_never_hides_an_unknown_price(spend: Sum, said: str) -> None:
    assert trail.cost(spend) == said


def test_how_long_it_lasts() -> None:
    budget = BudgetView(scope="global", provider="claude", used=0, limit=1500)
    assert trail.left(budget, [0] * 45 + [100] * 15) == "~15 min left"
    assert trail.left(budget, [0] * 60) == ""


def test_what_was_not_used_leaves_a_gap():
    assert trail.steady({100: 1, 300: 2, 290: 3}, 100, 300, 4) == [0, 1, 0, 5]
    assert trail.steady({-500: 1, 400: 1}, 100, 300, 2) == [0, 0]
