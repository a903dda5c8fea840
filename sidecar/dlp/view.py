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
    precise: bool = False
    """Findings are traced back character by character, not to the stretch that was decoded: a thousand steps each."""

    def stretches(self) -> Iterator[tuple[int, int, bool]]:
        """(start, end) of each part that came from somewhere else than its neighbours, and whether it was turned."""
        if not self.starts:
            yield 0, len(self.text), False
        for place, (start, origin) in enumerate(zip(self.starts, self.origins, strict=True), 1):
            yield start, self.starts[place] - 1 if place < len(self.starts) else len(self.text), origin.turned

    def locate(self, start: int, end: int) -> tuple[str, int, int]:
        """(name of the chain of views, start, end in the first of them) of text[start:end]."""
        if self.parent is None:
            return self.name, self.base + start, self.base + end
        first = max(0, bisect_right(self.starts, start) - 1)
        last = max(first, bisect_right(self.starts, max(start, end - 1)) - 1)
        if any(self.origins[place].end > self.origins[place + 1].start for place in range(first, last)):
            # these parts do not follow one another there: it goes on over an edge by chance
            first = last = max(range(first, last + 1), key=lambda place: self._shared(place, start, end))
        low, _ = self._source(first, start, end)
        _, high = self._source(last, start, end)
        chain, low, high = self.parent.locate(low, high)
        return f"{chain}>{self.origins[first].name}", low, high

    def _shared(self, place: int, start: int, end: int) -> int:
        """How much of text[start:end] lies in one part."""
        at = self.starts[place]
        return min(end, at + len(self.origins[place].data)) - max(start, at)

    def _source(self, place: int, start: int, end: int) -> tuple[int, int]:
        """What of one stretch's origin gave text[start:end]."""
        origin, at = self.origins[place], self.starts[place]
        size = len(origin.data)
        if origin.decode is None or self.parent is None or not self.precise:
            return origin.start, origin.end
        source = self.parent.text[origin.start : origin.end]
        low, high = source_span(origin.decode, source, max(0, start - at), min(size, end - at))
        return origin.start + low, origin.start + high


_BETWEEN = b"0z0z0z0z0z0z0z0z"
"""More letters and digits than a piece of a secret has, or what ends one part would go on in the other by chance."""


def derived(parent: View, parts: Sequence[Derived]) -> View:
    """One view of all that was derived from `parent`, what was turned after all else and told apart from it."""
    ahead = [part for part in parts if not part.turned]
    turned = [part for part in parts if part.turned]
    between = [Derived("", 0, 0, _BETWEEN)] if ahead and turned else []
    parts = [*ahead, *between, *turned]
    starts: list[int] = []
    at = 0
    for part in parts:
        starts.append(at)
        at += len(part.data) + 1
    text = b"\n".join(part.data for part in parts)
    return View("derived", text, parent, 0, tuple(starts), tuple(parts), parent.precise)
