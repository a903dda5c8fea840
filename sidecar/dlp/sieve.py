"""Where in a text one of many thousand literals may stand: for the portable search, whose automaton for so many of
them outgrows the processor's caches. Pure arithmetic on whole arrays, without the interpreter's lock; a superset.

Of a text the four bytes at every fourth place are looked up, and where they pass the eight from there on: whatever the
alignment, of a literal of eleven bytes one of its first four places is such a one. Of shorter ones it is three bytes,
and then six, from the place or up to three before it. Tables of bits let nearly all of a text fall through, sorted
lists of what the literals begin with decide about the rest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sidecar.dlp.lookup import true_at

_STEP = 4
_LONG = 2 * _STEP + _STEP - 1
_SHORT = 6
_MIX = np.uint32(0x9E3779B1)
_MIXES = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_BITS = 18, 22
_SPARE = 4
"""Bits of a table beyond what its entries need: one of so many places passes by chance."""
_SIX = np.uint64((1 << 8 * _SHORT) - 1)
_LEAST = 4096
"""Bytes of a text that is worth it: a shorter one costs the automaton less."""
_BYTE, _FOUR = np.uint32(8), np.uint64(32)
_BACK = np.arange(_STEP)
_NONE = np.zeros(0, np.int64)
_PART = 1 << 18
"""Places that are looked up at a time: the arrays for fewer would stay in the processor's cache, and each of their many
calls wait for the interpreter, which another thread has."""

_MANY = 256
"""A place in so many bytes: with more of them the automaton is cheaper."""

Array = np.ndarray[Any, Any]


def _grams(words: Sequence[bytes], at: int, size: int) -> Array:
    """The `size` bytes from `at` of each word, as numbers."""
    padded = b"".join([word[at : at + size].ljust(8, b"\0") for word in words])
    return np.frombuffer(padded, "<u8")


def _bits(entries: int) -> int:
    return min(_BITS[1], max(_BITS[0], entries.bit_length() + _SPARE))


class _Table:
    """Numbers of 32 bits as bits of a table."""

    def __init__(self, numbers: Array) -> None:
        numbers = np.unique(numbers)
        bits = _bits(len(numbers))
        self._shift = np.uint32(32 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[(numbers * _MIX) >> self._shift] = True

    def places(self, numbers: Array) -> Array:
        """Which of the numbers pass."""
        return true_at(self._table.take((numbers * _MIX) >> self._shift, mode="wrap"))


class _Exact:
    """Numbers of 64 bits: a table of bits before the sorted list."""

    def __init__(self, numbers: Array) -> None:
        self._sorted = np.unique(numbers)
        bits = _bits(len(self._sorted)) - 2
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        for mix in _MIXES:
            self._table[(self._sorted * mix) >> self._shift] = True

    def among(self, numbers: Array, places: Array) -> Array:
        """The places of those numbers that are among these."""
        for mix in _MIXES:
            passed = self._table.take((numbers * mix) >> self._shift, mode="wrap")
            numbers, places = numbers[passed], places[passed]
        at = np.minimum(np.searchsorted(self._sorted, numbers), len(self._sorted) - 1)
        return places[self._sorted[at] == numbers]


class Sieve:
    """Compiled from literals of six bytes at least; with a shorter one it lets everything pass."""

    def __init__(self, words: Sequence[bytes]) -> None:
        self._usable = bool(words) and min(map(len, words)) >= _SHORT
        if not self._usable:
            return
        long = [word for word in words if len(word) >= _LONG]
        short = [word for word in words if len(word) < _LONG]
        self._long = self._short = None
        if long:
            grams = np.concatenate([_grams(long, at, 8) for at in range(_STEP)])
            self._long = _Table(grams.astype(np.uint32)), _Exact(grams)
        if short:
            grams = np.concatenate([_grams(short, at, 3) for at in range(_STEP)])
            self._short = _Table(grams.astype(np.uint32) << np.uint32(8)), _Exact(_grams(short, 0, _SHORT))

    def near(self, text: bytes, reach: int) -> list[tuple[int, int]] | None:
        """Stretches that hold every literal in `text`, none longer than `reach`; apart from each other. None where
        that is all of it."""
        if not self._usable or len(text) < _LEAST:
            return None
        starts = self._starts(text)
        if len(starts) > len(text) // _MANY + 8:
            return None
        if not len(starts):
            return []
        starts.sort()
        breaks = np.flatnonzero(np.diff(starts) > reach + _STEP)
        lows, highs = starts[np.r_[0, breaks + 1]], starts[np.r_[breaks, len(starts) - 1]] + reach + _STEP
        return [(max(0, low), min(len(text), high)) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)]

    def _starts(self, text: bytes) -> Array:
        """A place before each literal, by three at most."""
        whole = len(text) // _STEP - 2
        fours = np.frombuffer(text, "<u4", whole + 2)  # not a copy
        tail = (whole - 1) * _STEP
        rest = text[tail:]
        last = np.frombuffer(rest + bytes(3 * _STEP + -len(rest) % _STEP), "<u4")
        found = [self._among(fours, at, min(whole, at + _PART)) for at in range(0, whole, _PART)]
        return np.concatenate([*found, self._among(last, 0, len(last) - 2) + tail])

    def _among(self, fours: Array, first: int, end: int) -> Array:
        """As `_starts`, of the places from `first` to before `end`."""
        part, found = fours[first:end], [_NONE]
        if self._long is not None and len(places := self._long[0].places(part)):
            places += first
            places = self._long[1].among(_eight(fours, places), places)
            found.append(places * _STEP - (_STEP - 1))
        if self._short is not None and len(places := self._short[0].places(part << _BYTE)):
            starts = ((places + first)[:, None] * _STEP - _BACK).ravel()
            starts = starts[starts >= 0]
            found.append(self._short[1].among(_eight(fours, starts // _STEP, starts % _STEP) & _SIX, starts))
        return np.concatenate(found)


def _eight(fours: Array, places: Array, skip: Array | None = None) -> Array:
    """The eight bytes from each place on, with `skip` so many later."""
    eight = fours[places] | fours[places + 1].astype(np.uint64) << _FOUR
    if skip is None:
        return eight
    bits = (skip * 8).astype(np.uint64)
    return eight >> bits | fours[places + 2].astype(np.uint64) << _FOUR << (_FOUR - bits)
