"""Which modes the agent's program switched on: DEC private modes, newline mode, keyboard flags. Pure.

Only modes in `KNOWN` are kept, so that a hostile stream cannot grow the set. What hangs on a mode for the outside
(keys, mouse, focus, paste) is read through the properties.
"""

from dataclasses import dataclass, field

APP_CURSOR, REVERSE_SCREEN, ORIGIN, AUTOWRAP, BLINK, CURSOR, APP_KEYPAD = 1, 5, 6, 7, 12, 25, 66
MOUSE_X10, MOUSE_CLICK, MOUSE_DRAG, MOUSE_MOVE, FOCUS, MOUSE_UTF8, MOUSE_SGR = 9, 1000, 1002, 1003, 1004, 1005, 1006
ALT_SCROLL, MOUSE_URXVT, PASTE, SYNC, CLUSTERS = 1007, 1015, 2004, 2026, 2027
ALT, ALT_CLEAR, SAVE_CURSOR, ALT_SAVE = 47, 1047, 1048, 1049
MOUSE = (MOUSE_X10, MOUSE_CLICK, MOUSE_DRAG, MOUSE_MOVE)
"""Tracking modes: at most one is on, the last one set."""
ENCODINGS = (MOUSE_UTF8, MOUSE_SGR, MOUSE_URXVT)
KNOWN = frozenset(
    {APP_CURSOR, REVERSE_SCREEN, BLINK, CURSOR, APP_KEYPAD, FOCUS, ALT_SCROLL, PASTE, SYNC} | {*MOUSE, *ENCODINGS}
)
SCREENS = frozenset({ALT, ALT_CLEAR, ALT_SAVE})
GRID = frozenset({ORIGIN, AUTOWRAP, CLUSTERS})
"""Modes that change how the screen is written; the grid itself keeps them, as its cursor save and restore needs."""
DEFAULT_ON = frozenset({CURSOR})
KITTY_ALL = 31
KITTY_DEPTH = 16
"""Entries of the keyboard stack that are kept (kitty's own limit is of this order)."""


@dataclass
class Modes:
    """Everything that is on or off, and the kitty keyboard stacks of the two screens."""

    private: set[int] = field(default_factory=lambda: set(DEFAULT_ON))
    newline: bool = False
    modify_other_keys: int = 0
    kitty_main: list[int] = field(default_factory=lambda: [0])
    kitty_alt: list[int] = field(default_factory=lambda: [0])
    cursor_style: int = 0

    def switch(self, mode: int, on: bool) -> None:
        if mode not in KNOWN:
            return
        if on:
            for group in (MOUSE, ENCODINGS):
                if mode in group:
                    self.private.difference_update(group)
            self.private.add(mode)
        else:
            self.private.discard(mode)

    @property
    def app_cursor(self) -> bool:
        return APP_CURSOR in self.private

    @property
    def bracketed_paste(self) -> bool:
        return PASTE in self.private

    @property
    def focus_events(self) -> bool:
        return FOCUS in self.private

    @property
    def sync(self) -> bool:
        return SYNC in self.private

    @property
    def mouse(self) -> int:
        """The tracking mode (9, 1000, 1002, 1003), or 0."""
        return next((mode for mode in MOUSE if mode in self.private), 0)

    @property
    def mouse_encoding(self) -> int:
        """1006, 1015, 1005, or 0 for the bytes of X10."""
        return next((mode for mode in ENCODINGS if mode in self.private), 0)


def kitty_change(stack: list[int], flags: int, how: int) -> None:
    """`CSI = flags ; how u`: set, add to or take from the flags in force."""
    flags &= KITTY_ALL
    stack[-1] = flags if how == 1 else stack[-1] | flags if how == 2 else stack[-1] & ~flags


def kitty_push(stack: list[int], flags: int) -> None:
    stack.append(flags & KITTY_ALL)
    if len(stack) > KITTY_DEPTH:
        del stack[0]


def kitty_pop(stack: list[int], count: int) -> None:
    del stack[max(0, len(stack) - count) :]
    if not stack:
        stack.append(0)
