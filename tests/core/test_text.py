"""`printable` is the wall between a bottle's text and the operator's eyes."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from app.core.text import MARKS_IN_A_ROW, printable, printable_lines, visible
from app.terminal.emulator import Emulator

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
        ("hidden\ufe01\U000e0100", "hidden\\ufe01\\U000e0100"),
        ("a\ufe0fb", "a\\ufe0fb"),
        ("\u26a0\ufe0f care", "\u26a0 care"),
        ("\u26a0\ufe0f\ufe0f", "\u26a0"),
        ("\U0001f44d\U0001f3fd", "\U0001f44d\\U0001f3fd"),
        ("हिन्दी 한국어 \u1112\u1161\u11ab", "हिन्दी 한국어 \u1112\u1161\u11ab"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_it_is_cut_with_a_mark() -> None:
    assert printable("x" * 50, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("\u26a0\ufe0f" * 6, 10) == "\u26a0" * 6 + "…"
    assert printable_lines("a\r\n" * 50, 100).endswith("…")


@pytest.mark.parametrize("mark", ["\u0301", "\u093e", "\u1161", "\ud7b0"])
def test_piled_marks_are_written_out(mark: str) -> None:
    shown = printable("e" + mark * 50, 400)
    assert shown.count(mark) == MARKS_IN_A_ROW


@given(st.text(st.characters(exclude_categories=("Mc",)), max_size=60))
@example("\U0001f3fd" * 9)
@example("\ud7b0\ud7fb" * 9)
def test_no_terminal_draws_it_wider_than_it_is_laid_out(text: str) -> None:
    """The signs of Indian scripts are left out: one cell each in some terminals, none in others."""
    host = Emulator(800, 2)
    shown = printable(text)
    host.feed(shown.encode())
    assert host.cursor.x <= cell_len(shown)


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


@pytest.mark.parametrize(
    ("pasted", "kept"),
    [
        ("a\u202egpj.exe\u202c b", "agpj.exe b"),
        ("mend it\U000e0069\U000e0067 \ufeff\x1b[31m\x00", "mend it [31m"),
        ("two\nlines\tand\u00a0a gap", "two\nlines\tand\u00a0a gap"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_what_can_be_seen_of_a_paste(pasted: str, kept: str) -> None:
    assert visible(pasted) == kept
