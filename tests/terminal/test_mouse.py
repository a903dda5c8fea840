"""Mouse events to bytes, for each tracking mode and encoding."""

import pytest

from app.terminal.emulator import Emulator
from app.terminal.mouse import Kind, encode

NONE = (False, False, False)


@pytest.mark.parametrize(
    ("kind", "button", "tracking", "expected"),
    [
        (Kind.PRESS, 1, 0, b""),
        (Kind.PRESS, 1, 9, b"\x1b[<0;5;3M"),
        (Kind.RELEASE, 1, 9, b""),
        (Kind.PRESS, 3, 1000, b"\x1b[<2;5;3M"),
        (Kind.RELEASE, 3, 1000, b"\x1b[<2;5;3m"),
        (Kind.MOVE, 1, 1000, b""),
        (Kind.MOVE, 1, 1002, b"\x1b[<32;5;3M"),
        (Kind.MOVE, 0, 1002, b""),
        (Kind.MOVE, 0, 1003, b"\x1b[<35;5;3M"),
        (Kind.WHEEL_UP, 0, 1000, b"\x1b[<64;5;3M"),
        (Kind.WHEEL_DOWN, 0, 1003, b"\x1b[<65;5;3M"),
        (Kind.WHEEL_UP, 0, 9, b""),
        (Kind.PRESS, 0, 1000, b""),
    ],
)
def test_tracking(kind: Kind, button: int, tracking: int, expected: bytes) -> None:
    assert encode(kind, button, 4, 2, NONE, tracking=tracking, encoding=1006) == expected


@pytest.mark.parametrize(
    ("encoding", "press", "release"),
    [
        (0, b"\x1b[M %#", b"\x1b[M#%#"),
        (1005, b"\x1b[M %#", b"\x1b[M#%#"),
        (1015, b"\x1b[32;5;3M", b"\x1b[35;5;3M"),
        (1006, b"\x1b[<0;5;3M", b"\x1b[<0;5;3m"),
    ],
)
def test_encodings(encoding: int, press: bytes, release: bytes) -> None:
    assert encode(Kind.PRESS, 1, 4, 2, NONE, tracking=1000, encoding=encoding) == press
    assert encode(Kind.RELEASE, 1, 4, 2, NONE, tracking=1000, encoding=encoding) == release


def test_modifiers_and_far_columns() -> None:
    assert encode(Kind.PRESS, 1, 0, 0, (True, False, True), tracking=1000, encoding=1006) == b"\x1b[<20;1;1M"
    assert encode(Kind.PRESS, 1, 300, 0, NONE, tracking=1000, encoding=0) == b""
    assert encode(Kind.PRESS, 1, 300, 0, NONE, tracking=1000, encoding=1005) == "\x1b[M ō!".encode()
    assert encode(Kind.PRESS, 1, 3000, 0, NONE, tracking=1000, encoding=1005) == b""


def test_the_last_tracking_mode_and_encoding_set_are_in_force() -> None:
    term = Emulator(20, 5)
    term.feed(b"\x1b[?1000h\x1b[?1003h\x1b[?1015h\x1b[?1006h")
    assert (term.modes.mouse, term.modes.mouse_encoding) == (1003, 1006)
    term.feed(b"\x1b[?1003l")
    assert term.modes.mouse == 0
