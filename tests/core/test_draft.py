"""Names, order and filtering of the launch flow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import amounts, fuzzy, units
from app.core.draft import free, label_problem, moved, slug, toggled
from app.core.model import SLUG_PATTERN


@given(st.text(max_size=200))
def test_a_slug_is_empty_or_valid(label: str) -> None:
    import re

    name = slug(label)
    assert name == "" or re.fullmatch(SLUG_PATTERN, name)


@pytest.mark.parametrize(
    ("label", "taken", "says"),
    [
        ("", {"a"}, ""),
        ("Fix Retry", set(), ""),
        ("Fix Retry", {"fix-retry"}, "fix-retry is in use: choose another name, fix-retry-2 for one"),
        ("../..", set(), "A name needs a letter or a digit"),
    ],
)
def test_what_is_said_of_a_name(label: str, taken: set[str], says: str) -> None:
    assert label_problem(label, taken) == says


def test_free_names_skip_taken_ones() -> None:
    assert free("a", {"a", "a-2", "a-3"}) == "a-4"


@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.integers(-1, 7), st.integers(-9, 9))
def test_moving_keeps_every_bottle(names: list[str], index: int, by: int) -> None:
    changed, place = moved(tuple(names), index, by)
    assert sorted(changed) == sorted(names)
    if 0 <= index < len(names):
        assert changed[place] == names[index]


def test_toggling_appends_and_removes() -> None:
    assert toggled(("a",), "b") == ("a", "b")
    assert toggled(("a", "b"), "a") == ("b",)


def test_fuzzy_prefers_whole_words() -> None:
    scores = {text: fuzzy.match("log", text) for text in ("egress log", "catalogue", "lots of gold", "none")}
    assert scores["none"] is None
    found = {text: hit.score for text, hit in scores.items() if hit}
    assert found["egress log"] > found["catalogue"] > found["lots of gold"]


@given(st.text(max_size=10), st.text(max_size=30))
def test_fuzzy_points_into_the_text(query: str, text: str) -> None:
    hit = fuzzy.match(query, text)
    assert hit is None or all(0 <= at <= len(text.lower()) for at in hit.at)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (18200, "18.2k"), (999_950, "1.0M"), (123_456_789, "123M")],
)
def test_counts_stay_short(value: int, text: str) -> None:
    assert units.count(value) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_time_breaks_the_clock(at: float) -> None:
    assert units.time_of_day(at)
    assert units.date_and_time(at)


def test_sizes_beside_a_limit_read_as_limits_are_written() -> None:
    sizes = (0, 1023, 8 * 2**20, 38 * 2**30 + 2**29, 40 * 2**30, 2**40)
    assert [units.room(value) for value in sizes] == ["0B", "1023B", "8MiB", "38.5GiB", "40GiB", "1TiB"]
    assert all(amounts.size(units.room(value)) == value for value in sizes[2:])


def test_durations() -> None:
    assert [units.took(value) for value in (1, 999.6, 1400, 125_000)] == ["1 ms", "1.0 s", "1.4 s", "2 m 05"]
    assert units.elapsed(90_061) == "1d 01:01:01"
    assert [units.ago(value) for value in (0.5, 40, 190, 7200)] == ["now", "40s", "3m", "2h"]
