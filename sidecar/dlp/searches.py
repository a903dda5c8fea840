"""Where rules may match a text and what gives an encoding away: everything that does not depend on secrets, compiled.

Expressions with a literal in them go over the whole text, the others over the places of it where they can match at all
(`places`). Decides nothing about what is found.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Protocol

from sidecar.dlp.assignments import generic_rules
from sidecar.dlp.bits import ascii_islands
from sidecar.dlp.derive import decoders
from sidecar.dlp.escapes import wide_ends
from sidecar.dlp.financial import financial_rules
from sidecar.dlp.lookup import kind, rows
from sidecar.dlp.matcher import Backend, Hits, Place, Searcher, Spec, Where, backend
from sidecar.dlp.matcher import Engine as Engines
from sidecar.dlp.places import CROWDED, PLACES, ROWS, TOGETHER
from sidecar.dlp.rules import Rule, credential_rules
from sidecar.dlp.runs import Split, Stretches, long_rows
from sidecar.dlp.steps import Decoder, Signs

PARALLEL = 128 * 1024
"""Texts of this size are worth handing over: that costs 100 µs."""

_SHORT: dict[Backend, int] = {"hyperscan": 28 * 1024, "portable": 20 * 1024}
"""Of a shorter text the long runs are searched, and for all else the whole: telling the places takes 80 µs at least."""

_DISTINCT = 4
"""Letters of the literals that are searched for in what was clean before, vendors' prefixes among them. With six it
would be twice as fast, and without `ghp_`."""

_BLOB_RUNS = 64
"""Runs of one alphabet in blobs that are listed; where there are more, all of the text is decoded."""

Placed = list[tuple[int, Spec]]


class Shapes:
    """The rules and decoders with their searches."""

    def __init__(self, name: Backend | None) -> None:
        self.backend = backend(name)
        self.rules: tuple[Rule, ...] = (*credential_rules(), *generic_rules(), *financial_rules())
        self.detectors = frozenset(rule.detector for rule in self.rules)
        """Those that rules are of."""
        self.decoders: tuple[Decoder, ...] = decoders()
        specs = [(place, rule.spec) for place, rule in enumerate(self.rules)]
        base = len(self.rules)
        signs = [(base + place, spec) for place, each in enumerate(self.decoders) for spec in each.specs]
        self._again = _Search([each for each in specs if _distinct(each[1])], self.backend)
        self._whole = _Search([each for each in specs if each[1].where == "text"], self.backend)
        self._rules = _Searches(specs, self.backend)
        self._all = _Searches([*specs, *signs], self.backend)
        self._signs = _Searches(signs, self.backend)
        self._apart = [
            _Searches([(place, spec) for spec in each.specs], self.backend) for place, each in enumerate(self.decoders)
        ]
        names = [each.name for each in self.decoders]
        self._base64, self._wide = names.index("base64"), names.index("wide")
        self._blobs = [
            (place, _Blobs([spec for spec in each.specs if spec.where == "blob"]))
            for place, each in enumerate(self.decoders)
            if any(spec.where == "blob" for spec in each.specs)
        ]

    def search_again(self, text: bytes) -> Hits:
        """The cheap pass over what was found clean before: all rules with a long literal, over the whole text."""
        return self._again.scan(text, _most(text))

    def search_whole(self, text: bytes) -> Hits:
        """The rules that are looked for in the whole text."""
        return self._whole.scan(text, _most(text))

    def search_beside(self, split: Split, *, rules: bool) -> tuple[Hits, Signs]:
        """In prose: hits of rules, where they are wanted, and of what gives an encoding away, by their numbers behind
        the rules'. In blobs: for each decoder with work the places, or None where there are many."""
        searches = self._all if rules else self._signs
        return searches.scan_prose(split, _few(split)), self._in_blobs(split.blobs)

    def search(
        self, split: Split, beside: Callable[[], tuple[Hits, Signs]], *, rules: bool = True
    ) -> tuple[Hits, Signs]:
        """Hits of the rules, where they are wanted, but for those that are looked for in the whole text; and for each
        decoder with work the places, or None where there are so many that all is. `beside` gives what `search_beside`
        would."""
        searches = self._all if rules else self._signs
        found = searches.scan_places(split, _few(split))
        prose, in_blobs = beside()
        if found.overflow or prose.overflow:
            hits, signs = self._search_apart(split, _most(split.source), rules=rules)
        else:
            hits, signs = self._sorted([*found.pairs, *prose.pairs], False)
        if not hits.overflow:
            wide = wide_ends(split.prose.text, _few(split))
            if wide != []:
                signs[self._wide] = None if wide is None else [*map(split.prose.origin, wide)]
            for place, ends in in_blobs.items():
                before = signs.get(place, [])
                signs[place] = None if ends is None or before is None else [*before, *ends]
        return hits, signs

    def _sorted(self, found: list[tuple[int, int]], overflow: bool) -> tuple[Hits, Signs]:
        base = len(self.rules)
        pairs: list[tuple[int, int]] = []
        places: dict[int, list[int]] = {}
        for place, end in found:
            if place < base:
                pairs.append((place, end))
            else:
                places.setdefault(place - base, []).append(end)
        return Hits(pairs, overflow), {**places}

    def _in_blobs(self, blobs: Stretches) -> Signs:
        """The places inside of blobs that give an encoding away."""
        signs: Signs = {}
        if not blobs.text:
            return signs
        for place, search in self._blobs:
            if (found := search.find(blobs)) != []:
                signs[place] = found
        before = signs.get(self._base64, [])
        if before is not None and (islands := ascii_islands(blobs.text)):
            signs[self._base64] = [*before, *map(blobs.origin, islands)]
        return signs

    def _search_apart(self, split: Split, limit: int, *, rules: bool) -> tuple[Hits, Signs]:
        """As `search`, where there was too much for one: each decoder by itself, so that only the flooded get it
        all."""
        parts = [self._rules.scan(split, limit)] if rules else []
        pairs = [pair for hits in parts for pair in hits.pairs]
        signs: Signs = {}
        if any(hits.overflow for hits in parts):
            return Hits(pairs, True), signs  # refused already
        size = len(split.prose.text)
        for place, searches in enumerate(self._apart):
            found = searches.scan(split, 128 + size // 1024)
            if found.pairs:
                signs[place] = None if found.overflow else [end for _, end in found.pairs]
        return Hits(pairs, False), signs


def _few(split: Split) -> int:
    """Hits in parts of a text, of which there are too many with more."""
    return 512 + len(split.source) // 256


def _most(text: bytes) -> int:
    """Hits in a text, of which there are too many with more."""
    return 2048 + len(text) // 256


def _distinct(spec: Spec) -> bool:
    return bool(spec.literals) and min(map(len, spec.literals)) >= _DISTINCT


class _Searches:
    """One set of expressions, each searched for where it says, but for those that all of a text is searched for, and
    blobs, which are `_Blobs`' own."""

    def __init__(self, specs: Placed, engine: Engines) -> None:
        def of(*where: Where) -> Placed:
            return [each for each in specs if each[1].where in where]

        self._prose = _Search(of("prose"), engine)
        self._places: dict[Place, _Lanes] = {place: _Lanes(of(place), engine) for place in PLACES if of(place)}
        self._numbers = {place: [number for number, _ in of(place)] for place in CROWDED}
        self._rows = _Search(of(*ROWS), engine)
        self._others = _Search([each for each in of(*PLACES) if each[1].where not in ROWS], engine)
        self._short = _SHORT[engine.name]

    def scan_prose(self, split: Split, limit: int) -> Hits:
        return _back(self._prose.scan(split.prose.text, limit), split.prose)

    def scan_places(self, split: Split, limit: int, *, flooded: bool = False) -> Hits:
        """`flooded`: there were too many hits. Of those places that ordinary text may be full of, all is then told."""
        text = split.prose.text
        if not self._places:
            return Hits([], False)
        if len(text) < self._short and not flooded:
            long = long_rows(text)
            hits, inside = self._others.scan(text, limit), _back(self._rows.scan(long.text, limit), long)
            return _back(Hits(hits.pairs + inside.pairs, hits.overflow or inside.overflow), split.prose)
        words = split.words
        pairs: list[tuple[int, int]] = []
        crowd: list[tuple[int, int]] = []
        for place, search in self._places.items():
            mask = PLACES[place](words)
            if not mask.any():
                continue
            kept = words.cut(mask, apart=place not in TOGETHER)
            hits = search.scan(kept.text, limit)
            if hits.overflow and flooded and place in CROWDED:
                crowd += [(index, kept.origin(end)) for index in self._numbers[place] for end in kept.anywhere()]
                continue
            hits = _back(hits, kept)
            pairs += hits.pairs
            if hits.overflow or len(pairs) > limit:
                return Hits(pairs, True)
        return _back(Hits(pairs + crowd, False), split.prose)

    def scan(self, split: Split, limit: int) -> Hits:
        each = self.scan_prose(split, limit), self.scan_places(split, limit, flooded=True)
        return Hits([pair for hits in each for pair in hits.pairs], any(hits.overflow for hits in each))


class _Part(Protocol):
    """Something that was cut out of a text, or all of it."""

    @property
    def whole(self) -> bool: ...

    def origin(self, end: int) -> int: ...


def _back(hits: Hits, part: _Part) -> Hits:
    """The hits in parts of a text as places of that text."""
    if not hits.pairs or part.whole:
        return hits
    return Hits([(place, part.origin(end)) for place, end in hits.pairs], hits.overflow)


class _Search:
    """A search whose hits carry the numbers that its expressions were given with."""

    def __init__(self, specs: Placed, engine: Engines) -> None:
        self._places = [place for place, _ in specs]
        self._search: Searcher = engine.expressions([spec for _, spec in specs])

    def scan(self, text: bytes, limit: int) -> Hits:
        if not text or not self._places:
            return Hits([], False)
        hits = self._search.scan(text, limit)
        if not hits.pairs:
            return hits
        places = self._places
        return Hits([(places[index], end) for index, end in hits.pairs], hits.overflow)


class _Lanes:
    """Expressions in groups, each group searched for by itself: cheaper than all together."""

    def __init__(self, specs: Placed, engine: Engines) -> None:
        if engine.name == "portable":  # which has lanes of its own, behind what it looks for in all of them at once
            self._each = [_Search(specs, engine)] if specs else []
            return
        names = sorted({spec.lane for _, spec in specs})
        self._each = [_Search([each for each in specs if each[1].lane == name], engine) for name in names]

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        for search in self._each:
            hits = search.scan(text, limit)
            pairs += hits.pairs
            if hits.overflow or len(pairs) > limit:
                return Hits(pairs, True)
        return Hits(pairs, False)


class _Blobs:
    """Long runs of one alphabet inside blobs: expressions of the form `[…]{n}`, one place a run."""

    def __init__(self, specs: list[Spec]) -> None:
        self._kinds = [_kind(spec.source) for spec in specs]

    def find(self, part: Stretches) -> list[int] | None:
        """An end inside each such run; None where there are many."""
        ends: list[int] = []
        for table, least in self._kinds:
            for start, _ in rows(part.text, table, least):
                if len(ends) == _BLOB_RUNS:
                    return None
                ends.append(part.origin(start + least))
        return ends


def _kind(source: str) -> tuple[bytes, int]:
    """For `[…]{n}`: the table of its kind, and n."""
    members, count = source.removesuffix("}").split("{")
    inside = re.compile(members.encode())
    return kind(lambda code: inside.match(bytes([code]))), int(count)


def shapes(name: Backend | None = None) -> Shapes:
    """Compiled once a process (seconds, unless prepared): call it before the first request, in the zygote."""
    return _shapes(backend(name).name)


@cache
def _shapes(name: Backend) -> Shapes:
    return Shapes(name)
