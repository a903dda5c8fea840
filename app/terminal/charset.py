"""What a character is to a terminal: its width, whether it joins the one before, and DEC's line drawing set. Pure.

Widths come from Python's own Unicode tables. Without mode 2027 each code point has its own width, as xterm does;
with it a grapheme cluster is one cell (or two), as current terminals do when asked.
"""

import re
import unicodedata
from functools import lru_cache

GRAPHICS = str.maketrans("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")
"""DEC special graphics (VT100 user guide, table 3-9)."""
UK = str.maketrans("#", "£")
TABLES = {"0": GRAPHICS, "A": UK}
"""By the final byte that designates the set; every other set is taken as ASCII."""

PLAIN = (
    " -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2071\u2074-\u208e"
    "\u20a0-\u20b9\u2100-\u218b\u2190-\u2319\u231c-\u23e8\u2400-\u2426\u2460-\u25fc\u25ff-\u2613\u2616-\u2647"
    "\u2654-\u267e\u2680-\u2692\u2694-\u26a0\u26a2-\u26a9\u2701-\u2704\u2706-\u2709\u270c-\u2727\u2729-\u274b"
    "\u2756\u2758-\u2794\u2798-\u27af\u27b1-\u27be\u27c0-\u2b1a\u2b1d-\u2b4f"
)
"""Blocks in which every character is one cell wide and joins nothing: most of what programs print. The rest is looked
up one by one."""
SPECIAL = re.compile(f"[^{PLAIN}]")
WIDE = "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60"
"""Blocks in which every character is two cells wide and joins nothing: kana, ideographs, hangul, full-width forms."""
PIECES = re.compile(f"([{PLAIN}]+)|([{WIDE}]+)|[^{PLAIN}]")

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Direction controls: dropped, since a host terminal that honours them would reorder what surrounds the pane."""
ZWJ = "\u200d"
EMOJI_STYLE = "\ufe0f"
MAX_CLUSTER = 16
"""Code points kept in one cell. The longest emoji of Unicode 16 has 10; a flood of combining marks is cut off here."""


@lru_cache(8192)
def width(char: str) -> int:
    """Cells that one code point takes: 0, 1 or 2."""
    code = ord(char)
    if 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FB or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 1 if code == 0xAD else 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


@lru_cache(8192)
def joins(before: str, char: str) -> bool:
    """Whether `char` belongs to the cluster `before` (mode 2027): Unicode's rules for extenders, emoji and flags."""
    if not before:
        return False
    code = ord(char)
    if width(char) == 0 or 0x1F3FB <= code <= 0x1F3FF or unicodedata.category(char) == "Mc":
        return True
    if _regional(char):
        return len(before) == 1 and _regional(before)
    return before[-1] == ZWJ and _pictographic(char) and _pictographic(before[0])


@lru_cache(8192)
def cluster_width(cluster: str) -> int:
    """Cells of a whole cluster: two for a flag, for anything shown as an emoji, and for a wide base."""
    if len(cluster) > 1 and (cluster[1] == EMOJI_STYLE or (_regional(cluster[0]) and _regional(cluster[1]))):
        return 2
    return max(1, width(cluster[0]))


def _regional(char: str) -> bool:
    return "\U0001f1e6" <= char[:1] <= "\U0001f1ff"


def _pictographic(char: str) -> bool:
    """Near enough Extended_Pictographic (UTS 51): the emoji planes and the symbol blocks with emoji in them."""
    return "\U0001f000" <= char <= "\U0001faff" or "\u2190" <= char <= "\u2bff" or char in "\u00a9\u00ae\u203c\u2049"
