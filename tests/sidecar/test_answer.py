"""How much of an answer is looked through by itself."""

from typing import Any, cast

import pytest

from sidecar.egress.answer import FIRST_STEP, LEAST_STEP, MOST_LINES, AnswerFilter


class Echo:
    """Passes everything, and keeps what it was given at a time."""

    names: frozenset[str] = frozenset()
    holding = False

    def __init__(self, in_events: bool) -> None:
        self.in_events = in_events
        self.given: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self.given.append(data)
        return data


def passed(echo: Echo, *pieces: bytes) -> bytes:
    made = AnswerFilter(
        decoder=None, echo=cast(Any, echo), watch=None, found=lambda _: None, events=True, expected=None
    )
    out = b""
    for piece in pieces:
        out += made.feed(piece)
        while made.packed:
            out += made.release()
    return out


@pytest.mark.parametrize("event", [b"\n", b"data:a\n\n", b'data: {"a":"b"}\n\n'])
def test_what_was_cheap_so_far_says_nothing_of_many_small_events(event: bytes) -> None:
    echo, large, small = Echo(True), b"data: " + b"abc " * 50_000 + b"\n\n", event * 5_000
    assert passed(echo, *[large] * 10, small) == large * 10 + small
    assert max(map(len, echo.given)) > FIRST_STEP, "a large event is no many"
    assert all(len(each) <= LEAST_STEP or each.count(b"\n") <= MOST_LINES for each in echo.given)


def test_lines_of_what_is_told_in_no_events_cost_no_more() -> None:
    echo, text = Echo(False), b"a line of text\n" * 20_000
    assert passed(echo, text, text) == text * 2
    assert max(map(len, echo.given)) > FIRST_STEP
