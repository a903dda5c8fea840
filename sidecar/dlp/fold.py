"""Text folded against evasion: compatibility forms, look-alike letters and digits, invisible and combining characters,
all brought back to the ASCII that a reader sees. Pure; linear in the text whatever it is.

ASCII is never touched, so only runs of other characters are looked at, each different run once. Marks and invisible
characters are taken out before normalisation, whose ordering of long runs of marks is quadratic.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.dlp.translation import Translation

_RUN = re.compile(r"([^\x00-\x7f]+)")
_PUNCTUATION = frozenset("-_+/=.:@~#%&;\\")
_ASCII = bytes(range(128))
_FEW = 16
"""Different characters to fold that are replaced one after the other: each is one pass at the speed of memory."""
_MOSTLY = 8
"""A text of which more than this part is not ASCII is folded as a whole."""
_LONG = 1024
"""Shorter texts are not worth arrays."""

# Letters of other scripts that a reader takes for Latin ones and that no normalisation maps (Unicode's confusables,
# the single-letter ones that fonts draw alike), as pairs of equal length.
_LOOKALIKE = (
    ("аеорсухіјѕһԁԛԝӏьгпԍѵ", "aeopcyxijshdqwlbrngv"),
    ("АВЕКМНОРСТХІЅЈѴԌԜԚУӀЗЬ", "ABEKMHOPCTXISJVGWQYI3b"),
    ("αονρικτυνωγηχε", "aovpiktuvwynxe"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺ", "ABEZHIKMNOPTYXCM"),
    ("օսոհցզյքԁ", "ounhgqjpd"),
    ("ᴀʙᴄᴅᴇғɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprtuvwyz"),
    ("ᎪᏴᏟᎠᎬᏀᎻᏆᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃ", "ABCDEGHIJKLMPRSTVWZ"),
    ("ıȷɡɑſⅼ∣ǀł", "ijgasllll"),
    ("øđħŧ", "odht"),
    ("‐‑‒–—−﹘", "-------"),
    ("∕⁄⧸", "///"),
    ("․‧", ".."),
    ("ƽƼᒿОо", "552Oo"),
)
_TAGS = range(0xE0020, 0xE007F)
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_MAY_HIDE = (
    (
        b"\xf3",
        b"\xf3\xa0",
        re.compile(
            rb"\xf3\xa0(?:[\x80\x81].(?:\xf3\xa0[\x80\x81].){5}|[\x84-\x87].(?:\xef\xb8.|\xf3\xa0..){5})", re.DOTALL
        ),
    ),
    (b"\xef", b"\xef\xb8", re.compile(rb"\xef\xb8.(?:\xef\xb8.|\xf3\xa0..){5}", re.DOTALL)),
)
"""The same in bytes, and more, and what each begins with."""
_HIDDEN = re.compile("[\U000e0020-\U000e007e]{6,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{6,}")
_UNSEEN = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2800, *_SELECTORS[0], *range(0xE0000, 0xE1000))
)
_MARKS = frozenset(("Mn", "Me", "Cf"))
_NUMBERS = frozenset(("Nd", "No"))
"""Unicode's categories of all digits."""


def _removed(char: str) -> bool:
    """Combining marks, and what is by default not shown at all (Unicode: Default_Ignorable_Code_Point)."""
    return unicodedata.category(char) in _MARKS or ord(char) in _UNSEEN


@cache
def _table() -> dict[int, str | None]:
    """Character → its fold; None where it vanishes. Only characters that fold to something a credential may hold."""
    table: dict[int, str | None] = {}
    looked_at = _MARKS | _NUMBERS
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000)):
        char = chr(code)
        if not unicodedata.decomposition(char) and unicodedata.category(char) not in looked_at and code not in _UNSEEN:
            continue  # nine of ten: quickly, since every process does this once
        if _removed(char):
            table[code] = None
            continue
        plain = "".join(part for part in unicodedata.normalize("NFKD", char) if not _removed(part))
        digit = unicodedata.digit(char, None)
        if digit is not None:
            plain = str(digit)
        if plain != char and (any(part.isascii() and part.isalnum() for part in plain) or plain in _PUNCTUATION):
            table[code] = plain
    for sources, targets in _LOOKALIKE:
        for source, target in zip(sources, targets, strict=True):
            table[ord(source)] = target
    for offset in range(26):  # regional indicators, and the squared and circled letters without a decomposition
        for first in (0x1F1E6, 0x1F150, 0x1F170):
            table[first + offset] = chr(65 + offset)
    return table


def replaced[T: (str, bytes)](pattern: re.Pattern[T], text: T, meaning: Callable[[T], T]) -> T:
    """`text` with what matches `pattern`, which is one group, replaced by its meaning: that of each is told once."""
    parts = pattern.split(text)
    found = parts[1::2]
    known = {each: meaning(each) for each in set(found)}
    parts[1::2] = [known[each] for each in found]
    empty: Any = text[:0]
    return empty.join(parts)


def foldable() -> frozenset[int]:
    """Code points that folding changes: what a search must look for to know whether folding is needed."""
    return frozenset(_table())


@cache
def _translation() -> "Translation":
    from sidecar.dlp.translation import Translation  # numpy, of which a command that folds a name has no need

    return Translation(_table())


def fold_text(text: str) -> str:
    """`text` with every run of non-ASCII characters folded."""
    if len(text) > _LONG:
        return _translation().apply(text)
    table = _table()
    return replaced(_RUN, text, lambda run: run.translate(table))


def fold(data: bytes) -> bytes:
    """Folded UTF-8; what is not UTF-8 is replaced by a byte, ASCII is as it was."""
    try:
        return _fold(data, data.decode())
    except UnicodeDecodeError:
        first, last = _whole(data)  # cut out of a text in the midst of characters: the rest is folded as others are
    try:
        inside = _fold(data[first:last], data[first:last].decode())
    except UnicodeDecodeError:
        return fold_text(_read(data)).encode()
    return _read(data[:first]).encode() + inside + _read(data[last:]).encode()


def _read(data: bytes) -> str:
    """As text. What is not UTF-8 is as long as it was, not three times: noise is folded too."""
    return data.decode("utf-8", "replace").replace("\ufffd", "\x1a")


def _fold(data: bytes, text: str) -> bytes:
    """As `fold`, of a text that is UTF-8."""
    table = _table()
    others = data.translate(None, _ASCII)
    if len(others) > _LONG and len(others) > len(data) // _MOSTLY:
        return fold_text(text).encode()
    held = set(others.decode())  # whole characters stay whole
    changed = {char: table[ord(char)] or "" for char in held if ord(char) in table}
    if len(changed) > _FEW or not all(plain.isascii() for plain in changed.values()):
        return fold_text(text).encode()
    for char, plain in changed.items():  # in any order: what is put in holds none of them
        data = data.replace(char.encode(), plain.encode())
    return data


def _whole(data: bytes) -> tuple[int, int]:
    """Where `data` begins and ends without the pieces of characters at its edges."""
    first = next((at for at, byte in enumerate(data[:3]) if byte & 0xC0 != 0x80), min(3, len(data)))
    for size, byte in enumerate(reversed(data[max(first, len(data) - 3) :]), 1):
        if byte & 0xC0 != 0x80:
            needed = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return first, len(data) - size if needed > size else len(data)
    return first, len(data)


def hidden(data: bytes) -> bytes:
    """ASCII written in invisible characters: tag letters, and bytes as variation selectors."""
    # neither tags nor variation selectors; a single byte is told ten times faster than two
    if not any(one in data and two in data and run.search(data) for one, two, run in _MAY_HIDE):
        return b""
    text = data.decode("utf-8", "replace")
    return b"\n".join(bytes(_hidden_byte(ord(char)) for char in match.group()) for match in _HIDDEN.finditer(text))


def _hidden_byte(code: int) -> int:
    if code in _TAGS:
        return code - 0xE0000
    return code - 0xFE00 if code in _SELECTORS[0] else code - 0xE0100 + 16


@cache
def search_source() -> str:
    """An expression over UTF-8 bytes for any foldable character."""
    tree: dict[bytes, dict[bytes, list[int]]] = {}
    for code in sorted(foldable()):
        encoded = chr(code).encode("utf-8")
        tree.setdefault(encoded[:-2], {}).setdefault(encoded[-2:-1], []).append(encoded[-1])
    alternatives: list[str] = []
    for head, middle in tree.items():
        by_last: dict[tuple[int, ...], list[int]] = {}
        for before, last in middle.items():
            by_last.setdefault(tuple(last), []).append(before[0])
        prefix = "".join(f"\\x{byte:02x}" for byte in head)
        alternatives += [prefix + _byte_class(befores) + _byte_class(list(last)) for last, befores in by_last.items()]
    return "|".join(alternatives)


def _byte_class(values: list[int]) -> str:
    ordered = sorted(values)
    parts: list[str] = []
    start = previous = ordered[0]
    for value in [*ordered[1:], -1]:
        if value == previous + 1:
            previous = value
            continue
        parts.append(f"\\x{start:02x}" if start == previous else f"\\x{start:02x}-\\x{previous:02x}")
        start = previous = value
    return "[" + "".join(parts) + "]"
