"""A mouse event as the bytes that the agent's program asked for, or nothing. Pure.

Tracking mode: 9 presses only, 1000 presses and releases, 1002 also drags, 1003 every move. Encoding: 1006 (SGR), 1015
(urxvt), 1005 (UTF-8), or X10's bytes, which reach to column 223 only.
"""

from enum import Enum

from app.terminal.modes import MOUSE_CLICK, MOUSE_DRAG, MOUSE_MOVE, MOUSE_SGR, MOUSE_URXVT, MOUSE_UTF8, MOUSE_X10


class Kind(Enum):
    """What happened."""

    PRESS = "press"
    RELEASE = "release"
    MOVE = "move"
    WHEEL_UP = "wheel up"
    WHEEL_DOWN = "wheel down"
    WHEEL_LEFT = "wheel left"
    WHEEL_RIGHT = "wheel right"


WHEELS = {Kind.WHEEL_UP: 64, Kind.WHEEL_DOWN: 65, Kind.WHEEL_LEFT: 66, Kind.WHEEL_RIGHT: 67}
RELEASED = 3
MOTION = 32
MAX_X10, MAX_UTF8 = 223, 2015
"""The farthest cell that each encoding can name (xterm control sequences, mouse tracking)."""


def encode(
    kind: Kind, button: int, x: int, y: int, modifiers: tuple[bool, bool, bool], *, tracking: int, encoding: int
) -> bytes:
    """The report of one event; empty if the program did not ask for it.

    `button` is 1 left, 2 middle, 3 right, 0 none; `x`, `y` count from 0; `modifiers` are shift, alt, ctrl.
    """
    code = _code(kind, button, tracking)
    if code is None or x < 0 or y < 0:
        return b""
    shift, alt, ctrl = modifiers
    if tracking != MOUSE_X10:
        code |= (4 if shift else 0) | (8 if alt else 0) | (16 if ctrl else 0)
    return _report(code, x + 1, y + 1, kind is Kind.RELEASE, button, encoding)


def _code(kind: Kind, button: int, tracking: int) -> int | None:
    """The button code of an event, or None where this tracking mode does not report it."""
    if not tracking:
        return None
    if kind in WHEELS:
        return None if tracking == MOUSE_X10 else WHEELS[kind]
    if kind is Kind.MOVE:
        wanted = tracking == MOUSE_MOVE or (tracking == MOUSE_DRAG and button > 0)
        return MOTION + (button - 1 if button else RELEASED) if wanted else None
    if kind is Kind.RELEASE:
        return (button - 1 if button else 0) if tracking in (MOUSE_CLICK, MOUSE_DRAG, MOUSE_MOVE) else None
    return button - 1 if button in (1, 2, 3) else None


def _report(code: int, x: int, y: int, released: bool, button: int, encoding: int) -> bytes:
    if encoding == MOUSE_SGR:
        return b"\x1b[<%d;%d;%d%c" % (code, x, y, b"m" if released else b"M")
    if released:
        code = code - max(button - 1, 0) | RELEASED
    if encoding == MOUSE_URXVT:
        return b"\x1b[%d;%d;%dM" % (code + 32, x, y)
    if encoding == MOUSE_UTF8:
        if x > MAX_UTF8 or y > MAX_UTF8:
            return b""
        return b"\x1b[M" + "".join(map(chr, (code + 32, x + 32, y + 32))).encode()
    if x > MAX_X10 or y > MAX_X10:
        return b""
    return b"\x1b[M" + bytes((code + 32, x + 32, y + 32))
