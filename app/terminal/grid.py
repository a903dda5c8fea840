"""The screen: cells, cursor, margins, scrolling, erasing, printing. Knows no escape sequence and never raises.

Positions count from 0. `x == cols` means that the last column was written and the next character wraps. Numbers that
come in are clamped here, so that no sequence costs more than the screen's size.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from app.terminal import charset
from app.terminal.history import History
from app.terminal.rows import Row, row_of
from app.terminal.style import DEFAULT, PROTECTED, Style

MIN_COLS, MAX_COLS = 2, 1000
MIN_ROWS, MAX_ROWS = 1, 500
DEFAULT_TABS = list(range(8, MAX_COLS, 8))


@dataclass
class Saved:
    """What DECSC keeps."""

    x: int = 0
    y: int = 0
    pen: Style = DEFAULT
    sets: tuple[str, ...] = ("B", "B", "B", "B")
    shift: int = 0
    origin: bool = False


def clamp(value: int, low: int, high: int) -> int:
    return low if value < low else high if value > high else value


class Grid:
    """Two screens (main and alternate) that share a cursor; the main one has a history."""

    def __init__(self, cols: int, rows: int, history: int) -> None:
        self.cols = clamp(cols, MIN_COLS, MAX_COLS)
        self.rows = clamp(rows, MIN_ROWS, MAX_ROWS)
        self.history = History(history)
        self.reset()

    def reset(self) -> None:
        """As switched on (RIS), history included."""
        self.history.clear()
        self.main = [Row(self.cols) for _ in range(self.rows)]
        self.lines = self.main
        """The rows shown: `main`, or the alternate screen's, which exist only while they are shown."""
        self.saved_main, self.saved_alt = Saved(), Saved()
        self.tabs = DEFAULT_TABS.copy()
        """Tab stops in order."""
        self.last = ""
        self.soft_reset()
        self.x = self.y = 0
        self.autowrap = True
        self.clusters = False

    def soft_reset(self) -> None:
        """DECSTR: what a program may have left odd, without touching the text."""
        self.pen = DEFAULT
        self.top, self.bottom = 0, self.rows - 1
        self.insert = self.origin = False
        self.sets = ["B", "B", "B", "B"]
        self.shift = 0
        if self.alt:
            self.saved_alt = Saved()
        else:
            self.saved_main = Saved()
        self.dirty = set(range(self.rows))

    @property
    def alt(self) -> bool:
        return self.lines is not self.main

    def touch_all(self) -> None:
        self.dirty.update(range(self.rows))

    def blank(self) -> Style:
        """The style of an erased cell: the pen's background alone."""
        return DEFAULT if self.pen.bg is None else Style(None, self.pen.bg, 0)

    # printing

    def write(self, text: str) -> None:
        """Print characters that are none of them controls."""
        table = charset.TABLES.get(self.sets[self.shift])
        if table is not None:
            text = text.translate(table)
        if text.isascii() or not charset.SPECIAL.search(text):
            self._plain(text)
            return
        for match in charset.PIECES.finditer(text):
            piece = match[0]
            if len(piece) == 1 and charset.SPECIAL.match(piece):
                self._odd(piece)
            else:
                self._plain_after_cluster(piece)

    def _plain_after_cluster(self, text: str) -> None:
        if self.clusters and self.last.endswith(charset.ZWJ) and charset.joins(self.last, text[0]):
            self._odd(text[0])
            text = text[1:]
        if text:
            self._plain(text)

    def _plain(self, text: str) -> None:
        """One cell per character: the fast path, by slices."""
        cols, pen, size = self.cols, self.pen, len(text)
        done = 0
        while done < size:
            x = self.x
            if x >= cols:
                if self.autowrap:
                    self._wrap()
                    x = 0
                else:
                    done = max(done, size - 1)
                    x = cols - 1
            count = min(cols - x, size - done)
            row = self.lines[self.y]
            ch, st = row.ch, row.st
            end = x + count
            if self.insert:
                self._insert_cells(row, x, count, self.blank())
            if row.odd:
                self._unsplit(row, x, end, pen)
            ch[x:end] = text[done : done + count]
            st[x:end] = [pen] * count
            self.dirty.add(self.y)
            self.x = end
            done += count
        self.last = text[-1]

    def _unsplit(self, row: Row, x: int, end: int, style: Style) -> None:
        """Blank the halves of wide characters that writing to x … end leaves over."""
        ch = row.ch
        if x < self.cols and not ch[x] and x:
            ch[x - 1] = " "
            row.st[x - 1] = style
        if end < self.cols and not ch[end]:
            ch[end] = " "
            row.st[end] = style

    def _odd(self, char: str) -> None:
        """A character that is wide, or joins the one before it."""
        if char in charset.BIDI:
            return
        cells = charset.width(char)
        if self.clusters:
            if self.x and charset.joins(self._before(), char):
                self._join(char)
                return
            cells = cells or 1
        elif not cells:
            if self.x:
                self._append(char)
            return
        if cells == 1:
            self._plain(char)
        else:
            self._wide(char)

    def _wide(self, char: str) -> None:
        cols = self.cols
        if self.x + 2 > cols:
            if not self.autowrap:
                self.x = cols - 1
                return
            if self.x < cols:
                self._erase_cells(self.lines[self.y], self.x, cols, self.pen)
            self._wrap()
        row, x = self.lines[self.y], self.x
        if self.insert:
            self._insert_cells(row, x, 2, self.blank())
        self._unsplit(row, x, x + 2, self.pen)
        row.ch[x : x + 2] = [char, ""]
        row.st[x : x + 2] = [self.pen] * 2
        row.odd = True
        self.dirty.add(self.y)
        self.x = x + 2
        self.last = char

    def _before(self) -> str:
        """The text of the cell before the cursor."""
        ch = self.lines[self.y].ch
        return ch[self.x - 1] or ch[self.x - 2]

    def _append(self, char: str) -> int:
        """Add a combining character to the cell before the cursor; returns that cell."""
        row = self.lines[self.y]
        at = self.x - 1 if row.ch[self.x - 1] else max(self.x - 2, 0)
        if len(row.ch[at]) < charset.MAX_CLUSTER:
            row.ch[at] += char
            row.odd = True
            self.dirty.add(self.y)
        return at

    def _join(self, char: str) -> None:
        """Grow the cluster before the cursor; an emoji variation may make it two cells wide."""
        at = self._append(char)
        row = self.lines[self.y]
        self.last = row.ch[at]
        if charset.cluster_width(row.ch[at]) == 2 and self.x == at + 1 and self.x < self.cols:
            self._unsplit(row, self.x, self.x + 1, self.pen)
            row.ch[self.x] = ""
            row.st[self.x] = row.st[at]
            self.x += 1

    def _wrap(self) -> None:
        self.lines[self.y].wrapped = self.y == self.bottom or self.y < self.rows - 1
        self.x = 0
        self.line_feed()

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

    def save(self) -> None:
        saved = Saved(min(self.x, self.cols - 1), self.y, self.pen, tuple(self.sets), self.shift, self.origin)
        if self.alt:
            self.saved_alt = saved
        else:
            self.saved_main = saved

    def restore(self) -> None:
        saved = self.saved_alt if self.alt else self.saved_main
        self.pen, self.sets, self.shift, self.origin = saved.pen, list(saved.sets), saved.shift, saved.origin
        self.x, self.y = min(saved.x, self.cols - 1), min(saved.y, self.rows - 1)
        self.settle()

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

    # screens

    def show_alt(self, on: bool) -> None:
        """Switch screens. The alternate one is blank whenever it is entered."""
        if on == self.alt:
            return
        if on:
            style = self.blank()
            self.lines = [Row(self.cols, style) for _ in range(self.rows)]
        else:
            self.lines = self.main
        self.touch_all()

    def resize(self, cols: int, rows: int) -> None:
        """To another size, without reflow: text beyond the right edge is cut, rows go to the history and come back."""
        cols, rows = clamp(cols, MIN_COLS, MAX_COLS), clamp(rows, MIN_ROWS, MAX_ROWS)
        if cols != self.cols:
            for row in self.main if self.lines is self.main else self.main + self.lines:
                row.resize(cols)
        self.cols = cols
        moved = self._resize_main(rows)
        if self.alt:
            del self.lines[rows:]
            self.lines += [Row(cols) for _ in range(rows - len(self.lines))]
            self.lines[-1].wrapped = False
        else:
            self.y += moved
        self.rows = rows
        self.top, self.bottom = 0, rows - 1
        self.x, self.y = min(self.x, cols - 1), clamp(self.y, 0, rows - 1)
        for saved in (self.saved_main, self.saved_alt):
            saved.x, saved.y = min(saved.x, cols - 1), clamp(saved.y, 0, rows - 1)
        self.dirty = set(range(rows))

    def _resize_main(self, rows: int) -> int:
        """Give the main screen `rows` rows; returns by how many its text moved down."""
        main, moved = self.main, 0
        cursor = self.saved_main.y if self.alt else self.y
        while len(main) > rows and len(main) - 1 > cursor + moved:
            main.pop()
        while len(main) > rows:
            self.history.push(main.pop(0))
            moved -= 1
        while len(main) < rows and len(self.history) and cursor + moved == len(main) - 1:
            past = self.history.pop()
            main.insert(0, row_of(past.line, self.cols, past.wrapped))
            moved += 1
        main += [Row(self.cols) for _ in range(rows - len(main))]
        main[-1].wrapped = False
        self.saved_main.y += moved
        return moved
