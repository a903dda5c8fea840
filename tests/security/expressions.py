"""Every `re` expression that a module of ours holds, driven by texts of one piece over and over, also behind the words
that stand in it: none may take a time that doubles with each letter. `python -m tests.security.expressions` prints
those that do.

What is asked is whether it comes to an end at all: an expression that divides 44 letters in every possible way does
not, others take microseconds.
"""

import importlib
import pkgutil
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

LETTERS = 44
SECONDS = 5.0
"""Of the processor, for all texts of one expression: hundreds of times what the dearest takes."""
CHARS = "aA0-_.:/+=% \n\"'{[(<&\\@xé\r\t,$*#?"
PIECES = (
    *CHARS, *(first + second for first in CHARS for second in CHARS if first != second),
    "%0d%0a", "\\n", "\\u", "&#6", "0x", "://", "key=", "<a ", "-->", "...", "aaA0", "AAa", "a.b", "a-b", "é0", "aB1",
)  # fmt: skip
SHORT = (*CHARS, "Aa", "aA", "a1", "A1", "1a", "-a", "-A", ".a", ":a", "_a", "/a", "=a")
"""Behind a word."""
ENDS = "!", "\0"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]+[-:_/=]?")
ANCHORED = ("sidecar.dlp.derive._B32_LINES",)
"""Those that are only asked what matches from a place on, which they answer without going back."""


def expressions() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """With where each was found first."""
    seen: set[re.Pattern[Any]] = set()
    for name in modules():
        for member, value in vars(importlib.import_module(name)).items():
            for pattern in _held(value, 3):
                if pattern not in seen:
                    seen.add(pattern)
                    yield f"{name}.{member}", pattern


def modules() -> Iterator[str]:
    """All but programs: those that run when they are imported, or in a bottle."""
    for package in ("sidecar", "app"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.endswith("__main__") and not found.name.startswith("app.selftest.attack_"):
                yield found.name


def _held(value: Any, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, list | tuple | set | frozenset | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _held(each, depth - 1)
    elif depth and isinstance(value, type) and value.__module__.partition(".")[0] in ("sidecar", "app"):
        for each in list(vars(value).values()):
            yield from _held(each, depth - 1)


def _texts(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str]]:
    yield from (("", piece) for piece in PIECES)
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    words = dict.fromkeys(_WORD.findall(source.replace("\\", " ")))
    yield from ((word, piece) for word in words for piece in SHORT)


class _TooLong(Exception):
    pass


def _give_up(*_: object) -> None:
    raise _TooLong


def endless(where: str, pattern: re.Pattern[Any]) -> str | None:
    """The text with which it does not come to an end: a word, and what is repeated behind it."""
    ways = (pattern.search,) if where in ANCHORED else (pattern.search, pattern.fullmatch)
    word = piece = ""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        for word, piece in _texts(pattern):
            for end in ENDS:
                text = word + (piece * LETTERS)[:LETTERS] + end
                for way in ways:
                    way(text.encode() if isinstance(pattern.pattern, bytes) else text)
    except _TooLong:
        return f"{word}{piece}{piece}…"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return None


def main() -> int:
    signal.signal(signal.SIGVTALRM, _give_up)
    count = 0
    bad: list[str] = []
    for where, pattern in expressions():
        count += 1
        if (text := endless(where, pattern)) is not None:
            bad.append(f"{where}: {text!r}")
    print(f"{count} expressions", *bad, sep="\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
