"""What of a scan needs nothing but the text: half the work of a large one, which another process may do meanwhile.

Two threads would wait for each other: most of the other half needs the interpreter's lock. Who offers to help is told
with `use`; what nobody does is done by the caller, when it is wanted. Pure but for that.
"""

from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

from sidecar.dlp.known import Needles
from sidecar.dlp.matcher import Backend, Hits
from sidecar.dlp.runs import Split
from sidecar.dlp.searches import Shapes
from sidecar.dlp.steps import Signs

NOTHING = Hits([], False)


class Wanted(NamedTuple):
    """What is looked for: rules or only what gives an encoding away, and which needles, if any."""

    rules: bool
    needles: Needles | None


class Found(NamedTuple):
    """Hits of rules in prose with the signs there and in blobs; then hits of other rules; then hits of needles."""

    hits: Hits
    signs: Signs


class Searched(Iterator[Found], Protocol):
    """The three, one after the other. Always closed."""

    def close(self) -> None: ...


class Helper(Protocol):
    """Another process with the same rules."""

    def begin(self, name: Backend, text: bytes, wanted: Wanted) -> Searched | None:
        """Search this text; None where it cannot help now."""
        ...

    def rest(self) -> None:
        """Give back what memory the texts took."""
        ...


_helper: Helper | None = None


def use(helper: Helper | None) -> None:
    """Have this one help with large texts from now on."""
    global _helper
    _helper = helper


def rest() -> None:
    """No large text is expected soon."""
    if _helper is not None:
        _helper.rest()


def elsewhere(shapes: Shapes, text: bytes, wanted: Wanted) -> Searched | None:
    """The text searched by who helps; None where nobody does."""
    return _helper.begin(shapes.backend.name, text, wanted) if _helper is not None else None


def here(shapes: Shapes, split: Split, wanted: Wanted) -> Generator[Found]:
    """The text searched by the caller, each part when it is asked for."""
    hits, signs = shapes.search_beside(split, rules=wanted.rules)
    yield Found(hits, signs)
    yield Found(shapes.search_whole(split.source) if wanted.rules else NOTHING, {})
    yield Found(wanted.needles.search(split.source) if wanted.needles else NOTHING, {})
