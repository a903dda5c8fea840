"""Where the signs of expressions stand in a long text: for the portable search. Two bytes at every place are looked up
at once, for all expressions together, on whole arrays and without the interpreter's lock; where they pass, those behind
them are. A sign that is a whole match is a hit; around the others the expression itself is searched for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sidecar.dlp.following import EVERY, codes_of
from sidecar.dlp.lookup import true_at
from sidecar.dlp.signs import LENGTH, Sign, cost, signs_of

LEAST = 4 * 1024
"""Bytes of a text that is worth it."""

_RARE = 0.003
"""Places in a byte of text at which an expression may be searched for by its signs."""

_PART = 1 << 17
_MANY = 16
"""A place in so many bytes: with more of them the expressions themselves are cheaper."""

_END = 256
Array = np.ndarray[Any, Any]
Spans = list[tuple[int, int]]
Set = int
"""Some of the signs, as bits of a number."""


def gated(source: str) -> bool:
    """Whether an expression has signs that are rare enough."""
    signs = signs_of(source)
    return bool(signs) and cost(signs) < _RARE


class _Step:
    """Which signs are left after another byte: a row for each set of signs, a column for each byte and for the end."""

    def __init__(self, sets: Sequence[Set], kinds: Sequence[int]) -> None:
        allowed = [sum(1 << sign for sign, kind in enumerate(kinds) if kind >> code & 1) for code in range(_END + 1)]
        numbers: dict[Set, int] = {0: 0}
        columns: dict[Set, int] = {}
        self._column = np.array([columns.setdefault(each, len(columns)) for each in allowed], np.int32)
        rows = [[numbers.setdefault(held & each, len(numbers)) for each in columns] for held in sets]
        self.sets = list(numbers)
        self._table = np.array(rows, np.int32).ravel()
        self._width = len(columns)

    def go(self, held: Array, codes: Array) -> Array:
        """What is left of these sets after these bytes."""
        return self._table.take(held * self._width + self._column.take(codes, mode="wrap"), mode="wrap")


class Gate:
    """Compiled from expressions that are `gated`."""

    def __init__(self, sources: Sequence[str]) -> None:
        signs = [(place, sign) for place, source in enumerate(sources) for sign in signs_of(source)]
        pairs = _pairs([sign for _, sign in signs])
        numbers: dict[Set, int] = {0: 0}
        self._pairs = np.zeros(1 << 16, np.uint16)
        for pair, held in pairs.items():
            self._pairs[pair] = numbers.setdefault(held, len(numbers))
        self._steps: list[_Step] = []
        self._sets = list(numbers)
        for ahead in range(2, LENGTH):
            self._steps.append(_Step(self._sets, [sign.classes[ahead] for _, sign in signs]))
            self._sets = self._steps[-1].sets
        self._signs = [(place, sign.size) for place, sign in signs]
        self._known: dict[int, tuple[tuple[int, int], ...]] = {}

    def find(self, text: bytes, limit: int) -> dict[int, Spans] | None:
        """For each expression where its signs begin and how long the match there is, or 0 where the sign is not all of
        it; in order. None where there are more than `limit`, or too many to look at."""
        codes = np.frombuffer(text, np.uint8)
        most = len(text) // _MANY
        places: list[Array] = []
        held: list[Array] = []
        for at in range(0, len(text), _PART):
            part = codes[at : at + _PART + 1]
            for odd in (0, 1):
                size = (len(part) - odd) // 2 * 2
                found = self._pairs.take(part[odd : odd + size].view("<u2"), mode="wrap")
                here = true_at(found != 0)
                most -= len(here)
                if most < 0:
                    return None
                places.append(here * 2 + (at + odd))
                held.append(found[here])
        return self._sorted(codes, np.concatenate(places), np.concatenate(held), limit)

    def _sorted(self, codes: Array, places: Array, held: Array, limit: int) -> dict[int, Spans] | None:
        held = held.astype(np.int64)
        late = places >= len(codes) - LENGTH
        if late.any():
            at_end = self._left(codes, places[late], held[late], at_end=True)
            early = self._left(codes, places[~late], held[~late], at_end=False)
            places, held = np.concatenate([early[0], at_end[0]]), np.concatenate([early[1], at_end[1]])
        else:
            places, held = self._left(codes, places, held, at_end=False)
        if len(places) > limit:
            return None
        found: dict[int, set[tuple[int, int]]] = {}
        for place, held_at in zip(places.tolist(), held.tolist(), strict=True):
            for expression, size in self._held(held_at):
                found.setdefault(expression, set()).add((place, size))
        return {expression: sorted(each) for expression, each in found.items()}

    def _held(self, number: int) -> tuple[tuple[int, int], ...]:
        """(expression, size) of the signs of a set."""
        found = self._known.get(number)
        if found is None:
            signs = {self._signs[sign] for sign in _members(self._sets[number])}
            found = self._known[number] = tuple(sorted(signs))
        return found

    def _left(self, codes: Array, places: Array, held: Array, *, at_end: bool) -> tuple[Array, Array]:
        """Where signs are left after all of their bytes, and which."""
        for ahead, step in enumerate(self._steps, 2):
            at = places + ahead
            code = (
                np.where(at < len(codes), codes[np.minimum(at, len(codes) - 1)].astype(np.int64), _END)
                if at_end
                else codes[at]
            )
            held = step.go(held, code)
            left = held != 0
            places, held = places[left], held[left]
        return places, held


def _members(held: Set) -> list[int]:
    return [sign for sign in range(held.bit_length()) if held >> sign & 1]


def _pairs(signs: Sequence[Sign]) -> dict[int, Set]:
    found: dict[int, Set] = {}
    for number, sign in enumerate(signs):
        for first in codes_of(sign.classes[0] & EVERY):
            for second in codes_of(sign.classes[1] & EVERY):
                pair = first | second << 8
                found[pair] = found.get(pair, 0) | 1 << number
    return found
