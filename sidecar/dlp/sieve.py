"""Where in a text one of many thousand literals may stand: for the portable search, whose automaton for so many of
them outgrows the processor's caches. Pure arithmetic on whole arrays, without the interpreter's lock; a superset.

Of each literal the five bytes from its first and from its second letter are kept in tables of bits; of a text the five
bytes at every other place are looked up. Whatever the alignment, one of the two is at such a place.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_GRAM = 5
_BITS = 20
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_MASK = np.uint64((1 << 8 * _GRAM) - 1)
_MANY = 256
"""A place in so many bytes: with more of them the automaton is cheaper."""

Array = np.ndarray[Any, Any]


def _slots(grams: Array, mix: int) -> Array:
    return (grams * np.uint64(mix)) >> np.uint64(64 - _BITS)


class Sieve:
    """Compiled from literals of six bytes at least; with a shorter one it lets everything pass."""

    def __init__(self, words: Sequence[bytes]) -> None:
        self._usable = bool(words) and min(map(len, words)) > _GRAM
        if not self._usable:
            return
        grams = np.array(
            [int.from_bytes(word[at : at + _GRAM], "little") for word in words for at in (0, 1)], dtype=np.uint64
        )
        self._tables = [np.zeros(1 << _BITS, np.bool_) for _ in _MIX]
        for table, mix in zip(self._tables, _MIX, strict=True):
            table[_slots(grams, mix)] = True

    def near(self, text: bytes, reach: int) -> list[tuple[int, int]] | None:
        """Stretches that hold every literal in `text`, apart from each other; None where that is all of it."""
        if not self._usable:
            return None
        places = np.sort(np.concatenate([self._places(text, offset) for offset in range(0, 8, 2)]))
        if len(places) > len(text) // _MANY + 8:
            return None
        if not len(places):
            return []
        breaks = np.flatnonzero(np.diff(places) > 2 * reach + 2)
        starts, ends = places[np.r_[0, breaks + 1]], places[np.r_[breaks, len(places) - 1]]
        return [
            (max(0, start - reach), min(len(text), end + reach))
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]

    def _places(self, text: bytes, offset: int) -> Array:
        """Which of every eighth place, from `offset` on, pass."""
        rest = text[offset:]
        grams = np.frombuffer(rest + bytes(8 + -len(rest) % 8), np.uint64) & _MASK
        found = np.flatnonzero(self._tables[0][_slots(grams, _MIX[0])])
        for table, mix in zip(self._tables[1:], _MIX[1:], strict=True):
            found = found[table[_slots(grams[found], mix)]]
        return found * 8 + offset
