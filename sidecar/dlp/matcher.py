"""The two searches that everything rests on, behind one interface: many expressions, and many literals, in one pass.

`hyperscan` where it loads, else RE2 and Aho-Corasick. Both are linear in the text whatever the text is. A search says
only where something *may* be (a superset); what counts is decided by `rules` and `needles`, the same for both.
Never handed out: a search without a limit on its hits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

Backend = Literal["hyperscan", "portable"]
Place = Literal[
    "run", "dotted", "wrapped", "hex", "base58", "cards", "numbers", "accounts", "phrases", "pairs", "codes", "unicode"
]
Where = Literal["text", "prose", "blob"] | Place


class Hits(NamedTuple):
    """(index of expression or literal, end offset) pairs; `overflow` when the limit stopped the search."""

    pairs: list[tuple[int, int]]
    overflow: bool


class Searcher(Protocol):
    """Compiled once, used by any number of threads at a time."""

    def scan(self, text: bytes, limit: int) -> Hits: ...


@dataclass(frozen=True, slots=True)
class Spec:
    """One expression: ASCII source, bounded, no lookaround, `.` matches any byte. `literals`, where given, are
    words of which every match holds one: the portable search looks for those instead, and reports where they end.
    `where`: what is searched. Whole texts; all but blobs; one of the places in it where such a match can be at all
    (`places`), for expressions without a literal; or blobs. `lane`: expressions that are cheaper to search for by
    themselves (measured: an expression may cost more among others than alone).
    """

    source: str
    caseless: bool = False
    literals: tuple[bytes, ...] = ()
    where: Where = "text"
    lane: str = ""


class Engine(Protocol):
    """What a backend offers."""

    name: Backend

    def expressions(self, specs: Sequence[Spec]) -> Searcher: ...

    def literals(self, words: Sequence[bytes], once: Sequence[bool]) -> Searcher:
        """`once[i]`: one hit of word i is enough."""
        ...


@cache
def backend(name: Backend | None = None) -> Engine:
    """The named backend, or the fastest that loads here."""
    if name != "portable":
        try:
            from sidecar.dlp.hyperscan_matcher import Hyperscan

            return Hyperscan()
        except (ImportError, OSError):
            if name is not None:
                raise
    from sidecar.dlp.portable_matcher import Portable

    return Portable()
