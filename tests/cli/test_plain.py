"""An agent's output as plain text: nothing that a terminal would obey comes through, wherever it is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.plain import PlainText


def plain(*pieces: bytes) -> str:
    filter_ = PlainText()
    return "".join(map(filter_.feed, pieces)) + filter_.finish()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"hello\nworld\n", "hello\nworld\n"),
        (b"a\tb\r\nc\rd", "a\tb\nc\nd"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07x\x1b]52;c;aGk=\x1b\\y", "xy"),
        (b"\x1bPq#0~\x1b\\after", "after"),
        (b"\x1b(Bx\x1b7\x1b8\x1bc", "x"),
        ("\x9b31mx\x9d0;t\x07y\u202ez".encode(), "xyz"),
        (b"bell\x07 back\x08 nul\x00 del\x7f", "bell back nul del"),
        ("grüße 日本 🎉".encode(), "grüße 日本 🎉"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x1b[38;2;1;2;3mx\x1b[?25l\x1b[6n\x1b[>0c", "x"),
        (b"unfinished \x1b[31", "unfinished "),
        (b"\x1b]0;" + b"x" * 100_000 + b"\x07done", "done"),
    ],
)
def test_what_comes_through(raw: bytes, text: str) -> None:
    assert plain(raw) == text


PIECES = st.lists(
    st.sampled_from(
        [
            b"\x1b",
            b"[",
            b"]",
            b"P",
            b"31m",
            b"0;t",
            b"\x07",
            b"\\",
            b"text",
            b"\r",
            b"\n",
            b"\xc2\x9b",
            b"\xc2\x9d",
            b"(",
            b"B",
            b"x" * 5000,
        ]
    )
    | st.binary(max_size=8),
    max_size=30,
)


@given(PIECES)
def test_no_control_ever_comes_through(pieces: list[bytes]) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plain(*pieces))


@given(PIECES)
def test_where_it_is_cut_makes_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    if len(whole) < 4000:  # beyond what is held back, a cut may show
        assert plain(*pieces) == plain(whole)
