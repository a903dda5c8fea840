"""The one way by which text that a bottle may have influenced reaches a screen. Pure. Paths, reasons, titles, labels
and tool texts are hostile: what comes out of here has no control character, no invisible or direction-changing one,
no pile of combining marks, and a bounded length. It is still text, never markup: whoever draws it must not parse it."""

import unicodedata

ELLIPSIS = "…"
MARKS_IN_A_ROW = 3
"""Combining marks kept after one letter; no living script stacks more, piles of them smear over other lines."""

SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180B, 0x180C, 0x180D, 0x180F)))
INVISIBLE = SELECTORS | frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that Unicode calls printable but that draw nothing (variation selectors, fillers, the Braille
blank)."""
EMOJI_STYLE = "\ufe0f"
SKIN_TONES = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
"""Two cells of their own in many terminals, none by the measure of what lays our screens out."""


def printable(text: str, limit: int = 1000) -> str:
    """`text` as one harmless line of at most `limit` characters; what was cut off is marked with an ellipsis.

    C0 controls become their pictures (␛, ␊), other invisible characters an escape such as \\u202e. Applying it
    twice changes nothing.
    """
    limit = max(1, limit)
    head = text[: limit + 1]
    safe = head if head.isascii() and head.isprintable() else _escaped(head)
    return safe if max(len(text), len(safe)) <= limit else safe[: limit - 1] + ELLIPSIS


def pieces(text: str, width: int) -> list[str]:
    """All of `text` as harmless lines of at most `width` characters: for what is decided on, where the end of a long
    line counts as much as its beginning."""
    whole = printable(text, len(text) * 10 + 1)
    return [whole[at : at + width] for at in range(0, len(whole), width)] or [""]


def printable_lines(text: str, limit: int = 4000, width: int = 1000) -> str:
    """Like `printable`, but line feeds stay line feeds: for texts that have paragraphs of their own."""
    cut = text[: limit + 1]
    lines = [printable(line, width) for line in cut.replace("\r\n", "\n").split("\n")]
    joined = "\n".join(lines)
    return joined if max(len(text), len(joined)) <= limit else joined[: max(0, limit - 1)] + ELLIPSIS


def visible(text: str) -> str:
    """`text` without what draws nothing or turns the direction of what follows: for fields, which draw what they hold
    as it is. Line feeds, tabs, spaces of any width and the joiners of living scripts stay."""
    return "".join(char for char in text if (char.isprintable() and char not in INVISIBLE) or _kept(char))


def _kept(char: str) -> bool:
    return char in "\n\t\u200c\u200d" or unicodedata.category(char) == "Zs"


def _escaped(text: str) -> str:
    out: list[str] = []
    marks = 0
    before = ""
    for char in text:
        if char == EMOJI_STYLE and before and unicodedata.category(before) in ("So", "Sm"):
            continue  # a symbol in colour: one cell wide in some terminals, two in others
        marks = marks + 1 if _joins(char) else 0
        shown = char.isprintable() and char not in INVISIBLE and char not in SKIN_TONES and marks <= MARKS_IN_A_ROW
        out.append(char if shown else _picture(char))
        before = char
    return "".join(out)


def _joins(char: str) -> bool:
    """Whether it joins the letter before: a combining mark, or a vowel or final of decomposed Hangul."""
    hangul = "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff"
    return hangul or unicodedata.category(char) in ("Mn", "Me", "Mc")


def _picture(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(char) == "Zs":
        return " "
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
