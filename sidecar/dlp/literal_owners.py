"""Which expressions the literals that an automaton found belong to: for the portable search. Those stay that stand as
their expression has them and with what must follow (`following`); the rest, most of them, would cost a try each.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sidecar.dlp.following import AHEAD, EVERY, following
from sidecar.dlp.literal_sieve import Form
from sidecar.dlp.matcher import Spec

_FEW = 32
"""Hits that are cheaper to look at one by one."""

_NEXT, _AFTER = np.arange(2), np.arange(2, AHEAD)
Array = np.ndarray[Any, Any]


class Owners:
    """The expressions of each literal, in small letters."""

    def __init__(self, specs: Sequence[Spec], words: Sequence[bytes]) -> None:
        place = {word: at for at, word in enumerate(words)}
        of_word: list[list[tuple[int, bytes, tuple[int, ...]]]] = [[] for _ in words]
        for index, spec in enumerate(specs):
            behind = following(spec) if spec.literals else {}
            for word in spec.literals:
                exact = b"" if spec.caseless else word
                after = behind.get(exact or word.lower(), ())
                of_word[place[word.lower()]].append((index, exact, after))
        self._of_word = [[(index, exact) for index, exact, _ in each] for each in of_word]
        self._counts = np.array([len(each) for each in of_word], np.int64)
        self._firsts = np.cumsum(self._counts) - self._counts
        every = [each for owners in of_word for each in owners]
        self._every = [(index, exact) for index, exact, _ in every]
        self._word = [word for word, owners in zip(words, of_word, strict=True) for _ in owners]
        self._after = [after[0] if after else EVERY for _, _, after in every]
        self._classes([after for _, _, after in every])

    def _classes(self, behind: Sequence[tuple[int, ...]]) -> None:
        """Which bytes may stand how far behind each; the 257th is the end of the text."""
        kinds = {EVERY: 0}
        self._behind = np.zeros((len(behind), AHEAD), np.uint16)
        for place, after in enumerate(behind):
            for ahead, kind in enumerate(after):
                self._behind[place, ahead] = kinds.setdefault(kind, len(kinds))
        self._kinds = np.ones((len(kinds), 257), np.bool_)
        for kind, place in kinds.items():
            if place:
                self._kinds[place] = [*(bool(kind >> code & 1) for code in range(256)), False]

    def forms(self) -> list[Form]:
        """How the literals may stand in a text, for `literal_sieve`."""
        found: dict[tuple[int, bytes, bool], int] = {}
        numbers = np.repeat(np.arange(len(self._counts)), self._counts).tolist()
        for number, word, (_, exact), after in zip(numbers, self._word, self._every, self._after, strict=True):
            key = number, exact or word, not exact
            found[key] = found.get(key, 0) | after
        return [Form(number, text, caseless, after) for (number, text, caseless), after in found.items()]

    def of(self, text: bytes, hits: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """(expression, end) for the (word, end) that the automaton found."""
        if len(hits) < _FEW:
            return list(self._few(text, hits))
        found = np.array(hits, np.int64)
        return list(self.followed(text, found[:, 0], found[:, 1]))

    def _few(self, text: bytes, hits: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for word, end in hits:
            for index, exact in self._of_word[word]:
                if not exact or text.endswith(exact, 0, end):
                    yield index, end

    def followed(self, text: bytes, words: Array, ends: Array, *, sure: bool = True) -> Iterator[tuple[int, int]]:
        """As `of`. Unless the words are `sure`, they are compared."""
        counts = self._counts[words]
        before = np.cumsum(counts) - counts
        owners = np.repeat(self._firsts[words] - before, counts) + np.arange(counts.sum())
        ends = np.repeat(ends, counts)
        codes = np.frombuffer(text, np.uint8)
        for ahead in (_NEXT, _AFTER):  # few are left for the second look
            at = ends[:, None] + ahead
            code = codes[np.minimum(at, len(text) - 1)].astype(np.int64)
            code[at >= len(text)] = 256
            kept = self._kinds[self._behind[owners[:, None], ahead], code].all(axis=1)
            owners, ends = owners[kept], ends[kept]
        kept_owners: list[int] = owners.tolist()
        for owner, end in zip(kept_owners, ends.tolist(), strict=True):
            index, exact = self._every[owner]
            word = self._word[owner]
            if text.endswith(exact, 0, end) if exact else sure or text[end - len(word) : end].lower() == word:
                yield index, end
