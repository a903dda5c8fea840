"""What was clean a moment ago: lets the unchanged beginning of a growing conversation be skipped. Memory only, bounded.

Safe because of five rules (performance.md): the beginning is compared byte for byte; a margin longer than any match is
examined again; an entry counts only for the same compiled engine, place and detectors; only clean verdicts are kept;
the pass over the raw bytes is never skipped. Pieces of secrets seen before are carried on.

In the margin it is known where something gives an encoding away, and that what these bytes alone hide is clean: what
goes on behind them is decoded from where it begins, and only the last of them are searched again.
"""

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from sidecar.dlp.finding import Location
from sidecar.dlp.known import NO_PIECES, Pieces
from sidecar.dlp.needles import project
from sidecar.dlp.steps import Signs

MARGIN = 24 * 1024
"""More than the longest credential with its keyword in any view: 3.4 KB, escaped to six characters each."""

NEAR = 4 * 1024
"""More than the longest match of any expression in the bytes as they are: what ends before is known."""
_LETTERS = 64
"""More letters and digits than any needle of a known secret has."""

_STEP = 256 * 1024
"""Bytes that are compared at once: what is made of them stays in the processor's cache."""
_WORD = 8
_LEAST = 32 * 1024
_KEPT = 64 * 1024
"""Bytes at the end of a text of which the signs are kept: a longer form goes on there."""
_AROUND = 64
_RUN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_LINES = _RUN + b" \t\r\n\"'\\,>|"
"""What wrapped lines of one run consist of."""


class Seen(NamedTuple):
    """What a scan found out about a clean text: the `pieces` it held, and the `signs` in it from `since` on, counted
    from there."""

    pieces: Pieces
    signs: Signs
    since: int


class Resume(NamedTuple):
    """Everything before `start` was found clean in this engine, and so was what stands or is hidden before `alike`; it
    held `pieces`. Expressions are to be searched for from `near` on: `signs`, counted from `start`, are those before
    `alike`. `replaced` are the numbers of the kept bodies of which the new one is a longer form."""

    start: int
    near: int
    alike: int
    pieces: Pieces
    signs: Signs
    replaced: frozenset[int] = frozenset()

    def joined(self, signs: Signs) -> Signs:
        """Those in what is known, and these, which were counted from `near`."""
        both = {**self.signs}
        for place, ends in signs.items():
            known = both.get(place, [])
            found = None if ends is None else (end + self.near - self.start for end in ends)
            both[place] = None if found is None or known is None else sorted({*known, *found})
        return both


NOTHING_KNOWN = Resume(0, 0, 0, NO_PIECES, {})


class _Clean(NamedTuple):
    engine: object
    part: str
    detectors: frozenset[str]
    text: bytes
    seen: Seen


class Session:
    """The last few clean bodies of one bottle and route. Locked: flows of one route are scanned on several threads."""

    def __init__(self, *, bodies: int = 4, total: int = 16 * 1024 * 1024) -> None:
        self._bodies = bodies
        self._total = total
        self._kept: OrderedDict[int, _Clean] = OrderedDict()
        self._next = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Session({len(self._kept)})"

    def remember(
        self,
        engine: object,
        where: Location,
        detectors: frozenset[str],
        text: bytes,
        seen: Seen,
        replaced: frozenset[int] = frozenset(),
    ) -> None:
        """Keep a body whose verdict was clean, in place of its shorter forms."""
        if not _LEAST <= len(text) <= self._total:
            return
        with self._lock:
            for key, kept in list(self._kept.items()):
                if kept.engine is not engine or key in replaced:
                    del self._kept[key]
            self._kept[self._next] = _Clean(engine, where.part, detectors, text, _bounded(seen, len(text)))
            self._next += 1
            while len(self._kept) > self._bodies or sum(len(kept.text) for kept in self._kept.values()) > self._total:
                self._kept.popitem(last=False)

    def begins(self, engine: object, where: Location, detectors: frozenset[str], text: bytes) -> bool:
        """Whether a body that is kept begins like `text`: most of it is known then. Looks at little of it."""
        return any(each.text[:_LEAST] == text[:_LEAST] for _, each in self._of(engine, where, detectors))

    def resume(self, engine: object, where: Location, detectors: frozenset[str], text: bytes) -> Resume:
        """What is known of the beginning of `text`."""
        best = NOTHING_KNOWN
        replaced: set[int] = set()
        for key, each in self._of(engine, where, detectors):
            alike = common_prefix(text, each.text)
            if alike >= len(each.text) - MARGIN:
                replaced.add(key)
            start = _cut(text, alike)
            if start > best.start:
                best = _resume(text, start, alike, each.seen)
        return best._replace(replaced=frozenset(replaced))

    def _of(self, engine: object, where: Location, detectors: frozenset[str]) -> list[tuple[int, _Clean]]:
        with self._lock:
            return [(key, each) for key, each in self._kept.items() if each[:3] == (engine, where.part, detectors)]


def _bounded(seen: Seen, size: int) -> Seen:
    """What of it is worth keeping for a longer form of a text of `size` bytes."""
    since = max(seen.since, size - _KEPT)
    return Seen(seen.pieces, _within(seen, since, size), since)


def _resume(text: bytes, start: int, alike: int, seen: Seen) -> Resume:
    near = max(start, alike - NEAR)
    if start < seen.since or len(project(text[near:alike])) < _LETTERS:
        return Resume(start, start, alike, seen.pieces, {})
    return Resume(start, near, alike, seen.pieces, _within(seen, start, alike))


def _within(seen: Seen, start: int, stop: int) -> Signs:
    """The signs that end in what is from `start` to `stop`, counted from `start`."""
    low, high = start - seen.since, stop - seen.since
    signs: Signs = {}
    for place, ends in seen.signs.items():
        inside = None if ends is None else [end - low for end in ends if low < end <= high]
        if inside != []:
            signs[place] = inside
    return signs


def common_prefix(left: bytes, right: bytes) -> int:
    """A length, not always the greatest, of which both are known to begin alike. Without the interpreter's lock."""
    count = min(len(left), len(right)) // _WORD
    ours, theirs = np.frombuffer(left, np.uint64, count), np.frombuffer(right, np.uint64, count)
    for at in range(0, count, _STEP // _WORD):
        differ = ours[at : at + _STEP // _WORD] != theirs[at : at + _STEP // _WORD]
        first = int(differ.argmax())
        if differ[first]:
            return (at + first) * _WORD
    return count * _WORD


def _cut(text: bytes, alike: int) -> int:
    """A place at least a margin before `alike`, just behind a quote: between escapes, and inside no encoded run. Or in
    the midst of a blob that ends before `alike`: what is inside of it has been examined to its end."""
    if alike < _LEAST:
        return 0
    at = alike - MARGIN
    quote = text.rfind(b'"', 0, at) + 1
    inside = at - quote > MARGIN and not text[at - _AROUND : at + _AROUND].translate(None, _RUN)
    return at if inside and text[at:alike].translate(None, _LINES) else quote
