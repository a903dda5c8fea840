"""A terminal's state as the bytes that rebuild it in another: what a late viewer is sent first. Pure.

Lines are printed from the oldest history line to the screen's last row, so that the newer ones push the older ones off
the top as they did before; then come cursor, margins and modes. No query is among the bytes.
"""

from app.terminal import charset, modes
from app.terminal.grid import Grid, Saved
from app.terminal.modes import DEFAULT_ON, Modes
from app.terminal.rows import Row, Run, row_of
from app.terminal.style import DEFAULT, PROTECTED, Style, sgr
from app.terminal.surface import DEFAULT_TABS


def redraw(grid: Grid, state: Modes, title: str, history: int) -> bytes:
    """Everything, beginning with a full reset."""
    parts = ["\x1bc"]
    past = list(grid.history)[-history:] if history > 0 else []
    parts += _lines([*(row_of(line, grid.cols, wrapped) for line, wrapped in past), *grid.main])
    parts += _saved(grid.saved_main)
    parts += [_kitty(state.kitty_main)]
    if grid.alt:
        parts += ["\x1b[?47h\x1b[H", *_lines(grid.lines), *_saved(grid.saved_alt)]
        parts += [_kitty(state.kitty_alt)]
    parts += [_tabs(grid.tabs, grid.cols), _margins(grid), _modes(state)]
    if title:
        parts.append(f"\x1b]2;{title}\x07")
    parts += _cursor(grid)
    parts += [
        code
        for on, code in (
            (grid.clusters, "\x1b[?2027h"),
            (grid.insert, "\x1b[4h"),
            (not grid.autowrap, "\x1b[?7l"),
            (state.sync, "\x1b[?2026h"),
        )
        if on
    ]
    return "".join(parts).encode()


def _lines(rows: list[Row]) -> list[str]:
    """Rows one below the other. A row whose text goes on is left by the same automatic wrap as the first time."""
    out: list[str] = []
    pen = DEFAULT
    carried = False
    for at, row in enumerate(rows):
        last = at == len(rows) - 1
        goes_on = row.wrapped and not last
        runs = _full(row) if goes_on or carried else row.runs()
        for run in runs:
            out.append(change(pen, run.style) + _text(run))
            pen = run.style
        if not goes_on and not last:
            out.append(change(pen, DEFAULT) + "\r\n")
            pen = DEFAULT
        carried = goes_on
    out.append(change(pen, DEFAULT))
    return out


def _full(row: Row) -> list[Run]:
    """The row's runs with blanks up to the right edge."""
    runs = list(row.runs())
    missing = len(row.ch) - sum(run.width for run in runs)
    return [*runs, Run(" " * missing, DEFAULT, missing)] if missing else runs


def change(before: Style, after: Style) -> str:
    """The sequences from one pen to another."""
    if before == after:
        return ""
    out = ""
    if (before.attrs ^ after.attrs) & PROTECTED:
        out = '\x1b[1"q' if after.attrs & PROTECTED else '\x1b[0"q'
    return out + sgr(after)


def _text(run: Run) -> str:
    """A run's text so that it becomes the same cells again: clusters need mode 2027 where the plain rules differ."""
    if not run.single or (charset.width(run.text[0]) == run.width and not any(map(charset.width, run.text[1:]))):
        return run.text
    return f"\x1b[?2027h{run.text}\x1b[?2027l"


def _place(rows: list[Row], x: int, y: int, cols: int) -> str:
    """Put the cursor at x, y; a pending wrap (x == cols) is made by writing the last cell again."""
    if x < cols:
        return f"\x1b[{y + 1};{x + 1}H"
    row = rows[y]
    at = cols - 1 if row.ch[cols - 1] else cols - 2
    run = Run(row.ch[at], row.st[at], cols - at, True)
    return f"\x1b[{y + 1};{at + 1}H{change(DEFAULT, run.style)}{_text(run)}{change(run.style, DEFAULT)}"


def _pen(style: Style, sets: list[str] | tuple[str, ...], shift: int) -> str:
    out = change(DEFAULT, style)
    out += "".join(f"\x1b{slot}{final}" for slot, final in zip("()*+", sets, strict=True))
    return out + ("\x0e" if shift else "\x0f")


def _saved(saved: Saved) -> list[str]:
    if saved == Saved():
        return []
    plain = _pen(DEFAULT, ("B",) * 4, 0)
    origin = "\x1b[?6h" if saved.origin else ""
    place = f"\x1b[{saved.y + 1};{saved.x + 1}H"
    return [origin, place, _pen(saved.pen, saved.sets, saved.shift), "\x1b7\x1b[?6l", change(saved.pen, DEFAULT), plain]


def _kitty(stack: list[int]) -> str:
    return f"\x1b[={stack[0]}u" + "".join(f"\x1b[>{flags}u" for flags in stack[1:])


def _tabs(tabs: list[int], cols: int) -> str:
    if tabs == DEFAULT_TABS:
        return ""
    stops = [stop for stop in tabs if stop < cols]
    return "\x1b[3g" + "".join(f"\x1b[1;{stop + 1}H\x1bH" for stop in stops)


def _margins(grid: Grid) -> str:
    if (grid.top, grid.bottom) == (0, grid.rows - 1):
        return ""
    return f"\x1b[{grid.top + 1};{grid.bottom + 1}r"


def _modes(state: Modes) -> str:
    out = "".join(f"\x1b[?{mode}h" for mode in sorted(state.private - DEFAULT_ON - {modes.SYNC}))
    if modes.CURSOR not in state.private:
        out += f"\x1b[?{modes.CURSOR}l"
    if state.newline:
        out += "\x1b[20h"
    if state.modify_other_keys:
        out += f"\x1b[>4;{state.modify_other_keys}m"
    return out + (f"\x1b[{state.cursor_style} q" if state.cursor_style else "")


def _cursor(grid: Grid) -> list[str]:
    if grid.origin:
        place = f"\x1b[?6h{_place(grid.lines, grid.x, grid.y - grid.top, grid.cols)}"
    else:
        place = _place(grid.lines, grid.x, grid.y, grid.cols)
    return [place, _pen(grid.pen, grid.sets, grid.shift)]
