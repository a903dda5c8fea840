"""Many thousand long literals looked for by fewer short ones: of each literal eight bytes, its core, shared with those
that overlap it. A hit of a core is compared with the literals that it stands for, so what is reported is exactly where
those are. Pure. The automaton is half as large, and most of its cost is what does not fit the processor's caches.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sidecar.dlp.matcher import Hits, Searcher

CORE = 8
_MANY = 4
"""Cores that are looked at for each word that may be reported, in a text that holds them without the words."""


class _Meant(NamedTuple):
    """A literal that a core stands for: from `before` bytes before the core's end to `after` bytes behind it."""

    word: int
    literal: bytes
    before: int
    after: int


class Cores:
    """A search for `words`; `search` looks for the cores."""

    def __init__(
        self,
        words: Sequence[bytes],
        once: Sequence[bool],
        search: Callable[[Sequence[bytes], Sequence[bool]], Searcher],
    ) -> None:
        meant = _cores(words)
        self._meant = list(meant.values())
        self._once = frozenset(index for index, each in enumerate(once) if each)
        whole = [all(each.literal == core for each in group) for core, group in meant.items()]
        single = [
            own and all(each.word in self._once for each in group)
            for own, group in zip(whole, self._meant, strict=True)
        ]
        self._search = search(list(meant), single)

    def scan(self, text: bytes, limit: int) -> Hits:
        """As a search for the words: the hits in the order of their ends."""
        hits = self._search.scan(text, limit)
        pairs = self._words(text, hits.pairs, limit)
        if hits.overflow and 2 * len(pairs) < limit:  # full of cores, not of words
            hits = self._search.scan(text, _MANY * limit)
            pairs = self._words(text, hits.pairs, limit)
        pairs.sort(key=lambda pair: pair[1])
        return Hits(pairs[:limit], hits.overflow or len(pairs) >= limit)

    def _words(self, text: bytes, hits: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
        pairs: list[tuple[int, int]] = []
        seen: set[int] = set()
        for core, end in hits:
            for word, literal, before, after in self._meant[core]:
                if end >= before and text.startswith(literal, end - before):
                    if word in self._once:
                        if word in seen:
                            continue
                        seen.add(word)
                    pairs.append((word, end + after))
            if len(pairs) >= limit:
                break
        return pairs


def _cores(words: Sequence[bytes]) -> dict[bytes, list[_Meant]]:
    """Each core with its literals: a core that was chosen for another one, else the last bytes of the literal."""
    found: dict[bytes, list[_Meant]] = {}
    for index, word in enumerate(words):
        least = min(CORE, len(word))
        ends = range(least, len(word) + 1)
        end = next((end for end in ends if word[end - least : end] in found), len(word))
        found.setdefault(word[end - least : end], []).append(_Meant(index, word, end, len(word) - end))
    return found
