"""The literals of expressions in a long text, for the portable search: whole arrays instead of an automaton, without
the interpreter's lock. Finds what the automaton finds, less what no expression can go on from.

The three bytes at every even place are looked up: of each literal four in a row were chosen, as rare as can be, and the
first or the last three of them stand at such a place. (Of a literal of three bytes it is those and what may follow.)
Where they pass, the byte before or behind must be right as well, then the first eight and the last eight of the
literal. A text that is too dense for that is left to the automaton.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from sidecar.dlp.following import EVERY, codes_of
from sidecar.dlp.lookup import true_at

LEAST = 32 * 1024
"""Bytes of a text that is worth it."""

_PART = 1 << 20
_MANY = 32
"""A place in so many bytes: with more of them the automaton is cheaper."""

_BITS = 12, 18
_SPARE = 5
"""Bits of the table beyond what its entries need: one of so many places passes by chance."""

_MIX = np.uint32(0x9E3779B1)
_8, _16, _24 = np.uint32(8), np.uint32(16), np.uint32(24)
_SMALL = np.uint64(0x2020202020202020)
_EDGE = 64
"""Bytes of a text on both sides of a part, more than a literal is long."""

_PAD = 16
_CROWD = 8
_WORD_BITS = 40
_NONE = np.zeros(0, np.int64)
_COMMON = b' etaoinsrlcdupmhg_-./,=:"\\()0123456789fbywvkxjzq'
"""Bytes as they are frequent in code and prose, the first the most."""

Array = np.ndarray[Any, Any]


class Form(NamedTuple):
    """How a literal may stand in a text: exactly so, or in any case. `after`: the class of the byte behind it."""

    word: int
    text: bytes
    caseless: bool
    after: int


class _Entry(NamedTuple):
    """Three bytes of a form, `offset` behind its beginning, and the classes of the byte before and behind."""

    gram: bytes
    form: int
    offset: int
    before: int
    behind: int


def usable(forms: Sequence[Form]) -> bool:
    """Whether all are long enough, and none too long."""
    return bool(forms) and all(3 <= len(form.text) < _EDGE for form in forms)


def _weight(code: int) -> int:
    place = _COMMON.find(code)
    return 60 - place if place >= 0 else 4


def _rarity(gram: bytes, chosen: int) -> int:
    weight = _weight(gram[0]) * _weight(gram[1]) * _weight(gram[2])
    return weight * chosen // _CROWD if chosen else weight


def _chosen(forms: Sequence[Form]) -> list[int]:
    """Where in each form the four bytes begin; those of three have no choice, and are taken first. What others have
    chosen costs little, unless they are many."""
    taken: Counter[bytes] = Counter()
    found = [0] * len(forms)
    for place in sorted(range(len(forms)), key=lambda place: len(forms[place].text)):
        word = forms[place].text
        choices = range(max(1, len(word) - 3))
        found[place] = min(choices, key=lambda at: sum(_rarity(gram, taken[gram]) for gram in _two(word, at)))
        taken.update(_two(word, found[place]))
    return found


def _two(word: bytes, at: int) -> tuple[bytes, ...]:
    return (word[at : at + 3], word[at + 1 : at + 4]) if len(word) > 3 else (word,)


def _cases(text: bytes, *, caseless: bool) -> Iterator[bytes]:
    if not caseless:
        yield text
        return
    for codes in product(*({code, ord(chr(code).upper())} for code in text)):
        yield bytes(codes)


def _class(code: int, *, caseless: bool) -> int:
    return 1 << code | (1 << ord(chr(code).upper()) if caseless else 0)


def _entries(forms: Sequence[Form]) -> Iterator[_Entry]:
    for number, (form, at) in enumerate(zip(forms, _chosen(forms), strict=True)):
        word, caseless = form.text, form.caseless
        behind = _class(word[at + 3], caseless=caseless) if len(word) > 3 else form.after
        for gram in _cases(word[at : at + 3], caseless=caseless):
            yield _Entry(gram, number, at, EVERY, behind)
        before = _class(word[at], caseless=caseless)
        for pair in _cases(word[at + 1 : at + 3], caseless=caseless):
            for code in codes_of(behind & EVERY):
                yield _Entry(pair + bytes([code]), number, at + 1, before, EVERY)


def _numbers(parts: Sequence[bytes]) -> Array:
    return np.frombuffer(b"".join([part.ljust(8, b"\0") for part in parts]), "<u8")


class LiteralSieve:
    """Compiled from forms that are `usable`."""

    def __init__(self, forms: Sequence[Form]) -> None:
        entries = list(_entries(forms))
        self._words = np.array([form.word for form in forms])
        self._sizes = np.array([len(form.text) for form in forms])
        self._folds = np.array([_SMALL if form.caseless else 0 for form in forms], np.uint64)
        self._ends = [self._folded(forms, [form.text[:8] for form in forms])]
        self._ends.append(self._folded(forms, [form.text[-8:] for form in forms]))
        self._masks = _numbers([b"\xff" * min(8, len(form.text)) for form in forms])
        self._forms = np.array([entry.form for entry in entries], np.int32)
        self._offsets = np.array([entry.offset for entry in entries], np.int8)
        self._group(entries)

    @staticmethod
    def _folded(forms: Sequence[Form], parts: Sequence[bytes]) -> Array:
        numbers = _numbers(parts)
        folds = [b"\x20" * len(part) if form.caseless else b"" for form, part in zip(forms, parts, strict=True)]
        return numbers | _numbers(folds)

    def _group(self, entries: Sequence[_Entry]) -> None:
        """Entries by the slot of their three bytes: group n (from 1) is members[starts[n] : starts[n + 1]]."""
        bits = min(_BITS[1], max(_BITS[0], len(entries).bit_length() + _SPARE))
        self._shift = np.uint32(32 - bits)
        slots = self._slots(np.array([int.from_bytes(entry.gram, "little") << 8 for entry in entries], np.uint32))
        self._members = np.argsort(slots, kind="stable").astype(np.int32)
        held, starts = np.unique(slots[self._members], return_index=True)
        self._groups = np.zeros(1 << bits, np.uint16)
        self._groups[held] = np.arange(1, len(held) + 1)
        self._starts = np.r_[0, starts, len(entries)]
        sides: list[list[int]] = [[0], [0]]
        order: list[int] = self._members.tolist()
        bounds: list[int] = self._starts[1:].tolist()
        for first, end in pairwise(bounds):
            members = [entries[place] for place in order[first:end]]
            # an entry has its condition on one side, and everything on the other, where it is left out
            sides[0].append(_union(entry.before for entry in members if entry.before != EVERY))
            sides[1].append(_union(entry.behind for entry in members if entry.before == EVERY))
        self._sides = [_Rows(side) for side in sides]

    def _slots(self, grams: Array) -> Array:
        """Where three bytes, from the second lowest of a number on, stand in the table."""
        return (grams * _MIX) >> self._shift

    def scan(self, text: bytes) -> tuple[Array, Array] | None:
        """(word, end) of the literals in `text`, which may be in wrong case or differ in the middle of a long one; None
        for too many."""
        words, ends = [_NONE], [_NONE]
        for at in range(0, len(text), _PART):
            found = self._part(text, at)
            if found is None:
                return None
            words.append(found[0])
            ends.append(found[1])
        # a literal that counts in any case for one expression, as it is for another, is found twice
        both = np.unique(np.concatenate(words) << _WORD_BITS | np.concatenate(ends))
        return both >> _WORD_BITS, both & ((1 << _WORD_BITS) - 1)

    def _part(self, text: bytes, at: int) -> tuple[Array, Array] | None:
        held = (b"" if at else bytes(_EDGE)) + text[max(0, at - _EDGE) : at + _PART + _EDGE]
        padded = held + bytes(_PAD + -len(held) % 8)
        codes = np.frombuffer(padded, np.uint8)
        last = min(_EDGE + _PART, len(held))
        places, groups = self._passing(np.frombuffer(padded, "<u4"), last)
        passed = self._sides[0].hold(groups, codes[places - 1]) | self._sides[1].hold(groups, codes[places + 3])
        places, groups = places[passed], groups[passed]
        if len(places) > _PART // _MANY:
            return None
        forms, starts = self._expanded(places, groups)
        eight = np.ndarray((len(padded) - 7,), "<u8", padded, 0, (1,))
        inside = (starts >= _EDGE if not at else starts >= 0) & (starts + self._sizes[forms] <= len(held))
        forms, starts = forms[inside], starts[inside]
        for numbers, is_end in zip(self._ends, (False, True), strict=True):
            begins = starts + np.maximum(0, self._sizes[forms] - 8) if is_end else starts
            same = (eight[begins] | self._folds[forms]) & self._masks[forms] == numbers[forms]
            forms, starts = forms[same], starts[same]
        return self._words[forms], starts + self._sizes[forms] + (at - _EDGE)

    def _passing(self, fours: Array, last: int) -> tuple[Array, Array]:
        """The even places from `_EDGE` to before `last` whose three bytes may be some that were chosen."""
        here = fours[_EDGE // 4 : last // 4 + 2]
        places: list[Array] = []
        groups: list[Array] = []
        for skip, grams in ((0, here[:-1] << _8), (2, (here[:-1] >> _16) << _8 | here[1:] << _24)):
            found = self._groups.take(self._slots(grams), mode="wrap")
            passing = true_at(found != 0)
            at = passing * 4 + (_EDGE + skip)
            inside = at < last
            places.append(at[inside])
            groups.append(found[passing[inside]])
        return np.concatenate(places), np.concatenate(groups)

    def _expanded(self, places: Array, groups: Array) -> tuple[Array, Array]:
        """(form, start) for each entry of each group, by where its three bytes stand."""
        firsts = self._starts[groups]
        counts = self._starts[groups.astype(np.int64) + 1] - firsts
        before = np.cumsum(counts) - counts
        entries = self._members[np.repeat(firsts - before, counts) + np.arange(counts.sum())]
        return self._forms[entries], np.repeat(places, counts) - self._offsets[entries]


def _union(kinds: Iterator[int]) -> int:
    together = 0
    for kind in kinds:
        together |= kind
    return together & EVERY


class _Rows:
    """A class of bytes for each group, equal ones once."""

    def __init__(self, kinds: Sequence[int]) -> None:
        rows: dict[int, int] = {}
        self._row = np.array([rows.setdefault(kind, len(rows)) for kind in kinds], np.int32) * 256
        self._table = np.array([[bool(kind >> code & 1) for code in range(256)] for kind in rows]).ravel()

    def hold(self, groups: Array, codes: Array) -> Array:
        """Whether each byte is in the class of its group."""
        return self._table.take(self._row.take(groups, mode="wrap") + codes, mode="wrap")
