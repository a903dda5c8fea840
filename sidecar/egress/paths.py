"""What a request target means, read the way the most careless server might. Pure.

Three readings: `canonical` for rules (None where servers could disagree about it: then no path rule can hold),
`meanings` for what it may be to one of them then, and `loosely` for finding a git push behind any amount of encoding.
"""

import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIDDEN = re.compile(r"%(?:2[fF]|5[cC]|2[eE]|25|3[bB]|[01][0-9A-Fa-f]|7[fF])")
"""Encoded / \\ . % ; and control characters: decoded once more by some servers, and not by others."""
_PLAIN = re.compile(r"[!-~]*")
_PARAMETERS = re.compile(r";[^/]*")
_END = re.compile(r"[#\0]")
_OVERLONG = re.compile(r"%(?:c0|e0%80|f0%80%80)%a([ef])", re.IGNORECASE)
"""A dot or a slash in more bytes than it has: no UTF-8, but read by some."""
_BEST_FIT = str.maketrans("\u2044\u2215\u2216", "//\\")
"""Slashes that are none to Unicode's compatibility forms, but to Windows where it fits a text into a code page."""
_SEPARATORS = "/\\;%"
MAX_LAYERS = 4
MAX_MEANT = 4096
"""Longest path of which `meanings` are made."""
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
        plain = unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None
    return None if _folds(plain) else plain


def _folded(text: str) -> str:
    """`text` as servers read it that normalise it (NFKC), or fit it into a code page as Windows does."""
    return unicodedata.normalize("NFKC", text.translate(_BEST_FIT))


def _folded_each(text: str) -> str:
    """As `_folded`, character by character: a whole is put in order first, in quadratic time where marks stand upon
    one letter."""
    return text.translate({ord(char): _folded(char) for char in set(text) if not char.isascii()})


def _folds(plain: str) -> bool:
    """True if a character of another form (a fullwidth slash) stands for one that tells the parts of a path apart."""
    folded = _folded_each(plain)
    if any(folded.count(mark) > plain.count(mark) for mark in _SEPARATORS):
        return True
    return any(segment in (".", "..") for segment in folded.split("/"))


def meanings(path: str) -> frozenset[str] | None:
    """The paths that servers may take a path for which has no canonical reading; None where it may be any."""
    if len(path) > MAX_MEANT:
        return None
    path = _OVERLONG.sub(lambda match: "." if match[1] in "eE" else "/", path)
    asis, folded = _readings(path, str), _readings(path, _folded)
    return None if asis is None or folded is None else asis | folded


def _readings(path: str, fold: Callable[[str], str]) -> frozenset[str] | None:
    """The paths behind each layer of percent-encoding; None where it does not end."""
    found: set[str] = set()
    for _ in range(MAX_LAYERS):
        plain = path.replace("\\", "/")
        ends = {plain, _END.split(plain, maxsplit=1)[0]}
        for text in ends | {text.partition(";")[0] for text in ends} | {_PARAMETERS.sub("", text) for text in ends}:
            for segments in (text.split("/"), [segment for segment in text.split("/") if segment]):
                found |= {resolved := _resolved(segments), resolved + "/"}
        decoded = fold(unquote(path, errors="replace"))
        if decoded == path:
            return frozenset(found)
        path = decoded
    return None


def _resolved(segments: list[str]) -> str:
    """Without dots (RFC 3986 5.2.4) and empty segments."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(segment for segment in kept if segment)


def loosely(text: str) -> str:
    """`text` in plain letters and lower case, with every layer of percent-encoding undone and all separators alike."""
    if not text.isascii():  # bytes as they were sent
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    for _ in range(8):
        decoded = _folded_each(unquote(text, errors="replace"))
        if decoded == text:
            break
        text = decoded
    return text.lower().replace("\\", "/").replace("\0", "")


def below(prefix: str, path: str) -> bool:
    """True if `path` is `prefix` or lies below it; /repos/me does not cover /repos/me2."""
    stem = prefix.rstrip("/")
    return path in (stem, prefix) or path.startswith(stem + "/")
