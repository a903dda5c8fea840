"""The long unbroken runs of letters, digits and `+/_-` in a text: the only places where keys, hashes and encoded data
stand. Pure. Looking for those shapes here alone costs a fifth of looking for them everywhere.

Very long runs are blobs: images mostly. What is written in words or groups of digits is looked for outside of them.
"""

from bisect import bisect_right
from dataclasses import dataclass

LEAST = 24
"""base64 of base64 of twelve characters has 24; so have the shortest shapes that are searched for in runs."""

LONG = 1024
"""A longer run is a blob: no single value is that long."""

AFTER = 64
"""Bytes kept behind a run: the further parts of dotted tokens."""

_CLASS = bytes(97 if (chr(code).isalnum() and code < 128) or code in b"+/_-" else 32 for code in range(256))
_NEEDLE = b"a" * LEAST


@dataclass(frozen=True)
class Stretches:
    """Stretches of a source, a line break between; `starts` are their offsets in `text`, `origins` in the source."""

    text: bytes
    starts: tuple[int, ...]
    origins: tuple[int, ...]

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
class Runs:
    """The runs of a text by length, and the text without the inside of its blobs."""

    short: Stretches
    long: Stretches
    prose: Stretches


def find_runs(source: bytes) -> Runs:
    """All runs of at least `LEAST` characters, with a few bytes around each."""
    classes = source.translate(_CLASS)
    find = classes.find
    size = len(source)
    short: list[tuple[int, int]] = []
    long: list[tuple[int, int]] = []
    prose: list[tuple[int, int]] = []
    at = clear = 0
    while (found := find(_NEEDLE, at)) >= 0:
        end = find(b" ", found + LEAST)
        at = end if end >= 0 else size
        if at - found <= LONG:
            short.append((max(0, found - 2), at + AFTER))
            continue
        long.append((max(0, found - 2), at + AFTER))
        prose.append((clear, found + AFTER))
        clear = at - AFTER
    prose.append((clear, size))
    return Runs(stretches(source, short), stretches(source, long), stretches(source, prose))
