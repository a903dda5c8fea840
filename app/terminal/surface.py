"""The cells of a terminal and its cursor: moving, scrolling, erasing, inserting. Prints nothing, parses nothing.

Positions count from 0. `x == cols` means that the last column was written and the next character wraps. Numbers that
come in are clamped here, so that no operation costs more than the screen's size.
"""

from bisect import bisect_left, bisect_right

from app.terminal.history import History
from app.terminal.rows import Row
from app.terminal.style import DEFAULT, PROTECTED, Style

MIN_COLS, MAX_COLS = 2, 1000
MIN_ROWS, MAX_ROWS = 1, 500
DEFAULT_TABS = list(range(8, MAX_COLS, 8))


def clamp(value: int, low: int, high: int) -> int:
    return low if value < low else high if value > high else value


class Surface:
    """Two screens (main and alternate) that share a cursor; the main one has a history."""

    pen: Style
    top: int
    bottom: int
    insert: bool
    origin: bool

    def __init__(self, cols: int, rows: int, history: int) -> None:
        self.cols = clamp(cols, MIN_COLS, MAX_COLS)
        self.rows = clamp(rows, MIN_ROWS, MAX_ROWS)
        self.history = History(history)
        self.main = [Row(self.cols) for _ in range(self.rows)]
        self.lines = self.main
        """The rows shown: `main`, or the alternate screen's, which exist only while they are shown."""
        self.tabs = DEFAULT_TABS.copy()
        """Tab stops in order."""
        self.x = self.y = 0
        self.dirty = set(range(self.rows))

    @property
    def alt(self) -> bool:
        return self.lines is not self.main

    def touch_all(self) -> None:
        self.dirty.update(range(self.rows))

    def blank(self) -> Style:
        """The style of an erased cell: the pen's background alone."""
        return DEFAULT if self.pen.bg is None else Style(None, self.pen.bg, 0)

    # cursor

    def line_feed(self) -> None:
        """Down one row, scrolling at the bottom margin."""
        if self.y == self.bottom:
            self.scroll_up(1, keep=True)
        elif self.y < self.rows - 1:
            self.y += 1
        if self.x >= self.cols:
            self.x = self.cols - 1

    def reverse_feed(self) -> None:
        self.settle()
        if self.y == self.top:
            self.scroll_down(1, self.blank())
        elif self.y:
            self.y -= 1

    def settle(self) -> None:
        """Give up a pending wrap, and stay inside the margins in origin mode."""
        if self.x >= self.cols:
            self.x = self.cols - 1
        if self.origin:
            self.y = clamp(self.y, self.top, self.bottom)

    def move_to(self, x: int, y: int) -> None:
        """To a place given by the program: relative to the top margin in origin mode."""
        if self.origin:
            self.y = clamp(y + self.top, self.top, self.bottom)
        else:
            self.y = clamp(y, 0, self.rows - 1)
        self.x = clamp(x, 0, self.cols - 1)

    def move_rows(self, count: int) -> None:
        """Up or down, stopping at a margin that lies in the way."""
        self.settle()
        if count < 0:
            self.y = max(self.top if self.y >= self.top else 0, self.y + count)
        else:
            self.y = min(self.bottom if self.y <= self.bottom else self.rows - 1, self.y + count)

    def move_cols(self, count: int) -> None:
        self.settle()
        self.x = clamp(self.x + count, 0, self.cols - 1)

    def backspace(self) -> None:
        self.settle()
        if self.x:
            self.x -= 1

    def tab(self, count: int) -> None:
        """Forward (or back, if negative) by tab stops."""
        if self.x >= self.cols:
            return
        if count > 0:
            at = bisect_right(self.tabs, self.x) + count - 1
            self.x = min(self.tabs[at] if at < len(self.tabs) else self.cols, self.cols - 1)
        else:
            at = bisect_left(self.tabs, self.x) + count
            self.x = self.tabs[at] if at >= 0 else 0

    def set_tab(self) -> None:
        x = min(self.x, self.cols - 1)
        at = bisect_left(self.tabs, x)
        if self.tabs[at : at + 1] != [x]:
            self.tabs.insert(at, x)

    def clear_tab(self) -> None:
        at = bisect_left(self.tabs, self.x)
        if self.tabs[at : at + 1] == [self.x]:
            del self.tabs[at]

    def margins(self, top: int, bottom: int) -> None:
        if top < bottom:
            self.top, self.bottom = top, bottom
            self.move_to(0, 0)

    def _unsplit(self, row: Row, x: int, end: int, style: Style) -> None:
        """Blank the halves of wide characters that writing to x … end leaves over."""
        ch = row.ch
        if x < self.cols and not ch[x] and x:
            ch[x - 1] = " "
            row.st[x - 1] = style
        if end < self.cols and not ch[end]:
            ch[end] = " "
            row.st[end] = style

    # scrolling

    def scroll_up(self, count: int, *, keep: bool = False, top: int | None = None) -> None:
        """Move the region's rows up. With `keep`, what leaves the main screen at its very top goes to the history."""
        first = self.top if top is None else top
        count = min(count, self.bottom - first + 1)
        style = self.blank()
        lines, cols, bottom = self.lines, self.cols, self.bottom
        keep = keep and first == 0 and not self.alt
        for _ in range(count):
            row = lines.pop(first)
            if keep:
                self.history.push(row)
            lines.insert(bottom, Row(cols, style))
        self._moved(first)

    def scroll_down(self, count: int, style: Style, top: int | None = None) -> None:
        first = self.top if top is None else top
        lines, bottom = self.lines, self.bottom
        for _ in range(min(count, bottom - first + 1)):
            del lines[bottom]
            lines.insert(first, Row(self.cols, style))
        self._moved(first)

    def _moved(self, first: int) -> None:
        if first:
            self.lines[first - 1].wrapped = False
        self.lines[self.bottom].wrapped = False
        if len(self.dirty) < self.rows:
            self.dirty.update(range(first, self.bottom + 1))

    def insert_lines(self, count: int) -> None:
        self.settle()
        if self.top <= self.y <= self.bottom:
            self.scroll_down(count, self.blank(), self.y)
            self.x = 0

    def delete_lines(self, count: int) -> None:
        self.settle()
        if self.top <= self.y <= self.bottom:
            self.scroll_up(count, top=self.y)
            self.x = 0

    # erasing

    def erase_line(self, how: int, *, selective: bool = False) -> None:
        """EL: from the cursor, up to it, or all. A pending wrap has nothing to its right."""
        low, high = ((self.x, self.cols), (0, self.x + 1), (0, self.cols))[how if how in (0, 1) else 2]
        self._erase(self.y, low, min(high, self.cols), selective)

    def erase_screen(self, how: int, *, selective: bool = False) -> None:
        """ED: below, above, all, or (3) the history."""
        if how == 3:
            self.history.clear()
            return
        if how in (0, 1):
            self.erase_line(how, selective=selective)
        rows = (range(self.y + 1, self.rows), range(self.y), range(self.rows))[how if how in (0, 1) else 2]
        style = self.blank()
        for y in rows:
            if selective:
                self._erase(y, 0, self.cols, selective)
            else:
                self.lines[y] = Row(self.cols, style)
        self.dirty.update(rows)

    def erase_chars(self, count: int) -> None:
        self.settle()
        self._erase(self.y, self.x, min(self.x + count, self.cols), False)

    def _erase(self, y: int, low: int, high: int, selective: bool) -> None:
        row, style = self.lines[y], self.blank()
        if selective:
            for at in range(low, high):
                if not row.st[at].attrs & PROTECTED:
                    self._erase_cells(row, at, at + 1, style)
        else:
            self._erase_cells(row, low, high, style)
        self.dirty.add(y)

    def _erase_cells(self, row: Row, low: int, high: int, style: Style) -> None:
        if high <= low:
            return
        if row.odd:
            self._unsplit(row, low, high, style)
        row.ch[low:high] = " " * (high - low)
        row.st[low:high] = [style] * (high - low)
        if high >= self.cols:
            row.wrapped = False

    def insert_chars(self, count: int) -> None:
        self.settle()
        self._insert_cells(self.lines[self.y], self.x, count, self.blank())
        self.dirty.add(self.y)

    def _insert_cells(self, row: Row, x: int, count: int, style: Style) -> None:
        cols = self.cols
        count = min(count, cols - x)
        if row.odd and x < cols and not row.ch[x] and x:
            row.ch[x - 1] = row.ch[x] = " "
            row.st[x - 1] = style
        row.ch[x:x] = " " * count
        row.st[x:x] = [style] * count
        split = row.odd and len(row.ch) > cols and not row.ch[cols]
        del row.ch[cols:], row.st[cols:]
        row.wrapped = False
        if split:
            row.ch[-1], row.st[-1] = " ", style

    def delete_chars(self, count: int) -> None:
        self.settle()
        row, x, cols = self.lines[self.y], self.x, self.cols
        count = min(count, cols - x)
        if row.odd:
            self._unsplit(row, x, x + count, self.blank())
        del row.ch[x : x + count], row.st[x : x + count]
        row.ch += " " * count
        row.st += [self.blank()] * count
        row.wrapped = False
        self.dirty.add(self.y)

    def fill(self, char: str) -> None:
        """DECALN: the whole screen in one character."""
        style = self.pen
        for row in self.lines:
            row.ch, row.st = [char] * self.cols, [style] * self.cols
            row.odd = row.wrapped = False
        self.origin_home()
        self.touch_all()

    def origin_home(self) -> None:
        self.move_to(0, 0)
