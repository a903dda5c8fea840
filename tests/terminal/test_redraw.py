"""A redraw rebuilds any state, and feeding in pieces changes nothing: properties over random streams."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.terminal.emulator import Emulator
from app.terminal.style import DEFAULT
from tests.terminal.streams import streams

LOOSE = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def state(term: Emulator) -> dict[str, Any]:
    """Everything that a viewer could tell apart."""
    grid = term.grid
    return {
        "size": (grid.cols, grid.rows),
        "screens": [[(row.ch, row.st, row.wrapped) for row in rows] for rows in (grid.main, grid.lines)],
        "history": [tuple(past) for past in grid.history],
        "cursor": (grid.x, grid.y, term.cursor),
        "pen": grid.pen,
        "margins": (grid.top, grid.bottom),
        "saved": (grid.saved_main, grid.saved_alt if grid.alt else None),
        "charset": (grid.sets, grid.shift),
        "tabs": [stop for stop in grid.tabs if stop < grid.cols],
        "flags": (grid.alt, grid.insert, grid.origin, grid.autowrap, grid.clusters),
        "modes": (term.modes.private, term.modes.newline, term.modes.modify_other_keys),
        "keyboard": (term.modes.kitty_main, term.modes.kitty_alt if grid.alt else None, term.modes.cursor_style),
        "title": term.title,
    }


def complete(term: Emulator) -> Emulator:
    """End whatever sequence the stream stopped in, since a redraw cannot carry half a sequence."""
    term.feed(b"\x18")
    return term


@LOOSE
@given(streams(), st.integers(2, 30), st.integers(1, 12))
def test_a_redraw_makes_an_equal_terminal(stream: list[bytes], cols: int, rows: int) -> None:
    term = Emulator(cols, rows, history=50)
    term.feed(b"".join(stream))
    complete(term)
    other = Emulator(cols, rows, history=50)
    other.feed(b"\x1b[?1049hleftovers\x1b[31;3r\x1b[?2027h")
    other.feed(term.redraw())
    assert state(other) == state(term)


@LOOSE
@given(streams(40), streams(20), st.integers(2, 30), st.integers(1, 12), st.integers(2, 30), st.integers(1, 12))
def test_a_redraw_after_a_resize(
    before: list[bytes], after: list[bytes], cols: int, rows: int, new_cols: int, new_rows: int
) -> None:
    term = Emulator(cols, rows, history=0)
    term.feed(b"".join(before))
    term.resize(new_cols, new_rows)
    term.feed(b"".join(after))
    complete(term)
    other = Emulator(new_cols, new_rows, history=0)
    other.feed(term.redraw())
    assert state(other) == state(term)


@LOOSE
@given(streams(30), st.lists(st.integers(1, 7), min_size=1, max_size=20))
def test_pieces_make_no_difference(stream: list[bytes], sizes: list[int]) -> None:
    data = b"".join(stream)
    whole, pieces = Emulator(20, 6), Emulator(20, 6)
    whole.feed(data)
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        pieces.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert state(pieces) == state(whole)


def test_history_limit_of_a_redraw() -> None:
    term = Emulator(10, 2, history=100)
    term.feed(b"".join(b"line %d\r\n" % number for number in range(50)))
    other = Emulator(10, 2, history=100)
    other.feed(term.redraw(history=3))
    assert [other.line(-3)[0].text, other.line(-1)[0].text] == ["line 46", "line 48"]
    assert other.history == 3


@pytest.mark.parametrize("query", [b"\x1b[c", b"\x1b[6n", b"\x1b]11;?\x07", b"\x1b[?u", b"\x1bP$qm\x1b\\", b"\x1b[>q"])
def test_a_redraw_asks_nothing(query: bytes) -> None:
    answers: list[bytes] = []
    term = Emulator(20, 5)
    term.feed(b"\x1b]0;t\x07text" + query)
    other = Emulator(20, 5, answers.append)
    other.feed(term.redraw())
    assert answers == []
    assert other.line(0)[0] == ("text", DEFAULT, 4, False)
