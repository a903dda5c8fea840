"""What a request target means, read the way the most careless server might. Pure.

Two readings: `canonical` for rules (None where servers could disagree about it: then no path rule can hold), and
`loosely` for finding a git push behind any amount of encoding.
"""

import re
from urllib.parse import unquote

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIDDEN = re.compile(r"%(?:2[fF]|5[cC]|2[eE]|25|3[bB]|[01][0-9A-Fa-f]|7[fF])")
"""Encoded / \\ . % ; and control characters: decoded once more by some servers, and not by others."""
_PLAIN = re.compile(r"[!-~]*")
MAX_TARGET = 32 * 1024
"""Longest request target that passes; servers stop at 8 KiB mostly."""


def split(target: str) -> tuple[str, str]:
    """Path and query of an origin-form target."""
    path, _, query = target.partition("?")
    return path, query


def canonical(path: str) -> str | None:
    """The path that rules are matched against: percent-encoding undone. None where it can be read in two ways."""
    if not path.startswith("/") or len(path) > MAX_TARGET or not _PLAIN.fullmatch(path):
        return None
    if "\\" in path or ";" in path or "//" in path or "#" in path:
        return None
    if _BAD_PERCENT.search(path) or _HIDDEN.search(path):
        return None
    if any(segment in (".", "..") for segment in path.split("/")):
        return None
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None


def loosely(text: str) -> str:
    """`text` in lower case with every layer of percent-encoding undone and all separators alike."""
    for _ in range(8):
        decoded = unquote(text, errors="replace")
        if decoded == text:
            break
        text = decoded
    return text.lower().replace("\\", "/").replace("\0", "")


def below(prefix: str, path: str) -> bool:
    """True if `path` is `prefix` or lies below it; /repos/me does not cover /repos/me2."""
    stem = prefix.rstrip("/")
    return path in (stem, prefix) or path.startswith(stem + "/")
