"""A row of cells, and the runs it is drawn from. Slices only: no loop over cells on the way in.

A wide character occupies its cell and an empty string in the next one. `Run` is the only shape in which the outside
sees a row; a cell that is wide or a cluster is a run of its own, so that nobody has to measure it again.
"""

from itertools import groupby
from typing import NamedTuple

from app.terminal.style import DEFAULT, Style


class Run(NamedTuple):
    """Cells side by side in one style. `width` is in cells. With `single` the text is one wide character or cluster;
    otherwise every character is one cell."""

    text: str
    style: Style
    width: int
    single: bool = False


Line = tuple[Run, ...]
"""A row in runs. Blanks in the default style at its end may be left out."""


class Row:
    """Cells (`ch`: text, `st`: style), whether the text goes on in the next row, and whether any cell is not plain."""

    __slots__ = ("ch", "odd", "st", "wrapped")

    def __init__(self, cols: int, style: Style = DEFAULT) -> None:
        self.ch: list[str] = [" "] * cols
        self.st: list[Style] = [style] * cols
        self.wrapped = False
        self.odd = False

    def runs(self) -> Line:
        """The row as runs, without blanks in the default style at its end."""
        text = "".join(self.ch)
        if self.odd and (len(text) != len(self.ch) or "" in self.ch):
            return self._odd_runs()
        st = self.st
        first = st[0]
        if st.count(first) == len(st):
            if first == DEFAULT:
                text = text.rstrip(" ")
            return (Run(text, first, len(text)),) if text else ()
        at = 0
        found: list[Run] = []
        for style, group in groupby(st):
            end = at + len(list(group))
            found.append(Run(text[at:end], style, end - at))
            at = end
        return _trimmed(found)

    def _odd_runs(self) -> Line:
        found: list[Run] = []
        plain: list[str] = []
        style = DEFAULT
        ch, st = self.ch, self.st
        cols = len(ch)
        for at, cell in enumerate(ch):
            if not cell:
                continue
            wide = at + 1 < cols and not ch[at + 1]
            if plain and (wide or len(cell) > 1 or st[at] != style):
                found.append(Run("".join(plain), style, len(plain)))
                plain = []
            style = st[at]
            if wide or len(cell) > 1:
                found.append(Run(cell, style, 2 if wide else 1, True))
            else:
                plain.append(cell)
        if plain:
            found.append(Run("".join(plain), style, len(plain)))
        return _trimmed(found)

    def resize(self, cols: int) -> None:
        """Cut or pad to `cols` cells; half a wide character becomes a blank."""
        have = len(self.ch)
        if cols < have:
            split = not self.ch[cols]
            del self.ch[cols:], self.st[cols:]
            if split:
                self.ch[-1] = " "
        else:
            self.ch += [" "] * (cols - have)
            self.st += [DEFAULT] * (cols - have)
        self.wrapped = self.wrapped and cols == have


def _trimmed(runs: list[Run]) -> Line:
    while runs and runs[-1].style == DEFAULT and not runs[-1].text.rstrip(" "):
        runs.pop()
    if runs and runs[-1].style == DEFAULT and not runs[-1].single:
        text = runs[-1].text.rstrip(" ")
        runs[-1] = Run(text, DEFAULT, len(text))
    return tuple(runs)


def row_of(line: Line, cols: int, wrapped: bool) -> Row:
    """A row of `cols` cells from runs: what takes a line back out of the history."""
    row = Row(cols)
    at = 0
    for text, style, cells, single in line:
        if single:
            if at + cells > cols:
                break
            row.ch[at : at + cells] = [text, ""][:cells]
            row.odd = True
        else:
            cells = min(cells, cols - at)
            row.ch[at : at + cells] = text[:cells]
        row.st[at : at + cells] = [style] * cells
        at += cells
    row.wrapped = wrapped
    return row


def plain_text(line: Line) -> str:
    return "".join(run.text for run in line)
