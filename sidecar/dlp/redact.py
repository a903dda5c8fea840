"""Takes findings out of a text: JSON stays JSON, and the result is scanned again until it is clean. Pure.

`None` means that it cannot be made clean (a match spans several strings, or is not in one place): the caller refuses.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson

from sidecar.dlp.engine import Scan
from sidecar.dlp.finding import Finding

MARK = "[redacted]"
_ROUNDS = 4
_DEPTH = 200
_LONG = 700
"""Bytes; rules for values that may be longer do not ask for their end."""
_REST = re.compile(
    rb"[A-Za-z0-9+/_=.-]*+"
    rb"(?:[ \t]*+(?:\\++[rn]|[\r\n])(?:\\++[rn]|[ \t\r\n])*+"
    rb"(?:[A-Za-z0-9+/=]++|Private-Lines: [0-9]++)(?=[ \t]*+(?:\\|[\r\n\"']|\Z)))*+"
)
"""The run goes on, and so do lines that hold nothing else: a key of 4096 bits has 3.2 KB, in PuTTY's form between two
headers."""
_KEY = b"-----BEGIN "
_KEY_LINES = re.compile(
    rb"[A-Za-z0-9+/=]*+(?:(?:(?!-----END ).){1,160}?[A-Za-z0-9+/]{60}[A-Za-z0-9+/=]*+)*+"
    rb"(?:(?:(?!-----).){1,160}?-----END [A-Z0-9 ]{3,40}-----)?",
    re.DOTALL,
)
"""The rest of a private key with something before each of its lines, to its last one."""

Scanner = Callable[[bytes], Scan]
"""Scans with the settings of the request at hand."""


def redacted(data: bytes, scan: Scanner) -> bytes | None:
    """`data` without anything that `scan` blocks or that carries a value; None where that fails."""
    document = _document(data)
    for _ in range(_ROUNDS):
        found = scan(data).findings
        if not _blocking(found):
            return data
        if any(finding.detector == "limits" for finding in found):
            return None
        if document is not None:
            document = _clean(document, scan, 0)
            after = _dump(document)
        else:
            after = _cut(data, found)
        if after == data:
            return None
        data = after
    return data if not _blocking(scan(data).findings) else None


def _blocking(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "block"]


def _document(data: bytes) -> Any | None:
    """`data` as JSON where it is an object or a list that can be written again."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _dump(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except (TypeError, ValueError):
        return json.dumps(document, separators=(",", ":")).encode()


def _clean(value: Any, scan: Scanner, depth: int) -> Any:
    """`value` with every string and number in it cleaned, keys too."""
    if depth > _DEPTH:
        return MARK
    if isinstance(value, str):
        return _clean_text(value, scan)
    if isinstance(value, dict | list) and not _blocking(scan(_dump(value)).findings):
        return cast(Any, value)
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        return {_clean_text(key, scan): _clean_pair(key, each, scan, depth + 1) for key, each in items}
    if isinstance(value, list):
        return [_clean(each, scan, depth + 1) for each in cast(list[Any], value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return MARK if _blocking(scan(str(value).encode()).findings) else value
    return value


def _clean_pair(key: str, value: Any, scan: Scanner, depth: int) -> Any:
    """A value that is only a finding beside its key (`"password": "..."`) is cleaned as well."""
    cleaned = _clean(value, scan, depth)
    if isinstance(cleaned, str) and cleaned == value and len(cleaned) <= 4096:
        pair = orjson.dumps({key: cleaned})
        return MARK if _blocking(scan(pair).findings) else cleaned
    return cleaned


def _clean_text(text: str, scan: Scanner) -> str:
    data = text.encode("utf-8", "surrogatepass")
    found = _blocking(scan(data).findings)
    if not found:
        return text
    cut = _cut(data, found)
    if _blocking(scan(cut).findings):
        return MARK
    return cut.decode("utf-8", "replace")


def _cut(data: bytes, findings: Sequence[Finding]) -> bytes:
    """`data` with the stretch of each finding in the raw view replaced, overlapping ones once."""
    raw = (f for f in _blocking(findings) if f.view.startswith("raw") and f.end > f.start)
    spans = sorted((f.start, _end(data, f.start, f.end)) for f in raw)
    out: list[bytes] = []
    at = 0
    for start, end in spans:
        if start >= at:
            out += [data[at:start], MARK.encode()]
        at = max(at, end)
    return b"".join(out) + data[at:]


def _end(data: bytes, start: int, end: int) -> int:
    """Where a value ends of which the first `end - start` bytes were found: of a long one, a rule has its beginning."""
    if data.startswith(_KEY, start) and (rest := _KEY_LINES.match(data, end)):
        end = rest.end()
    if end - start < _LONG:
        return end
    rest = _REST.match(data, start + len(data[start:end].rstrip(b" \t\r\n\\")))  # it may end inside of a line's break
    return max(end, rest.end()) if rest else end
