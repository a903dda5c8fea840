"""Fits lines that were wrapped to another width, so that a narrower window cuts nothing off and a wider one joins what
it had broken. Pure; only rows of the main screen come here, and the line with the cursor is left to its program."""

from collections.abc import Iterator

from app.terminal.rows import Row
from app.terminal.style import DEFAULT


def reflow(rows: list[Row], cols: int, cursor: int) -> tuple[list[Row], int]:
    """The rows at `cols` cells, more or fewer of them, and the row that the cursor is in by then."""
    out: list[Row] = []
    place = cursor
    for first, last in _lines(rows):
        line = rows[first : last + 1]
        if first <= cursor <= last:
            place = len(out) + cursor - first
        if first <= cursor <= last or (first == last and _width(line[0]) <= cols):
            for row in line:
                row.resize(cols)
            out += line
        else:
            out += _wrapped(line, cols)
    return out, place


def _lines(rows: list[Row]) -> Iterator[tuple[int, int]]:
    """First and last row of each line of text."""
    first = 0
    for at, row in enumerate(rows):
        if not row.wrapped or at == len(rows) - 1:
            yield first, at
            first = at + 1


def _width(row: Row) -> int:
    return sum(run.width for run in row.runs())


def _wrapped(line: list[Row], cols: int) -> list[Row]:
    ch = [cell for row in line for cell in row.ch]
    st = [style for row in line for style in row.st]
    end = len(ch) - len(line[-1].ch) + _width(line[-1])
    odd = any(row.odd for row in line)
    out: list[Row] = []
    at = 0
    while at < end or not out:
        stop = min(at + cols, end)
        if stop < len(ch) and not ch[stop]:
            stop -= 1  # a wide character goes to the next row whole
        row = Row(cols)
        row.ch[: stop - at], row.st[: stop - at] = ch[at:stop], st[at:stop]
        row.odd, row.wrapped = odd, stop < end
        out.append(row)
        at = stop
    return out


def blank(row: Row) -> bool:
    """Whether nothing at all stands in the row."""
    return row.ch.count(" ") == len(row.ch) and row.st.count(DEFAULT) == len(row.st)
