"""`printable` is the wall between a bottle's text and the operator's eyes."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.text import MARKS_IN_A_ROW, printable, printable_lines

ANY = st.text(st.characters(exclude_categories=()), max_size=400)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("\x1b[31mred", "␛[31mred"),
        ("a\nb\tc\r", "a␊b␉c␍"),
        ("\x7f\x9b31m", "␡\\x9b31m"),
        ("safe\u202egpj.exe", "safe\\u202egpj.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("no\u00a0break", "no break"),
        ("[bold]text[/bold]", "[bold]text[/bold]"),
        ("日本語 é", "日本語 é"),
        ("\ud800", "\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\u3164filler", "\\u3164filler"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_it_is_cut_with_a_mark() -> None:
    assert printable("x" * 50, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10


def test_piled_marks_are_written_out() -> None:
    shown = printable("e" + "\u0301" * 50, 400)
    assert shown.count("\u0301") == MARKS_IN_A_ROW


@given(ANY, st.integers(1, 300))
def test_never_a_control_or_a_hidden_character(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    for char in shown:
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(ANY, st.integers(1, 300))
def test_twice_is_the_same_as_once(text: str, limit: int) -> None:
    once = printable(text, limit)
    assert printable(once, limit) == once


@given(ANY)
def test_lines_stay_lines(text: str) -> None:
    for line in printable_lines(text).split("\n"):
        assert line == "" or line.isprintable()
