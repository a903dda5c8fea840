"""The lines that scrolled off the main screen: bounded, searchable, in the compact form of runs. Pure."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from app.terminal.rows import Line, Row, plain_text

MAX_LINES = 5_000
"""Kept per terminal: about 1 MB of ordinary output. What is older is in the transcript."""
MAX_MATCHES = 1_000


class Past(NamedTuple):
    """One line of history, and whether its text goes on in the next line."""

    line: Line
    wrapped: bool


class Match(NamedTuple):
    """Where a search hit lies: `y` counts from the oldest line kept, `x` in characters of its text."""

    y: int
    x: int
    length: int


class History:
    """A ring of lines, oldest first. `dropped` counts what fell out, so that a viewer can keep its place."""

    def __init__(self, limit: int = MAX_LINES) -> None:
        self.limit = limit
        self.dropped = 0
        self._lines: deque[Past] = deque()

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, at: int) -> Past:
        return self._lines[at]

    def __iter__(self) -> Iterator[Past]:
        return iter(self._lines)

    def push(self, row: Row) -> None:
        if not self.limit:
            return
        self._lines.append(Past(row.runs(), row.wrapped))
        if len(self._lines) > self.limit:
            self._lines.popleft()
            self.dropped += 1

    def pop(self) -> Past:
        """The newest line, taken back onto a screen that grew."""
        return self._lines.pop()

    def clear(self) -> None:
        self.dropped += len(self._lines)
        self._lines.clear()


def find(lines: Iterator[Line], needle: str, limit: int = MAX_MATCHES) -> list[Match]:
    """Every place of `needle` (plain text, case ignored) in `lines`, at most `limit` of them."""
    wanted = needle.casefold()
    found: list[Match] = []
    if not wanted:
        return found
    for y, line in enumerate(lines):
        text = plain_text(line).casefold()
        x = text.find(wanted)
        while x >= 0:
            found.append(Match(y, x, len(wanted)))
            if len(found) >= limit:
                return found
            x = text.find(wanted, x + len(wanted))
    return found
