"""A text under examination and where each part of it came from. Pure.

The first view is the bytes as they are (`raw`), or their end; all others were derived from it, stretch by stretch.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sidecar.dlp.derived import Derived, source_span


@dataclass(frozen=True, eq=False)
class View:
    """`text` and, for a derived one, its stretches: ascending offsets in `text` with their origin in `parent`."""

    name: str
    text: bytes
    parent: "View | None" = None
    base: int = 0
    starts: tuple[int, ...] = ()
    origins: tuple[Derived, ...] = ()
    turned: bool = False
    precise: bool = False
    """Findings are traced back character by character, not to the stretch that was decoded: a thousand steps each."""

    def stretches(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each part that came from somewhere else than its neighbours."""
        if not self.starts:
            yield 0, len(self.text)
            return
        for place, start in enumerate(self.starts):
            after = place + 1
            yield start, self.starts[after] - 1 if after < len(self.starts) else len(self.text)

    def locate(self, start: int, end: int) -> tuple[str, int, int]:
        """(name of the chain of views, start, end in the first of them) of text[start:end]."""
        if self.parent is None:
            return self.name, self.base + start, self.base + end
        first = max(0, bisect_right(self.starts, start) - 1)
        last = max(first, bisect_right(self.starts, max(start, end - 1)) - 1)
        low, _ = self._source(first, start, end)
        _, high = self._source(last, start, end)
        chain, low, high = self.parent.locate(low, high)
        return f"{chain}>{self.origins[first].name}", low, high

    def _source(self, place: int, start: int, end: int) -> tuple[int, int]:
        """What of one stretch's origin gave text[start:end]."""
        origin, at = self.origins[place], self.starts[place]
        size = len(origin.data)
        if origin.decode is None or self.parent is None or not self.precise:
            return origin.start, origin.end
        source = self.parent.text[origin.start : origin.end]
        low, high = source_span(origin.decode, source, max(0, start - at), min(size, end - at))
        return origin.start + low, origin.start + high


def derived(parent: View, parts: Sequence[Derived], *, turned: bool = False) -> View:
    """One view of all that was derived from `parent`."""
    starts: list[int] = []
    at = 0
    for part in parts:
        starts.append(at)
        at += len(part.data) + 1
    text = b"\n".join(part.data for part in parts)
    return View("derived", text, parent, 0, tuple(starts), tuple(parts), turned, parent.precise)
