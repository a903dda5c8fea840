"""Differences as `difflib` shows them, in bounded time."""

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import differences
from app.core.differences import unified

LINES = st.lists(st.sampled_from(["a", "b", "", "  c"]), max_size=30)


@given(LINES, LINES)
def test_it_is_the_usual_one(old: list[str], new: list[str]) -> None:
    assert list(unified(old, new, "x")) == list(difflib.unified_diff(old, new, "a/x", "b/x", lineterm=""))


def test_lines_that_were_chosen_to_take_long_are_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a hundred is just rare enough to be searched for: this took hours."""
    old = [f"{number * 7 % 100}" for number in range(20_000)]
    new = [f"{number % 100}" for number in range(20_000)]
    searched: list[int] = []
    real = difflib.SequenceMatcher.find_longest_match

    def counted(self: difflib.SequenceMatcher[str], alo: int, ahi: int, blo: int, bhi: int) -> difflib.Match:
        searched.append(ahi - alo)
        return real(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", counted)
    shown = list(unified(old, new, "x"))
    assert [line[1:] for line in shown[3:] if line[0] in " -"] == old
    assert [line[1:] for line in shown[3:] if line[0] in " +"] == new
    assert 0 < sum(searched) * 200 <= differences.STEPS  # each is in 200 places
