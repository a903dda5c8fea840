"""Blobs: unbroken runs of more than a thousand letters, digits and `+/_-`, images mostly. Pure; linear.

No single value is that long, so what is written in words, groups of digits or short runs is looked for outside of
them. They are found by a look at every sixteenth byte, each sure of what lies between only after a search.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sidecar.dlp.matcher import Engine, Spec
from sidecar.dlp.places import Words

LEAST = 24
"""base64 of base64 of twelve characters has 24; so have the shortest shapes that are searched for in runs."""

LONG = 1024
"""A longer run is a blob: no single value is that long."""

AFTER = 64
"""Bytes of a blob that are kept on both sides of it with its surroundings: values end and begin there."""

_STEP = 16
_PART = 64 * 1024
_FEW = 4
_SMALL = 8 * 1024
"""After so many bytes of something else, and for so little, a look at each byte is cheaper than searches."""

_CLASS = bytes(97 if (chr(code).isalnum() and code < 128) or code in b"+/_-" else 32 for code in range(256))
_SAMPLES = b"a" * ((LONG + 1) // _STEP)
_WHOLE = b"a" * (LONG + 1)
_ROW = b"a" * LEAST
_BEFORE, _BEHIND = 8, 80
"""Bytes beside a row that a match holds at most, and more: two before it, and 57 of a dotted token behind it."""


@dataclass(frozen=True)
class Stretches:
    """Stretches of a source, a line break between; `starts` are their offsets in `text`, `origins` in the source."""

    text: bytes
    starts: tuple[int, ...]
    origins: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """True where offsets in `text` are those in the source."""
        return len(self.starts) == 1 and self.origins == (0,)

    def origin(self, end: int) -> int:
        """The source offset of an end offset in `text`."""
        place = max(0, bisect_right(self.starts, end - 1) - 1)
        return self.origins[place] + end - self.starts[place]


def stretches(source: bytes, spans: list[tuple[int, int]]) -> Stretches:
    """`source` cut to `spans`."""
    if spans == [(0, len(source))]:
        return Stretches(source, (0,), (0,))
    starts: list[int] = []
    length = 0
    for start, end in spans:
        starts.append(length)
        length += end - start + 1
    text = b"\n".join([source[start:end] for start, end in spans])
    return Stretches(text, tuple(starts), tuple(start for start, _ in spans))


@dataclass(frozen=True)
class Split:
    """A text's blobs, with a few bytes around each, and the text without the inside of them."""

    blobs: Stretches
    prose: Stretches

    @cached_property
    def words(self) -> Words:
        """The words of the prose: of which kinds they are is told once, for all searches."""
        return Words(self.prose.text)


class Splitter:
    """Tells blobs from the rest."""

    def __init__(self, engine: Engine) -> None:
        self._other = engine.expressions([Spec(r"[^A-Za-z0-9+/_\-]")])

    def split(self, source: bytes) -> Split:
        blobs: list[tuple[int, int]] = []
        prose: list[tuple[int, int]] = []
        clear = 0
        for start, end in self._spans(source):
            blobs.append((max(0, start - 2), min(end + AFTER, len(source))))
            prose.append((clear, start + AFTER))
            clear = end - AFTER
        prose.append((clear, len(source)))
        return Split(stretches(source, blobs), stretches(source, prose))

    def _spans(self, source: bytes) -> list[tuple[int, int]]:
        """Where each blob begins and ends."""
        samples = source[::_STEP].translate(_CLASS)
        found: list[tuple[int, int]] = []
        at = 0
        while (first := samples.find(_SAMPLES, at)) >= 0:
            at = samples.find(b" ", first)
            at = at if at >= 0 else len(samples)
            low = first * _STEP
            before = source[max(0, low - _STEP) : low].translate(_CLASS)
            found += self._long(source, low - (len(before) - 1 - before.rfind(b" ")), min(at * _STEP, len(source)))
        return found

    def _long(self, source: bytes, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The blobs in source[low:high], of which hardly a byte is of something else: from one such to the next."""
        for _ in range(_FEW):
            if high - low <= _SMALL:
                break
            end = self._other_after(source, low, high)
            if end - low > LONG:
                yield low, end
            low = end + 1
        if high - low > LONG:
            yield from _exact(source, low, high, _WHOLE)

    def _other_after(self, source: bytes, low: int, high: int) -> int:
        """The first byte of something else in source[low:high]. In parts: large copies cost more than the search."""
        for part in range(low, high, _PART):
            if pairs := self._other.scan(source[part : min(part + _PART, high)], 1).pairs:
                return part + pairs[0][1] - 1
        return high


def rows(source: bytes) -> Stretches:
    """The runs of `LEAST` characters and more, with all that a match in one of the places in `ROWS` has beside them."""
    spans: list[tuple[int, int]] = []
    for start, end in _exact(source, 0, len(source), _ROW):
        low, high = max(0, start - _BEFORE), min(len(source), end + _BEHIND)
        if spans and low <= spans[-1][1]:
            low = spans.pop()[0]
        spans.append((low, high))
    return stretches(source, spans)


def _exact(source: bytes, low: int, high: int, least: bytes) -> list[tuple[int, int]]:
    """The runs in source[low:high] that are as long as `least`, byte for byte."""
    classes = source[low:high].translate(_CLASS)
    found: list[tuple[int, int]] = []
    at = 0
    while (start := classes.find(least, at)) >= 0:
        at = classes.find(b" ", start)
        at = at if at >= 0 else len(classes)
        found.append((low + start, low + at))
    return found
