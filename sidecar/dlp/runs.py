"""Blobs: unbroken runs of more than a thousand letters, digits and `+/_-`, images mostly. Pure; linear.

No single value is that long, so what is written in words, groups of digits or short runs is looked for outside of
them.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from sidecar.dlp.lookup import kind, rows
from sidecar.dlp.places import Words

LEAST = 24
"""base64 of base64 of twelve characters has 24; so have the shortest shapes that are searched for in runs."""

LONG = 1024
"""A longer run is a blob: no single value is that long."""

AFTER = 64
"""Bytes of a blob that are kept on both sides of it with its surroundings: values end and begin there."""

_CLASS = kind(lambda code: (chr(code).isalnum() and code < 128) or code in b"+/_-")
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

    source: bytes
    spans: tuple[tuple[int, int], ...]
    """Of the blobs."""
    prose: Stretches

    @classmethod
    def of(cls, source: bytes) -> "Split":
        blobs: list[tuple[int, int]] = []
        prose: list[tuple[int, int]] = []
        clear = 0
        for start, end in rows(source, _CLASS, LONG + 1):
            blobs.append((max(0, start - 2), min(end + AFTER, len(source))))
            prose.append((clear, start + AFTER))
            clear = end - AFTER
        prose.append((clear, len(source)))
        return cls(source, tuple(blobs), stretches(source, prose))

    @cached_property
    def blobs(self) -> Stretches:
        """Put together where they are looked at: by one of two processes."""
        return stretches(self.source, list(self.spans))

    @cached_property
    def words(self) -> Words:
        """The words of the prose: of which kinds they are is told once, for all searches."""
        return Words(self.prose.text)


def long_rows(source: bytes) -> Stretches:
    """The runs of `LEAST` characters and more, with all that a match in one of the places in `ROWS` has beside them."""
    spans: list[tuple[int, int]] = []
    for start, end in rows(source, _CLASS, LEAST):
        low, high = max(0, start - _BEFORE), min(len(source), end + _BEHIND)
        if spans and low <= spans[-1][1]:
            low = spans.pop()[0]
        spans.append((low, high))
    return stretches(source, spans)
