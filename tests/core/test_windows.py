"""Rate-limit windows as gauges: whose movement it was, and when they are empty again."""

import pytest

from app.core.windows import ELSEWHERE, Gauge, current, moved


def gauge(used: float | None, at: float = 1.0, resets: float | None = 1000.0) -> Gauge:
    return Gauge(provider="claude", name="5h", kind="subscription", at=at, used=used, resets_at=resets)


def test_a_rise_is_divided_by_tokens() -> None:
    before = moved(None, gauge(0.2), {})
    assert before.shares == {ELSEWHERE: 0.2}
    after = moved(before, gauge(0.3, 2), {"a": 30, "b": 10, "c": 0})
    assert after.shares == pytest.approx({ELSEWHERE: 0.2, "a": 0.075, "b": 0.025})
    assert sum(after.shares.values()) == pytest.approx(0.3)


def test_a_new_window_starts_anew() -> None:
    before = moved(None, gauge(0.9), {"a": 1})
    assert moved(before, gauge(0.1, 2, 19000.0), {"b": 5}).shares == {"b": 0.1}


def test_the_same_end_rounded_otherwise_is_the_same_window() -> None:
    before = moved(None, gauge(0.5), {"a": 1})
    assert moved(before, gauge(0.6, 2, 1030.0), {"a": 1}).shares == pytest.approx({"a": 0.6})


def test_an_older_answer_and_one_without_a_number_change_nothing() -> None:
    before = moved(None, gauge(0.5, 5.0), {"a": 1})
    assert moved(before, gauge(0.4, 4.0), {}) == before
    assert moved(before, gauge(None, 6.0), {"b": 9}).used == 0.5


def test_it_is_empty_after_its_end() -> None:
    held = moved(None, gauge(0.5), {"a": 1})
    assert current(held, 999.0) == held
    assert (current(held, 1000.0).used, current(held, 1000.0).shares) == (0.0, {})
