"""What each CSI and ESC sequence does, as two tables keyed by prefix, intermediates and final byte. No parsing here.

An entry is a small function of the emulator and the parameters (numbers from 0 to 9999, at least one). A sequence that
is in neither table does nothing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.terminal import answers, modes
from app.terminal.modes import kitty_change, kitty_pop, kitty_push
from app.terminal.style import DEFAULT, PROTECTED

if TYPE_CHECKING:
    from app.terminal.emulator import Emulator

Act = Callable[["Emulator", list[int]], None]


def _at(params: list[int], index: int, default: int) -> int:
    return (params[index] if index < len(params) else 0) or default


def _move(rows: int, cols: int, *, home: bool = False) -> Act:
    """A cursor movement by the first parameter."""

    def act(term: "Emulator", params: list[int]) -> None:
        count = params[0] or 1
        if rows:
            term.grid.move_rows(rows * count)
        if cols:
            term.grid.move_cols(cols * count)
        if home:
            term.grid.x = 0

    return act


def _position(term: "Emulator", params: list[int]) -> None:
    term.grid.move_to(_at(params, 1, 1) - 1, _at(params, 0, 1) - 1)


def _column(term: "Emulator", params: list[int]) -> None:
    term.grid.settle()
    term.grid.x = min(params[0] or 1, term.grid.cols) - 1


def _row(term: "Emulator", params: list[int]) -> None:
    term.grid.move_to(term.grid.x, (params[0] or 1) - 1)


def _row_relative(term: "Emulator", params: list[int]) -> None:
    grid = term.grid
    grid.settle()
    grid.move_to(grid.x, grid.y - (grid.top if grid.origin else 0) + (params[0] or 1))


def _scroll_up(term: "Emulator", params: list[int]) -> None:
    term.grid.scroll_up(params[0] or 1)


def _scroll_down(term: "Emulator", params: list[int]) -> None:
    if len(params) == 1:  # with five parameters it is the start of xterm's highlight tracking
        term.grid.scroll_down(params[0] or 1, DEFAULT)


def _repeat(term: "Emulator", params: list[int]) -> None:
    grid = term.grid
    if grid.last:
        grid.write(grid.last * min(params[0] or 1, grid.cols * grid.rows))


def _margins(term: "Emulator", params: list[int]) -> None:
    grid = term.grid
    bottom = min(_at(params, 1, grid.rows), grid.rows)
    grid.margins((params[0] or 1) - 1, bottom - 1)


def _tab_clear(term: "Emulator", params: list[int]) -> None:
    if params[0] == 0:
        term.grid.clear_tab()
    elif params[0] == 3:
        term.grid.tabs.clear()


def _ansi_mode(on: bool) -> Act:
    def act(term: "Emulator", params: list[int]) -> None:
        if 4 in params:
            term.grid.insert = on
        if 20 in params:
            term.modes.newline = on

    return act


def _private_mode(on: bool) -> Act:
    def act(term: "Emulator", params: list[int]) -> None:
        for mode in params:
            switch_mode(term, mode, on)

    return act


def switch_mode(term: "Emulator", mode: int, on: bool) -> None:
    """DECSET and DECRST of one mode, with what changes on the screen by it."""
    grid = term.grid
    term.modes.switch(mode, on)
    if mode == modes.ORIGIN:
        grid.origin = on
        grid.origin_home()
    elif mode == modes.AUTOWRAP:
        grid.autowrap = on
    elif mode == modes.CLUSTERS:
        grid.clusters = on
    elif mode == modes.REVERSE_SCREEN:
        grid.touch_all()
    elif mode == modes.SAVE_CURSOR:
        (grid.save if on else grid.restore)()
    elif mode in modes.SCREENS:
        if mode == modes.ALT_SAVE and on:
            grid.save()
        grid.show_alt(on)
        if mode == modes.ALT_SAVE and not on:
            grid.restore()
        if on:
            return
        term.modes.kitty_alt[:] = [0]


def private_mode(term: "Emulator", mode: int) -> bool | None:
    """Whether a private mode is on; None if there is no such mode here."""
    grid = term.grid
    if mode in modes.GRID:
        return {modes.ORIGIN: grid.origin, modes.AUTOWRAP: grid.autowrap, modes.CLUSTERS: grid.clusters}[mode]
    if mode in modes.SCREENS:
        return grid.alt
    return mode in term.modes.private if mode in modes.KNOWN else None


def ansi_mode(term: "Emulator", mode: int) -> bool | None:
    return {4: term.grid.insert, 20: term.modes.newline}.get(mode)


def _protect(term: "Emulator", params: list[int]) -> None:
    pen = term.grid.pen
    on = params[0] == 1
    term.grid.pen = pen._replace(attrs=pen.attrs | PROTECTED if on else pen.attrs & ~PROTECTED)


def _status(term: "Emulator", params: list[int]) -> None:
    grid = term.grid
    if params[0] == 5:
        term.answer(b"\x1b[0n")
    elif params[0] == 6:
        x, y = min(grid.x, grid.cols - 1), grid.y - (grid.top if grid.origin else 0)
        term.answer(b"\x1b[%d;%dR" % (y + 1, x + 1))


def _private_status(term: "Emulator", params: list[int]) -> None:
    if params[0] == 6:
        term.answer(b"\x1b[?%d;%dR" % (term.cursor.y + 1, term.cursor.x + 1))
    elif params[0] == 996:
        term.answer(b"\x1b[?997;1n")  # a dark colour scheme


def _window(term: "Emulator", params: list[int]) -> None:
    """Only the size is reported; nothing resizes, moves or reads back a title."""
    if params[0] == 18:
        term.answer(b"\x1b[8;%d;%dt" % (term.rows, term.cols))


def _when_zero(answer: Callable[[], bytes]) -> Act:
    def act(term: "Emulator", params: list[int]) -> None:
        if params[0] == 0:
            term.answer(answer())

    return act


def _soft_reset(term: "Emulator", _: list[int]) -> None:
    term.grid.soft_reset()
    for mode, on in ((modes.CURSOR, True), (modes.APP_CURSOR, False), (modes.APP_KEYPAD, False)):
        term.modes.switch(mode, on)
    term.grid.autowrap = True
    term.kitty_stack[:] = [0]


def _cursor_style(term: "Emulator", params: list[int]) -> None:
    if params[0] <= 6:
        term.modes.cursor_style = params[0]


def _modify_keys(term: "Emulator", params: list[int]) -> None:
    """XTMODKEYS: only resource 4 (modifyOtherKeys) is looked at; without a value it is reset."""
    if params[0] in (0, 4):
        level = params[1] if params[0] == 4 and len(params) > 1 else 0
        term.modes.modify_other_keys = min(level, 2)


def _modify_keys_off(term: "Emulator", params: list[int]) -> None:
    if params[0] == 4:
        term.modes.modify_other_keys = 0


def _modify_keys_query(term: "Emulator", params: list[int]) -> None:
    if params[0] == 4:
        term.answer(b"\x1b[>4;%dm" % term.modes.modify_other_keys)


def _save(term: "Emulator", _: list[int]) -> None:
    term.grid.save()


def _restore(term: "Emulator", _: list[int]) -> None:
    term.grid.restore()


CSI: dict[str, Act] = {
    "@": lambda term, params: term.grid.insert_chars(params[0] or 1),
    "A": _move(-1, 0),
    "B": _move(1, 0),
    "C": _move(0, 1),
    "D": _move(0, -1),
    "E": _move(1, 0, home=True),
    "F": _move(-1, 0, home=True),
    "G": _column,
    "H": _position,
    "I": lambda term, params: term.grid.tab(params[0] or 1),
    "J": lambda term, params: term.grid.erase_screen(params[0]) if params[0] <= 3 else None,
    "?J": lambda term, params: term.grid.erase_screen(params[0], selective=True) if params[0] <= 2 else None,
    "K": lambda term, params: term.grid.erase_line(params[0]) if params[0] <= 2 else None,
    "?K": lambda term, params: term.grid.erase_line(params[0], selective=True) if params[0] <= 2 else None,
    "L": lambda term, params: term.grid.insert_lines(params[0] or 1),
    "M": lambda term, params: term.grid.delete_lines(params[0] or 1),
    "P": lambda term, params: term.grid.delete_chars(params[0] or 1),
    "S": _scroll_up,
    "T": _scroll_down,
    "X": lambda term, params: term.grid.erase_chars(params[0] or 1),
    "Z": lambda term, params: term.grid.tab(-(params[0] or 1)),
    "`": _column,
    "a": _move(0, 1),
    "b": _repeat,
    "c": _when_zero(lambda: answers.ATTRIBUTES),
    ">c": _when_zero(lambda: answers.VERSION_ATTRIBUTES),
    "=c": _when_zero(lambda: b"\x1bP!|00000000\x1b\\"),
    "d": _row,
    "e": _row_relative,
    "f": _position,
    "g": _tab_clear,
    "h": _ansi_mode(True),
    "l": _ansi_mode(False),
    "?h": _private_mode(True),
    "?l": _private_mode(False),
    "n": _status,
    "?n": _private_status,
    "r": _margins,
    "s": _save,
    "t": _window,
    "u": _restore,
    "?u": lambda term, _: term.answer(b"\x1b[?%du" % term.kitty_flags),
    "=u": lambda term, params: kitty_change(term.kitty_stack, params[0], _at(params, 1, 1)),
    ">u": lambda term, params: kitty_push(term.kitty_stack, params[0]),
    "<u": lambda term, params: kitty_pop(term.kitty_stack, params[0] or 1),
    ">m": _modify_keys,
    ">n": _modify_keys_off,
    "?m": _modify_keys_query,
    ">q": _when_zero(answers.version),
    " q": _cursor_style,
    '"q': _protect,
    "!p": _soft_reset,
    "$p": lambda term, params: term.answer(answers.ansi_mode(params[0], ansi_mode(term, params[0]))),
    "?$p": lambda term, params: term.answer(answers.private_mode(params[0], private_mode(term, params[0]))),
}


def _next_line(term: "Emulator") -> None:
    term.grid.x = 0
    term.grid.line_feed()


def _keypad(on: bool) -> Callable[["Emulator"], None]:
    return lambda term: term.modes.switch(modes.APP_KEYPAD, on)


ESCAPES: dict[str, Callable[["Emulator"], None]] = {
    "7": lambda term: term.grid.save(),
    "8": lambda term: term.grid.restore(),
    "=": _keypad(True),
    ">": _keypad(False),
    "D": lambda term: term.grid.line_feed(),
    "E": _next_line,
    "H": lambda term: term.grid.set_tab(),
    "M": lambda term: term.grid.reverse_feed(),
    "c": lambda term: term.reset(),
    "#8": lambda term: term.grid.fill("E"),
}
