"""Whether a text ends inside a secret: every six consecutive letters and digits of each encoding, in one sorted array.
Pure. A hit is a reason to wait for the next piece of the text, never a finding.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from sidecar.dlp.needles import project

SIZE = 6
"""Letters and digits that are worth waiting for: chance has them at the end of one text in ten thousand."""

_BACK = 1024
"""Bytes before a text's end that are looked at: six letters escaped and separated, and a long run of them."""

_ALNUM = np.array([code < 128 and chr(code).isalnum() for code in range(256)])
_SHIFTS = tuple(np.uint64(8 * place) for place in range(SIZE))

type _Array = "np.ndarray[tuple[int], np.dtype[np.uint64]]"


def _packed(letters: bytes) -> _Array:
    """Each six consecutive bytes as one number; empty where there are fewer."""
    codes = np.frombuffer(letters, np.uint8).astype(np.uint64)
    count = max(0, len(codes) - SIZE + 1)
    numbers = np.zeros(count, np.uint64)
    for place, shift in enumerate(_SHIFTS):
        numbers |= codes[place : place + count] << shift
    return numbers


class Grams:
    """Compiled once for a set of secrets; shows none of them."""

    def __init__(self, projections: Iterable[bytes], literals: Sequence[bytes]) -> None:
        joined = b"\0".join(projections)
        numbers = np.unique(_packed(joined))
        whole = np.ones(len(numbers), bool)
        for shift in _SHIFTS:  # not across two of them
            whole &= (numbers >> shift & np.uint64(255)) != 0
        self._numbers = numbers[whole]
        self._literals = tuple(literals)

    def __repr__(self) -> str:
        return "Grams(***)"

    def tail(self, text: bytes) -> int:
        """Where the part of a secret begins with which `text` ends; its length where there is none."""
        return min(self._literal_tail(text), self._run(text, len(text)))

    def around(self, text: bytes, start: int, end: int) -> tuple[int, int]:
        """The whole run of a secret of which text[start:end] was found."""
        base = max(0, start - _BACK)
        places, hits = self._hits(text[base : end + _BACK])
        if not hits:
            return start, end
        covered = np.zeros(len(places) + 1, bool)
        for index, hit in enumerate(hits):
            covered[index : index + SIZE] |= hit
        first, after = (int(np.searchsorted(places, edge - base)) for edge in (start, end))
        while first and covered[first - 1]:
            first -= 1
        while after < len(places) and covered[after]:
            after += 1
        low = base + int(places[first]) if first < len(places) else start
        high = base + int(places[after - 1]) + 1 if after else end
        return min(start, low), max(end, high)

    def _hits(self, text: bytes) -> "tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[bool]]":
        codes = np.frombuffer(text, np.uint8)
        places = np.flatnonzero(_ALNUM[codes])
        numbers = _packed(codes[places].tobytes())
        if not len(self._numbers) or not len(numbers):
            return places, []
        found = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
        return places, (self._numbers[found] == numbers).tolist()

    def _run(self, text: bytes, none: int) -> int:
        base = max(0, none - _BACK)
        if not self._ends_inside(text[max(base, none - 64) :]):
            return none
        places, hits = self._hits(text[base:])
        first = len(hits)
        while first and hits[first - 1]:
            first -= 1
        return base + int(places[first]) if first < len(hits) else none

    def _ends_inside(self, end: bytes) -> bool:
        """Cheap: whether the last six letters and digits may be of a secret."""
        letters = project(end)
        if len(letters) < SIZE:
            return len(end) == 64  # far apart: look further back
        number = np.uint64(int.from_bytes(letters[-SIZE:], "little"))
        place = int(np.searchsorted(self._numbers, number))
        return place < len(self._numbers) and bool(self._numbers[place] == number)

    def _literal_tail(self, text: bytes) -> int:
        """The same for secrets so short that they count only as they are."""
        best = len(text)
        for literal in self._literals:
            for size in range(min(len(literal) - 1, len(text)), max(2, len(literal) // 2) - 1, -1):
                if text.endswith(literal[:size]):
                    best = min(best, len(text) - size)
                    break
        return best
