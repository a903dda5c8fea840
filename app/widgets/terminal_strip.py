"""From a terminal's runs to Textual's strips: colours, attributes, and text that is as wide as it claims.

What is drawn here goes to the operator's own terminal. No control character or direction mark from an agent gets there,
nor anything that takes more cells in one terminal than in another: a family of eight emoji is two cells wide where
clusters are known and sixteen elsewhere, and would move the text after it out of the pane, over the panels beside it.
"""

import re
import unicodedata
from functools import lru_cache

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.strip import Strip

from app.terminal import style as look
from app.terminal.charset import EMOJI_STYLE, ZWJ
from app.terminal.charset import width as code_point_width
from app.terminal.rows import Line, Run

UNKNOWN = "\ufffd"
_REGIONAL = re.compile("([\U0001f1e6-\U0001f1ff]{2})|[\U0001f1e6-\U0001f1ff]")


@lru_cache(4096)
def rich_style(style: look.Style, base: RichStyle) -> RichStyle:
    """A cell's style on top of the widget's own colours."""
    attrs = style.attrs
    return base + RichStyle(
        color=_colour(style.fg),
        bgcolor=_colour(style.bg),
        bold=bool(attrs & look.BOLD) or None,
        dim=bool(attrs & look.DIM) or None,
        italic=bool(attrs & look.ITALIC) or None,
        underline=bool(attrs & look.UNDERLINE) or None,
        underline2=bool(attrs & look.UNDERLINE2) or None,
        reverse=bool(attrs & look.REVERSE) or None,
        strike=bool(attrs & look.STRIKE) or None,
        overline=bool(attrs & look.OVERLINE) or None,
        conceal=bool(attrs & look.CONCEAL) or None,
    )


def _colour(value: look.Colour) -> Color | None:
    if value is None:
        return None
    return Color.from_ansi(value) if isinstance(value, int) else Color.from_rgb(*value)


def strip_of(line: Line, cols: int, base: RichStyle, *, reverse: bool = False) -> Strip:
    """A row of exactly `cols` cells."""
    segments: list[Segment] = []
    used = 0
    for run in line:
        style = rich_style(run.style, base)
        segments += [Segment(text, style) for text in texts(run)]
        used += run.width
    if used < cols:
        segments.append(Segment(" " * (cols - used), base))
    strip = Strip(segments, max(used, cols))
    return inverted(strip) if reverse else strip


def texts(run: Run) -> list[str]:
    """The run's text in pieces of known width: one, where nothing is doubtful, else one for each cell."""
    text = run.text
    if text.isascii():
        return [text]
    if run.single:
        return [single(text, run.width)]
    text = _flags(text)
    if text.isprintable() and cell_len(text) == run.width:
        return [text]
    return [single(char, 1) for char in text]


@lru_cache(4096)
def single(text: str, width: int) -> str:
    """One cell's text, or as much of it as is surely `width` cells wide in every terminal."""
    text = _flags(text.replace(EMOJI_STYLE, "").rstrip(ZWJ) or UNKNOWN)
    if _shown(text) and cell_len(text) == sum(map(code_point_width, text)) == width:
        return text
    first = text[0]
    if unicodedata.category(first) == "Zs":
        return " " * width
    cells = cell_len(first)
    if not (_shown(first) and 0 < cells <= width):
        first, cells = UNKNOWN, 1
    return first + " " * (width - cells)


def _flags(text: str) -> str:
    """Half a flag as its letter: some terminals make it as wide as a whole one."""
    return _REGIONAL.sub(lambda found: found[1] or chr(ord(found[0]) - 0x1F1E6 + ord("A")), text)


def _shown(text: str) -> bool:
    """Whether it may be passed on: printable, or a mark that joins within the cell."""
    return all(char.isprintable() or char == ZWJ or unicodedata.category(char) in ("Mn", "Me", "Mc") for char in text)


def overlay(strip: Strip, low: int, high: int, style: RichStyle) -> Strip:
    """The strip with the cells low … high (not included) in `style`, on top of their own."""
    high = min(high, strip.cell_length)
    if low >= high:
        return strip
    inside = strip.crop(low, high)
    styled = Strip(Segment.apply_style(inside, post_style=style), inside.cell_length)
    return Strip.join([strip.crop(0, low), styled, strip.crop(high)])


def inverted(strip: Strip, low: int = 0, high: int = 1 << 16) -> Strip:
    """The strip with foreground and background swapped in the cells low … high (not included)."""
    high = min(high, strip.cell_length)
    if low >= high:
        return strip
    inside = strip.crop(low, high)
    swapped = [
        Segment(text, (style or RichStyle()) + RichStyle(reverse=not (style and style.reverse)))
        for text, style, _ in inside
    ]
    return Strip.join([strip.crop(0, low), Strip(swapped, inside.cell_length), strip.crop(high)])
