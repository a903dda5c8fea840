"""Searches by numpy, RE2 and Aho-Corasick, for machines without hyperscan. Slower, found by the same rules.

Expressions with literals are found by those literals: in a long text by `literal_sieve`, else in one automaton over the
lower-cased text. Of the others the rare bytes that they must hold are looked for in a long text (`gates`), else an RE2
expression of them all says in which part of it one occurs, then RE2 searches for each.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, cast

import ahocorasick_rs
import re2  # pyright: ignore[reportMissingTypeStubs]

from sidecar.dlp import gates, literal_sieve
from sidecar.dlp.following import one_byte
from sidecar.dlp.literal_owners import Owners
from sidecar.dlp.literal_sieve import LiteralSieve
from sidecar.dlp.lookup import lookup
from sidecar.dlp.matcher import Backend, Hits, Searcher, Spec
from sidecar.dlp.runs import stretches
from sidecar.dlp.shape import max_width
from sidecar.dlp.sieve import Sieve

_re2: Any = cast(Any, re2)  # the binding has no types
_PART = 1 << 14
_SLICE = 1 << 15
"""Text searched at a time for literals: the automaton answers with a list, which must stay small."""

_WORDS = 16
"""Literals that are looked at for each hit that may be reported: most stand in no match."""

_GATED = ("text", "prose", "run")
"""What expressions are searched for in that `gates` is for: the other places hold little but what would pass."""

_SEVERAL = 4
"""So many of them are worth its tables."""

_TEXTS = 32
"""So many times the text is searched at most to tell which do."""


class Expression:
    """An RE2 expression over bytes, `.` matching every byte; compiled when it is first asked.

    Some hundreds of them only confirm what another search has found: most never run, and together they are 10 MB.
    """

    __slots__ = ("_caseless", "_compiled", "_source")

    def __init__(self, source: str, *, caseless: bool = False) -> None:
        self._source, self._caseless = source.encode("ascii"), caseless
        self._compiled: Any = None

    def search(self, text: bytes, *bounds: int) -> Any:
        return (self._compiled or self._compile()).search(text, *bounds)

    def finditer(self, text: bytes, *bounds: int) -> Any:
        return (self._compiled or self._compile()).finditer(text, *bounds)

    def match(self, text: bytes, *bounds: int) -> Any:
        return (self._compiled or self._compile()).match(text, *bounds)

    def fullmatch(self, text: bytes, *bounds: int) -> Any:
        return (self._compiled or self._compile()).fullmatch(text, *bounds)

    def _compile(self) -> Any:
        options = _re2.Options()
        options.encoding = _re2.Options.Encoding.LATIN1
        options.dot_nl = True
        options.case_sensitive = not self._caseless
        options.log_errors = False
        options.max_mem = 32 << 20
        self._compiled = _re2.compile(self._source, options=options)
        return self._compiled


class _Words:
    """Literal search over slices that overlap by the longest word, so that the hit list is bounded. `dense`: a table
    twice as fast, for words that are few; it grows with them beyond what the processor's caches hold."""

    def __init__(self, words: Sequence[bytes], *, dense: bool = False) -> None:
        self._words = list(words)
        self._overlap = max((len(word) for word in self._words), default=1) - 1
        kind = ahocorasick_rs.Implementation.DFA if dense else ahocorasick_rs.Implementation.ContiguousNFA
        self._search = ahocorasick_rs.BytesAhoCorasick(self._words, implementation=kind) if self._words else None

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        for part in self.slices(text):
            pairs += part
            if len(pairs) >= limit:
                return Hits(pairs[:limit], True)
        return Hits(pairs, False)

    def slices(self, text: bytes) -> Iterator[list[tuple[int, int]]]:
        """The hits of one slice after the other."""
        if self._search is None:
            return
        for at in range(0, len(text), _SLICE):
            start = max(0, at - self._overlap)
            found = self._search.find_matches_as_indexes(text[start : at + _SLICE], overlapping=True)
            # less those already seen at the end of the slice before
            yield [(index, start + end) for index, _, end in found if start + end > at]


class _Literals:
    """`_Words`, with words of which one hit is enough reported once."""

    def __init__(self, words: Sequence[bytes], once: Sequence[bool]) -> None:
        self._words = _Words(words)
        self._sieve = Sieve(words)
        self._reach = max((len(word) for word in words), default=1)
        self._once = frozenset(index for index, single in enumerate(once) if single)

    def scan(self, text: bytes, limit: int) -> Hits:
        near = self._sieve.near(text, self._reach)
        where = [(0, len(text))] if near is None else near
        seen: set[int] = set()
        pairs: list[tuple[int, int]] = []
        for low, high in where:
            for part in self._words.slices(text if near is None else text[low:high]):
                for index, end in part:
                    if index in self._once:
                        if index in seen:
                            continue
                        seen.add(index)
                    pairs.append((index, low + end))
                if len(pairs) > limit:
                    return Hits(pairs[:limit], True)
        return Hits(pairs, False)


_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))


class _Lane:
    """Expressions without a literal: first whether one of them matches, in parts of a text, then each."""

    def __init__(self, specs: Sequence[tuple[int, Spec]]) -> None:
        self._regex = {index: Expression(spec.source, caseless=spec.caseless) for index, spec in specs}
        together = len(specs) > 1 and not any(spec.caseless for _, spec in specs)
        self._any = Expression("|".join(spec.source for _, spec in specs)) if together else None
        self._overlap = max(max_width(spec.source) for _, spec in specs) if together else 0

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        for start, end in self._parts(text):
            for index, regex in self._regex.items():
                for match in regex.finditer(text, start, end):
                    pairs.append((index, match.end()))
                    if len(pairs) >= limit:
                        return Hits(pairs, True)
        return Hits(pairs, False)

    def _parts(self, text: bytes) -> Iterator[tuple[int, int]]:
        """The parts of a text in which one of the expressions matches: each by itself costs as much as all at once. A
        match near the end of a part lies whole in it or in the next."""
        if self._any is None:
            yield 0, len(text)
            return
        for start in range(0, len(text), _PART):
            end = min(len(text), start + _PART + self._overlap)
            if self._any.search(text, start, end):
                yield start, end


class _Byte:
    """An expression of one byte: translating is three times as fast as searching."""

    def __init__(self, index: int, kind: int) -> None:
        self._index = index
        self._table = bytes(kind >> code & 1 for code in range(256))

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        found = lookup(text, self._table)
        at = found.find(1)
        while at >= 0:
            pairs.append((self._index, at + 1))
            if len(pairs) >= limit:
                return Hits(pairs, True)
            at = found.find(1, at + 1)
        return Hits(pairs, False)


class _Gated:
    """Expressions without a literal whose matches show in a long text by a few rare bytes (`gates`)."""

    def __init__(self, specs: Sequence[tuple[int, Spec]]) -> None:
        self._sources = [spec.source for _, spec in specs]
        self._gate = self._compiled() if any(spec.where == "prose" for _, spec in specs) else None
        self._each = [(_Lane([each]), each[0], max_width(each[1].source)) for each in specs]

    def _compiled(self) -> gates.Gate:
        """Of prose beforehand; the others are quick, and some never asked."""
        return gates.Gate(self._sources)

    def scan(self, text: bytes, limit: int) -> Hits | None:
        """None where there are too many signs."""
        gate = self._gate = self._gate or self._compiled()
        found = gate.find(text, limit)
        if found is None:
            return None
        pairs: list[tuple[int, int]] = []
        overflow = False
        for place, spans in found.items():
            lane, index, width = self._each[place]
            if all(size for _, size in spans):
                pairs += [(index, end) for end in _apart(spans)]
                continue
            hits = _near(lane, text, [start for start, _ in spans], width, limit)
            pairs, overflow = pairs + hits.pairs, overflow or hits.overflow
        return Hits(pairs[:limit], overflow or len(pairs) > limit)


def _near(lane: _Lane, text: bytes, starts: list[int], width: int, limit: int) -> Hits:
    """The hits of matches that hold one of these places."""
    around = list(_around(starts, width, len(text)))
    if sum(high - low for low, high in around) > len(text) // 2:
        return lane.scan(text, limit)
    near = stretches(text, around)
    hits = lane.scan(near.text, limit)
    return Hits([(index, min(len(text), near.origin(end))) for index, end in hits.pairs], hits.overflow)


def _apart(spans: list[tuple[int, int]]) -> Iterator[int]:
    """The ends of those that one search after the other finds: what overlaps one of them is not found again."""
    last = 0
    for start, size in spans:
        if start >= last:
            last = start + size
            yield last


class _Rest:
    """Expressions without a literal, in lanes."""

    def __init__(self, specs: Sequence[tuple[int, Spec]]) -> None:
        self._all = _lanes(specs)
        seldom = [each for each in specs if each[1].where in _GATED and gates.gated(each[1].source)]
        self._gated = _Gated(seldom) if len(seldom) >= _SEVERAL else None
        self._plain = _lanes([each for each in specs if each not in seldom])

    def scan(self, text: bytes, limit: int) -> Hits:
        lanes, pairs, overflow = self._all, list[tuple[int, int]](), False
        if self._gated is not None and len(text) >= gates.LEAST:
            found = self._gated.scan(text, limit)
            if found is not None:
                lanes, (pairs, overflow) = self._plain, found
        for lane in lanes:
            if overflow:
                break
            hits = lane.scan(text, limit)
            pairs, overflow = pairs + hits.pairs, hits.overflow or len(pairs) > limit
        return Hits(pairs, overflow)


def _lanes(specs: Sequence[tuple[int, Spec]]) -> Sequence[_Lane | _Byte]:
    if len(specs) == 1 and (kind := one_byte(specs[0][1])) is not None:
        return [_Byte(specs[0][0], kind)]
    names = sorted({spec.lane for _, spec in specs})
    return [_Lane([each for each in specs if each[1].lane == name]) for name in names]


class _Expressions:
    def __init__(self, specs: Sequence[Spec]) -> None:
        words = sorted({word.lower() for spec in specs for word in spec.literals})
        self._owners = Owners(specs, words) if words else None
        self._words = _Words(words, dense=True)
        forms = self._owners.forms() if self._owners is not None else []
        self._sieve = LiteralSieve(forms) if literal_sieve.usable(forms) else None
        self._specs = list(specs)
        self._rest = _Rest([(index, spec) for index, spec in enumerate(specs) if not spec.literals])
        self._confirm: dict[int, tuple[Expression, int]] = {}

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        overflow = False
        if self._owners is not None:
            pairs, overflow = self._literals(text, self._owners, limit)
        if len(pairs) > limit and not overflow:
            pairs, overflow = self._confirmed(text, pairs, limit)
        rest = self._rest.scan(text, limit)
        pairs += rest.pairs
        return Hits(pairs[:limit], overflow or rest.overflow or len(pairs) > limit)

    def _literals(self, text: bytes, owners: Owners, limit: int) -> tuple[list[tuple[int, int]], bool]:
        if self._sieve is not None and len(text) >= literal_sieve.LEAST:
            found = self._sieve.scan(text)
            if found is not None and len(found[0]) <= _WORDS * limit:
                return list(owners.followed(text, *found, sure=False)), False
        hits = self._words.scan(lookup(text, _LOWER), _WORDS * limit)
        return owners.of(text, hits.pairs), hits.overflow

    def _confirmed(self, text: bytes, pairs: list[tuple[int, int]], limit: int) -> tuple[list[tuple[int, int]], bool]:
        """Of too many literals those near a match of their expression, and whether these are too many or would take
        too long. A match that is none of those that one search after the other finds overlaps one that is."""
        by_index: dict[int, list[int]] = {}
        for index, end in pairs:
            by_index.setdefault(index, []).append(end)
        kept: list[tuple[int, int]] = []
        work = _TEXTS * len(text) + _PART
        for index, unsorted in by_index.items():
            ends, done = sorted(unsorted), 0
            expression, reach = self._confirm.get(index) or self._confirmation(index)
            for low, high in _around(ends, reach, len(text)):
                work -= high - low
                if work < 0:
                    return kept, True
                for match in expression.finditer(text, low, high):
                    first = max(done, bisect_left(ends, match.start() - reach))
                    done = max(done, bisect_right(ends, match.end() + reach))
                    kept += [(index, end) for end in ends[first:done]]
                    if len(kept) > limit:
                        return kept, True
        return kept, False

    def _confirmation(self, index: int) -> tuple[Expression, int]:
        spec = self._specs[index]
        found = Expression(spec.source, caseless=spec.caseless), max_width(spec.source)
        self._confirm[index] = found
        return found


def _around(ends: list[int], reach: int, size: int) -> Iterator[tuple[int, int]]:
    """The stretches of a text in which what lies within `reach` of an end is, merged."""
    start, stop = -1, -1
    for end in ends:
        low, high = max(0, end - reach), min(size, end + reach)
        if start >= 0 and low <= stop:
            stop = high
            continue
        if start >= 0:
            yield start, stop
        start, stop = low, high
    if start >= 0:
        yield start, stop


@cache
def _expressions(specs: tuple[Spec, ...]) -> _Expressions:
    """Compiled once: the same ones are asked for with others and by themselves."""
    return _Expressions(specs)


class Portable:
    """The backend that runs anywhere."""

    name: Backend = "portable"

    def expressions(self, specs: Sequence[Spec]) -> Searcher:
        return _expressions(tuple(specs))

    def literals(self, words: Sequence[bytes], once: Sequence[bool]) -> Searcher:
        return _Literals(words, once)
