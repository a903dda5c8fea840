"""Searches by RE2 and Aho-Corasick, for machines without hyperscan. Slower, found by the same rules.

Expressions with literals are found by those literals, in one automaton over the lower-cased text; the few others by an
RE2 set that says which of them occur, then one RE2 search each.
"""

from collections.abc import Sequence
from typing import Any, cast

import ahocorasick_rs
import re2  # pyright: ignore[reportMissingTypeStubs]

from sidecar.dlp.matcher import Backend, Hits, Searcher, Spec

_re2: Any = cast(Any, re2)  # the binding has no types
_SLICE = 1 << 18
"""Text searched at a time for literals: the automaton answers with a list, which must stay small."""


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
    """Literal search over slices that overlap by the longest word, so that the hit list is bounded."""

    def __init__(self, words: Sequence[bytes]) -> None:
        self._words = list(words)
        self._overlap = max((len(word) for word in self._words), default=1) - 1
        self._search = ahocorasick_rs.BytesAhoCorasick(self._words) if self._words else None

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        if self._search is None:
            return Hits(pairs, False)
        for at in range(0, len(text), _SLICE):
            start = max(0, at - self._overlap)
            piece = text[start : at + _SLICE]
            for index, _, end in self._search.find_matches_as_indexes(piece, overlapping=True):
                if start + end > at:  # not already seen at the end of the slice before
                    pairs.append((index, start + end))
            if len(pairs) >= limit:
                return Hits(pairs[:limit], True)
        return Hits(pairs, False)


class _Literals:
    """`_Words`, with words of which one hit is enough reported once."""

    def __init__(self, words: Sequence[bytes], once: Sequence[bool]) -> None:
        self._words = _Words(words)
        self._once = frozenset(index for index, single in enumerate(once) if single)

    def scan(self, text: bytes, limit: int) -> Hits:
        hits = self._words.scan(text, max(limit, len(text)))
        seen: set[int] = set()
        pairs: list[tuple[int, int]] = []
        for index, end in hits.pairs:
            if index in self._once:
                if index in seen:
                    continue
                seen.add(index)
            pairs.append((index, end))
        return Hits(pairs[:limit], hits.overflow or len(pairs) > limit)


_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))


class _Expressions:
    def __init__(self, specs: Sequence[Spec]) -> None:
        words = sorted({word for spec in specs for word in spec.literals})
        place = {word: at for at, word in enumerate(words)}
        self._owners: list[list[int]] = [[] for _ in words]
        for index, spec in enumerate(specs):
            for word in spec.literals:
                self._owners[place[word]].append(index)
        self._words = _Words(words)
        self._rest = [index for index, spec in enumerate(specs) if not spec.literals]
        self._regex = {index: Expression(specs[index].source, caseless=specs[index].caseless) for index in self._rest}

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        hits = self._words.scan(text.translate(_LOWER), 4 * limit)
        for word, end in hits.pairs:
            pairs.extend((index, end) for index in self._owners[word])
        overflow = hits.overflow
        for regex_index, regex in self._regex.items():
            for match in regex.finditer(text):
                pairs.append((regex_index, match.end()))
                if len(pairs) >= limit:
                    return Hits(pairs, True)
        return Hits(pairs[:limit], overflow or len(pairs) > limit)


class Portable:
    """The backend that runs anywhere."""

    name: Backend = "portable"

    def expressions(self, specs: Sequence[Spec]) -> Searcher:
        return _Expressions(specs)

    def literals(self, words: Sequence[bytes], once: Sequence[bool]) -> Searcher:
        return _Literals(words, once)
