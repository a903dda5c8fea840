"""What a terminal answers when it is asked: device attributes, modes, colours, size. Pure functions to bytes.

Nothing that the agent printed is ever part of an answer (no title report, no echo of a request), so that output cannot
be turned into input.
"""

from app import __version__
from app.terminal.style import PROTECTED, Colour, Style, sgr

Rgb = tuple[int, int, int]
FOREGROUND: Rgb = (229, 229, 229)
BACKGROUND: Rgb = (18, 18, 18)
"""What OSC 10 and 11 report: light on dark, as the pane is drawn."""
ATTRIBUTES = b"\x1b[?62;22c"
"""DA1: a VT220 with colour."""
VERSION_ATTRIBUTES = b"\x1b[>0;280;0c"
"""DA2: as an xterm of a version from which programs use SGR mouse reports (vim asks for 277)."""

_BASE: tuple[Rgb, ...] = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255)),
    (255, 255, 255),
)
"""xterm's first 16 colours (XTerm-col.ad)."""


def palette(index: int) -> Rgb:
    """Colour `index` (0–255) of xterm's palette: 16 named, a 6×6×6 cube, 24 greys."""
    if index < 16:
        return _BASE[index]
    if index < 232:
        red, green, blue = (index - 16) // 36, (index - 16) // 6 % 6, (index - 16) % 6
        return _step(red), _step(green), _step(blue)
    grey = 8 + 10 * (index - 232)
    return grey, grey, grey


def _step(level: int) -> int:
    return 55 + 40 * level if level else 0


def colour(code: str, rgb: Rgb) -> bytes:
    """OSC answer: `code` is `10`, `11`, `12` or `4;n`."""
    return f"\x1b]{code};rgb:{rgb[0]:02x}{rgb[0]:02x}/{rgb[1]:02x}{rgb[1]:02x}/{rgb[2]:02x}{rgb[2]:02x}\x1b\\".encode()


def version() -> bytes:
    return f"\x1bP>|carboy({__version__})\x1b\\".encode()


def private_mode(mode: int, on: bool | None) -> bytes:
    """DECRQM of a private mode: 1 on, 2 off, 0 not known here."""
    return f"\x1b[?{mode};{0 if on is None else 1 if on else 2}$y".encode()


def ansi_mode(mode: int, on: bool | None) -> bytes:
    return f"\x1b[{mode};{0 if on is None else 1 if on else 2}$y".encode()


def setting(request: str, pen: Style, margins: tuple[int, int], cursor_style: int) -> bytes:
    """DECRQSS: the settings that programs ask for; `0$r` for every other."""
    found = {
        "m": sgr(pen)[2:],
        "r": f"{margins[0] + 1};{margins[1] + 1}r",
        " q": f"{cursor_style} q",
        '"q': f'{1 if pen.attrs & PROTECTED else 0}"q',
        '"p': '62;1"p',
    }.get(request)
    return b"\x1bP0$r\x1b\\" if found is None else f"\x1bP1$r{found}\x1b\\".encode()


def shown(value: Colour, default: Rgb) -> Rgb:
    """The colour on the screen behind a cell's colour."""
    return default if value is None else palette(value) if isinstance(value, int) else value
