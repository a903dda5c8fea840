"""How one cell looks: colours and attributes, SGR in, SGR out. Pure values; knows no screen and never raises.

A `Style` is a plain tuple, so that rows can be compared and grouped by C code.
"""

from functools import lru_cache
from typing import NamedTuple

Colour = int | tuple[int, int, int] | None
"""A palette index (0–255), a true colour, or None for the terminal's default."""

BOLD = 1
DIM = 2
ITALIC = 4
UNDERLINE = 8
UNDERLINE2 = 16
BLINK = 32
REVERSE = 64
CONCEAL = 128
STRIKE = 256
OVERLINE = 512
PROTECTED = 1024
"""Set by DECSCA, not by SGR: a selective erase leaves the cell alone."""


class Style(NamedTuple):
    """Foreground, background, and the attribute bits above."""

    fg: Colour = None
    bg: Colour = None
    attrs: int = 0


DEFAULT = Style()

_ON = {
    1: BOLD,
    2: DIM,
    3: ITALIC,
    4: UNDERLINE,
    5: BLINK,
    6: BLINK,
    7: REVERSE,
    8: CONCEAL,
    9: STRIKE,
    21: UNDERLINE2,
    53: OVERLINE,
}
_OFF = {
    22: BOLD | DIM,
    23: ITALIC,
    24: UNDERLINE | UNDERLINE2,
    25: BLINK,
    27: REVERSE,
    28: CONCEAL,
    29: STRIKE,
    55: OVERLINE,
}
_UNDERLINES = UNDERLINE | UNDERLINE2
MAX_SGR = 512
"""Characters of one SGR's parameters that are looked at; real ones stay under 60."""


def number(text: str, most: int = 9999) -> int:
    """A parameter as a number between 0 and `most`; anything that is none counts as 0."""
    if len(text) > 9:
        return most if text.isdecimal() else 0
    return min(int(text), most) if text.isdecimal() else 0


@lru_cache(8192)
def apply_sgr(style: Style, params: str) -> Style:
    """`style` after `CSI params m`. Unknown codes are skipped; PROTECTED is untouched."""
    fg, bg, attrs = style
    parts = params[:MAX_SGR].split(";")
    at = 0
    while at < len(parts):
        part = parts[at]
        at += 1
        if ":" in part:
            fg, bg, attrs = _colon(part, fg, bg, attrs)
            continue
        code = number(part)
        if code == 0:
            fg, bg, attrs = None, None, attrs & PROTECTED
        elif code in (38, 48, 58):
            used, colour = _extended(parts[at : at + 4])
            at += used
            if code == 38 and used:
                fg = colour
            elif code == 48 and used:
                bg = colour
        elif code in _ON:
            attrs = attrs & ~(_UNDERLINES if _ON[code] & _UNDERLINES else 0) | _ON[code]
        elif code in _OFF:
            attrs &= ~_OFF[code]
        else:
            fg, bg = _plain(code, fg, bg)
    return Style(fg, bg, attrs)


def _plain(code: int, fg: Colour, bg: Colour) -> tuple[Colour, Colour]:
    if 30 <= code <= 37:
        return code - 30, bg
    if 40 <= code <= 47:
        return fg, code - 40
    if 90 <= code <= 97:
        return code - 82, bg
    if 100 <= code <= 107:
        return fg, code - 92
    if code == 39:
        return None, bg
    return (fg, None) if code == 49 else (fg, bg)


def _extended(parts: list[str]) -> tuple[int, Colour]:
    """What follows 38, 48 or 58 in the semicolon form: how many parameters it takes, and the colour."""
    if len(parts) >= 2 and parts[0] == "5":
        return 2, number(parts[1]) & 255
    if len(parts) >= 4 and parts[0] == "2":
        return 4, (number(parts[1]) & 255, number(parts[2]) & 255, number(parts[3]) & 255)
    return len(parts), None


def _colon(part: str, fg: Colour, bg: Colour, attrs: int) -> tuple[Colour, Colour, int]:
    """The colon form (ITU T.416): `38:2::r:g:b`, `38:2:r:g:b`, `38:5:n`, `4:style`."""
    fields = part.split(":")
    if fields[0] == "4":
        kind = number(fields[1])
        return fg, bg, attrs & ~_UNDERLINES | (0 if kind == 0 else UNDERLINE2 if kind == 2 else UNDERLINE)
    colour: Colour = None
    if fields[1] == "5" and len(fields) >= 3:
        colour = number(fields[2]) & 255
    elif fields[1] == "2" and len(fields) >= 5:
        rgb = fields[3:6] if len(fields) >= 6 else fields[2:5]
        colour = (number(rgb[0]) & 255, number(rgb[1]) & 255, number(rgb[2]) & 255)
    if colour is None:
        return fg, bg, attrs
    return (colour if fields[0] == "38" else fg), (colour if fields[0] == "48" else bg), attrs


@lru_cache(8192)
def sgr(style: Style) -> str:
    """The SGR sequence that makes `style` from any other. PROTECTED has its own sequence and is left out."""
    codes = ["0"]
    codes += [str(code) for code, bit in _ON.items() if style.attrs & bit and code != 6]
    codes += _colour_codes(style.fg, 30)
    codes += _colour_codes(style.bg, 40)
    return f"\x1b[{';'.join(codes)}m"


def _colour_codes(colour: Colour, base: int) -> list[str]:
    if colour is None:
        return []
    if isinstance(colour, tuple):
        return [str(base + 8), "2", *map(str, colour)]
    if colour < 8:
        return [str(base + colour)]
    return [str(base + 52 + colour)] if colour < 16 else [str(base + 8), "5", str(colour)]
