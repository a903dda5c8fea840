"""The screen that a program prints on: characters into cells, saved cursors, the alternate screen, resizing.

What moves, scrolls and erases is in `app.terminal.surface`. Knows no escape sequence and never raises.
"""

from dataclasses import dataclass

from app.terminal import charset
from app.terminal.reflow import blank, reflow
from app.terminal.rows import Row, row_of
from app.terminal.style import DEFAULT, Style
from app.terminal.surface import DEFAULT_TABS, MAX_COLS, MAX_ROWS, MIN_COLS, MIN_ROWS, Surface, clamp


@dataclass
class Saved:
    """What DECSC keeps."""

    x: int = 0
    y: int = 0
    pen: Style = DEFAULT
    sets: tuple[str, ...] = ("B", "B", "B", "B")
    shift: int = 0
    origin: bool = False


class Grid(Surface):
    """The surface with a pen, character sets and modes: everything that decides which cell a character becomes."""

    def __init__(self, cols: int, rows: int, history: int) -> None:
        super().__init__(cols, rows, history)
        self.reset()

    def reset(self) -> None:
        """As switched on (RIS), history included."""
        self.history.clear()
        self.main = [Row(self.cols) for _ in range(self.rows)]
        self.lines = self.main
        self.saved_main, self.saved_alt = Saved(), Saved()
        self.tabs = DEFAULT_TABS.copy()
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
            if match.lastindex == 1:
                self._plain_after_cluster(match[0])
            elif match.lastindex == 2:
                self._wides(match[0])
            else:
                self._odd(match[0])

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

    def _wides(self, text: str) -> None:
        """Wide characters that join nothing: as many as fit at once, the one at the edge by itself."""
        done = 0
        while done < len(text):
            row, x = self.lines[self.y], self.x
            count = min((self.cols - x) // 2, len(text) - done)
            if count < 2 or self.insert:
                self._wide(text[done])
                done += 1
                continue
            end = x + 2 * count
            if row.odd:
                self._unsplit(row, x, end, self.pen)
            row.ch[x:end:2] = text[done : done + count]
            row.ch[x + 1 : end : 2] = [""] * count
            row.st[x:end] = [self.pen] * (2 * count)
            row.odd = True
            self.dirty.add(self.y)
            self.x = end
            done += count
            self.last = text[done - 1]

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
        row = self.lines[self.y]
        if self.x >= self.cols and row.ch[-1] and charset.cluster_width(row.ch[-1] + char) == 2:
            self._carry(row.ch[-1] + char)
            return
        at = self._append(char)
        self.last = row.ch[at]
        if charset.cluster_width(row.ch[at]) == 2 and self.x == at + 1 and self.x < self.cols:
            self._unsplit(row, self.x, self.x + 1, self.pen)
            row.ch[self.x] = ""
            row.st[self.x] = row.st[at]
            self.x += 1

    def _carry(self, cluster: str) -> None:
        """A cluster that became too wide for the last cell goes to the next line whole, as a wide character would;
        without automatic wrap it stays as it was."""
        if self.autowrap:
            self.x = self.cols - 1
            self._wide(cluster)

    def _wrap(self) -> None:
        self.lines[self.y].wrapped = self.y == self.bottom or self.y < self.rows - 1
        self.x = 0
        self.line_feed()

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
        """To another size: lines of the main screen are wrapped anew, rows go to the history and come back."""
        cols, rows = clamp(cols, MIN_COLS, MAX_COLS), clamp(rows, MIN_ROWS, MAX_ROWS)
        if cols != self.cols:
            for row in self.lines if self.alt else ():
                row.resize(cols)
            self._reflow_main(cols)
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

    def _reflow_main(self, cols: int) -> None:
        """Give the main screen's lines `cols` columns, in as many rows as there were. Rows that are too many are blank
        ones below the cursor, then those at the top."""
        before = self.saved_main.y if self.alt else self.y
        lines, cursor = reflow(self.main, cols, before)
        while len(lines) > self.rows and len(lines) - 1 > cursor and (blank(lines[-1]) or not cursor):
            lines.pop()
        while len(lines) > self.rows:
            self.history.push(lines.pop(0))
            cursor -= 1
        lines += [Row(cols) for _ in range(self.rows - len(lines))]
        lines[-1].wrapped = False
        self.main[:] = lines
        self.saved_main.y += cursor - before
        if not self.alt:
            self.y = cursor

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
