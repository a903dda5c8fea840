"""The one way by which text that a bottle may have influenced reaches a screen. Pure. Paths, reasons, titles, labels
and tool texts are hostile: what comes out of here has no control character, no invisible or direction-changing one,
no pile of combining marks, and a bounded length. It is still text, never markup: whoever draws it must not parse it."""

import unicodedata

ELLIPSIS = "…"
MARKS_IN_A_ROW = 3
"""Combining marks kept after one letter; no living script stacks more, piles of them smear over other lines."""

INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that Unicode calls printable but that draw nothing (fillers, the Braille blank)."""


def printable(text: str, limit: int = 1000) -> str:
    """`text` as one harmless line of at most `limit` characters; what was cut off is marked with an ellipsis.

    C0 controls become their pictures (␛, ␊), other invisible characters an escape such as \\u202e. Applying it
    twice changes nothing.
    """
    limit = max(1, limit)
    head = text[: limit + 1]
    safe = head if head.isascii() and head.isprintable() else _escaped(head)
    return safe if len(safe) <= limit else safe[: limit - 1] + ELLIPSIS


def printable_lines(text: str, limit: int = 4000, width: int = 1000) -> str:
    """Like `printable`, but line feeds stay line feeds: for texts that have paragraphs of their own."""
    cut = text[: limit + 1]
    lines = [printable(line, width) for line in cut.replace("\r\n", "\n").split("\n")]
    joined = "\n".join(lines)
    return joined if len(joined) <= limit else joined[: max(0, limit - 1)] + ELLIPSIS


def _escaped(text: str) -> str:
    out: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if char.isprintable() and char not in INVISIBLE and marks <= MARKS_IN_A_ROW:
            out.append(char)
        else:
            out.append(_picture(char))
    return "".join(out)


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
