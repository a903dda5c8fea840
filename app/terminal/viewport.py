"""Which lines a viewer sees, and what it selected: positions that stay put while the terminal scrolls. Pure.

Lines are counted absolutely, from the first the terminal ever had, so that a place in the history keeps its number
when newer lines arrive and older ones fall out.
"""

from app.terminal.emulator import Emulator
from app.terminal.history import Match
from app.terminal.rows import Line, Run

Place = tuple[int, int]
"""Absolute line, and cell in it."""


class Viewport:
    """A window of the screen's height over history and screen. `offset` is how many lines it is scrolled back."""

    def __init__(self, term: Emulator) -> None:
        self.term = term
        self._anchor: int | None = None
        self.selected: tuple[Place, Place] | None = None
        self.matches: list[Match] = []
        self._match = -1

    @property
    def screen_top(self) -> int:
        """Absolute number of the screen's first row."""
        return self.term.dropped + self.term.history

    @property
    def offset(self) -> int:
        if self._anchor is None:
            return 0
        return max(0, min(self.screen_top - self._anchor, self.term.history))

    @property
    def top(self) -> int:
        """Absolute number of the first line seen."""
        return self.screen_top - self.offset

    def line(self, y: int) -> Line:
        """What is seen in row `y` of the window."""
        return self.term.line(y - self.offset)

    def scroll(self, lines: int) -> bool:
        """Back (negative) or forward; True if what is seen changed."""
        before = self.offset
        wanted = max(0, min(before - lines, self.term.history))
        self._anchor = self.screen_top - wanted if wanted else None
        return wanted != before

    def to_end(self) -> bool:
        return self.scroll(self.offset)

    # selection

    def place(self, x: int, y: int) -> Place:
        """The place under a cell of the window."""
        return self.top + y, x

    def span(self, y: int) -> tuple[int, int] | None:
        """The selected cells of row `y`: first, and one past the last."""
        if self.selected is None:
            return None
        (first, start), (last, end) = sorted(self.selected)
        at = self.top + y
        if not first <= at <= last:
            return None
        low, high = (start if at == first else 0), (end + 1 if at == last else self.term.cols)
        return whole(self.line(y), low, high) if low < high else None

    def selected_text(self) -> str:
        """What is selected; lines that the terminal wrapped are one line, blanks at their ends are left out."""
        if self.selected is None:
            return ""
        (first, start), (last, end) = sorted(self.selected)
        out = ""
        for at in range(max(first, self.term.dropped), min(last, self.screen_top + self.term.rows - 1) + 1):
            y = at - self.screen_top
            text = cut(self.term.line(y), start if at == first else 0, end + 1 if at == last else self.term.cols)
            goes_on = at != last and self.term.wrapped(y)
            out += text if goes_on else text.rstrip() + ("" if at == last else "\n")
        return "".join(char for char in out if char.isprintable() or char == "\n")

    # search

    def search(self, needle: str) -> int:
        """Find `needle` everywhere; the newest match is shown first. Returns how many there are."""
        found = self.term.search(needle)
        self.matches = [match._replace(y=match.y + self.term.dropped) for match in found]
        self._match = len(found)
        self.next_match(-1)
        return len(found)

    def next_match(self, step: int) -> Match | None:
        """Show the next match (or, with -1, the one before), around the ends."""
        if not self.matches:
            return None
        self._match = (self._match + step) % len(self.matches)
        match = self.matches[self._match]
        wanted = max(0, self.screen_top - match.y + self.term.rows // 2) if match.y < self.screen_top else 0
        self.scroll(self.offset - wanted)
        x = cell_of(self.term.line(match.y - self.screen_top), match.x)
        self.selected = ((match.y, x), (match.y, x + match.length - 1))
        return match


def cut(line: Line, low: int, high: int) -> str:
    """The text in the cells low … high (not included); a wide character belongs to its first cell."""
    out, at = "", 0
    for run in line:
        if run.single:
            out += run.text if low <= at < high else ""
        else:
            out += run.text[max(0, low - at) : max(0, high - at)]
        at += run.width
    return out


def whole(line: Line, low: int, high: int) -> tuple[int, int]:
    """The cells low … high (not included), widened so that no wide character is cut in two."""
    at = 0
    for run in line:
        if run.single and run.width == 2:
            low -= low == at + 1
            high += high == at + 1
        at += run.width
    return low, high


def cell_of(line: Line, index: int) -> int:
    """The cell in which character `index` of the line's text lies."""
    at = 0
    for run in line:
        if index < len(run.text):
            return at + (0 if run.single else index)
        index -= len(run.text)
        at += run.width
    return at


def clip(line: Line, cols: int) -> Line:
    """The line cut to `cols` cells: history may be wider than the screen is now."""
    out: list[Run] = []
    at = 0
    for run in line:
        if at + run.width <= cols:
            out.append(run)
        elif not run.single and at < cols:
            out.append(Run(run.text[: cols - at], run.style, cols - at))
        at += run.width
        if at >= cols:
            break
    return tuple(out)
