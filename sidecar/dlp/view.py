"""A text under examination and where each part of it came from. Pure.

The first views are the bytes as they are (`raw`) and the strings of a JSON document (`json`); all others were derived
from one of those, stretch by stretch.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from sidecar.dlp.derive import Derived, unescape

_DEPTH = 200
"""Nesting of JSON that is read by the careful reader; deeper documents are scanned as text."""


_BETWEEN = '": "'
"""Between strings: a key still stands before its value as in the document, for the rules that look for both."""


@dataclass(frozen=True, eq=False)
class View:
    """`text` and, for a derived one, its stretches: ascending offsets in `text` with their origin in `parent`."""

    name: str
    text: bytes
    parent: "View | None" = None
    starts: tuple[int, ...] = ()
    origins: tuple[tuple[str, int, int], ...] = ()

    def locate(self, start: int, end: int) -> tuple[str, int, int]:
        """(name of the chain of views, start, end in the first of them) of text[start:end]."""
        if self.parent is None:
            return self.name, start, end
        first = max(0, bisect_right(self.starts, start) - 1)
        last = max(first, bisect_right(self.starts, max(start, end - 1)) - 1)
        label, low, _ = self.origins[first]
        high = self.origins[last][2]
        chain, low, high = self.parent.locate(low, high)
        return f"{chain}>{label}", low, high


def derived(parent: View, parts: Sequence[Derived]) -> View:
    """One view of all that was derived from `parent`."""
    starts: list[int] = []
    at = 0
    for part in parts:
        starts.append(at)
        at += len(part.data) + 1
    text = b"\n".join(part.data for part in parts)
    origins = tuple((part.name, part.start, part.end) for part in parts)
    return View("derived", text, parent, tuple(starts), origins)


def json_strings(document: Any) -> list[str]:
    """All strings and numbers of a document, keys too, in the order in which they stand."""
    found: list[str] = []
    stack: list[Any] = [document]
    while stack:
        item = stack.pop()
        kind = cast(type[object], type(item))
        if kind is str:
            found.append(item)
        elif kind is dict:
            for key, value in reversed(cast(dict[str, Any], item).items()):
                stack.append(value)
                stack.append(key)
        elif kind is list:
            stack.extend(reversed(cast(list[Any], item)))
        elif kind is int or kind is float:
            found.append(str(item))
    return found


@dataclass(frozen=True)
class JsonText:
    """The strings of a JSON text. `complete` when nothing of it can have been lost in reading it: writing it again
    gives the same bytes, so there are no duplicate keys, of which a reader keeps the last only."""

    text: bytes
    complete: bool


def json_text(data: bytes) -> JsonText | None:
    """The strings of `data`, None where it is no JSON."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _careful(data)
    if not isinstance(document, dict | list):
        return None
    strings = json_strings(cast(Any, document))
    if orjson.dumps(document) == data:
        return JsonText(_BETWEEN.join(strings).encode(), True)
    return _careful(data)


def _careful(data: bytes) -> JsonText | None:
    """As `json_text`, keeping every duplicate key's value; where that fails, `data` with its escapes taken off."""
    strings: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> list[Any]:
        return [part for item in items for part in item]

    if data.count(b"[") + data.count(b"{") > 0 and _nesting_ok(data):
        try:
            strings = json_strings(json.loads(data, object_pairs_hook=pairs))
        except (ValueError, RecursionError):
            strings = []
    if strings:
        return JsonText(_BETWEEN.join(strings).encode("utf-8", "surrogatepass"), False)
    return JsonText(fragment(data), False) if b"\\" in data else None


def _nesting_ok(data: bytes) -> bool:
    """False where so many brackets open in a row that a recursive reader could fail."""
    return b"[" * _DEPTH not in data and b'{"":' * _DEPTH not in data


_CONTROLS = bytes(32 if code < 32 or code == 34 else code for code in range(256))


def fragment(data: bytes) -> bytes:
    """A piece of JSON text, cut anywhere between escapes, with its escapes taken off; quotes become blanks."""
    quoted = data.replace(rb"\\", rb"\u005c").replace(rb"\"", rb"\u0022").translate(_CONTROLS)
    try:
        return cast(str, orjson.loads(b'"' + quoted + b'"')).encode()
    except orjson.JSONDecodeError:
        return unescape(data)
