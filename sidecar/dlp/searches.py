"""Where rules may match a text and what gives an encoding away: everything that does not depend on secrets, compiled.

Four searches, of the whole text and of parts of it: an expression without a literal in it costs as much as all of
those with one, so it is applied only where it can match. Of a large text the searches that seldom find anything run on
another thread, beside the work that needs the interpreter's lock. Decides nothing about what is found.
"""

from collections.abc import Callable
from functools import cache, partial

from sidecar.dlp.assignments import generic_rules
from sidecar.dlp.beside import Beside
from sidecar.dlp.bits import ascii_islands
from sidecar.dlp.derive import Decoder, decoders
from sidecar.dlp.financial import financial_rules
from sidecar.dlp.matcher import Backend, Hits, Searcher, Spec, Where, backend
from sidecar.dlp.matcher import Engine as Engines
from sidecar.dlp.rules import Rule, credential_rules
from sidecar.dlp.runs import Runs, Stretches, find_runs

PARALLEL = 128 * 1024
"""Texts of this size are worth a second thread: handing over costs 50 µs."""

_TOGETHER = 32 * 1024
"""A shorter text is searched for all lanes in one pass: each pass costs 5 µs by itself."""

_SELDOM = frozenset({"words", "lines", "numbers", "over"})
"""Lanes without hits in ordinary text: a hit waits for the interpreter's lock, so these go on without it."""

_BLOB_RUNS = 64
"""Runs of one alphabet in blobs that are listed; where there are more, all of the text is decoded."""

Placed = list[tuple[int, Spec]]
Signs = dict[int, list[int] | None]


def _nothing() -> None:
    return


class Shapes:
    """The rules and decoders with their searches."""

    def __init__(self, name: Backend | None) -> None:
        self.backend = backend(name)
        self.rules: tuple[Rule, ...] = (*credential_rules(), *generic_rules(), *financial_rules())
        self.decoders: tuple[Decoder, ...] = decoders()
        specs = [(place, rule.spec) for place, rule in enumerate(self.rules)]
        base = len(self.rules)
        signs = [(base + place, spec) for place, each in enumerate(self.decoders) for spec in each.specs]
        self._rules = _Searches(specs, self.backend)
        self._all = _Searches([*specs, *signs], self.backend, apart=True)
        self._apart = [
            _Searches([(place, spec) for spec in each.specs], self.backend) for place, each in enumerate(self.decoders)
        ]
        self._base64 = next(place for place, each in enumerate(self.decoders) if each.name == "base64")
        self._blobs = [
            (place, _Blobs([spec for spec in each.specs if spec.where == "blob"], self.backend))
            for place, each in enumerate(self.decoders)
            if any(spec.where == "blob" for spec in each.specs)
        ]

    def search_again(self, text: bytes) -> Hits:
        """The cheap pass over what was found clean before: all rules with a literal in them, over the whole text."""
        return self._rules.scan_text(text, 2048 + len(text) // 256)

    def search(self, text: bytes, meanwhile: Callable[[], None] = _nothing) -> tuple[Hits, Signs]:
        """Hits of rules, and for each decoder with work the places, or None where there are so many that all is.

        `meanwhile` is called once, at a time when other threads have work.
        """
        limit = 3000 + len(text) // 512
        whole = Beside(partial(self._all.scan_text, text, limit), here=len(text) < PARALLEL)
        runs = find_runs(text)
        seldom = Beside(partial(self._all.scan_seldom, runs, limit), here=len(text) < PARALLEL)
        meanwhile()
        parts = [self._all.scan_parts(runs, limit), seldom.result(), whole.result()]
        if any(hits.overflow for hits in parts):
            hits, signs = self._search_apart(text, runs)
        else:
            hits, signs = self._sorted([pair for hits in parts for pair in hits.pairs])
        if not hits.overflow:
            self._in_blobs(runs, signs)
        return hits, signs

    def _sorted(self, found: list[tuple[int, int]]) -> tuple[Hits, Signs]:
        base = len(self.rules)
        pairs: list[tuple[int, int]] = []
        places: dict[int, list[int]] = {}
        for place, end in found:
            if place < base:
                pairs.append((place, end))
            else:
                places.setdefault(place - base, []).append(end)
        return Hits(pairs, False), {**places}

    def _in_blobs(self, runs: Runs, signs: Signs) -> None:
        if not runs.long.text:
            return
        for place, search in self._blobs:
            found = search.find(runs.long)
            before = signs.get(place, [])
            if found is None or before is None:
                signs[place] = None
            elif found:
                signs[place] = [*before, *found]
        if islands := ascii_islands(runs.long.text):
            signs[self._base64] = [*(signs.get(self._base64) or ()), *map(runs.long.origin, islands)]

    def _search_apart(self, text: bytes, runs: Runs) -> tuple[Hits, Signs]:
        """As `search` where there was too much for one: each decoder by itself, so that only the flooded get it all."""
        hits = self._rules.scan(text, runs, 2048 + len(text) // 256)
        signs: Signs = {}
        if hits.overflow:
            return hits, signs  # refused already
        for place, searches in enumerate(self._apart):
            found = searches.scan(text, runs, 1000 + len(text) // 2048)
            if found.pairs:
                signs[place] = None if found.overflow else [end for _, end in found.pairs]
        return hits, signs


class _Searches:
    """One set of expressions, each searched for where it says; blobs are `_Blobs`' own."""

    def __init__(self, specs: Placed, engine: Engines, *, apart: bool = False) -> None:
        def of(where: Where) -> Placed:
            return [each for each in specs if each[1].where == where]

        prose = of("prose")
        self._text = _Search(of("text"), engine)
        self._prose = _Lanes([each for each in prose if each[1].lane not in _SELDOM], engine, apart)
        self._seldom = _Lanes([each for each in prose if each[1].lane in _SELDOM], engine, apart)
        self._short = _Lanes(of("run"), engine, apart)

    def scan_text(self, text: bytes, limit: int) -> Hits:
        return self._text.scan(text, limit)

    def scan_seldom(self, runs: Runs, limit: int) -> Hits:
        return _back(self._seldom.scan(runs.prose.text, limit), runs.prose)

    def scan_parts(self, runs: Runs, limit: int) -> Hits:
        prose = _back(self._prose.scan(runs.prose.text, limit), runs.prose)
        short = _back(self._short.scan(runs.short.text, limit), runs.short)
        return Hits(prose.pairs + short.pairs, prose.overflow or short.overflow)

    def scan(self, text: bytes, runs: Runs, limit: int) -> Hits:
        each = self.scan_text(text, limit), self.scan_seldom(runs, limit), self.scan_parts(runs, limit)
        return Hits([pair for hits in each for pair in hits.pairs], any(hits.overflow for hits in each))


def _back(hits: Hits, part: Stretches) -> Hits:
    """The hits in stretches of a text as places of that text."""
    if not hits.pairs:
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
        places = self._places
        return Hits([(places[index], end) for index, end in hits.pairs], hits.overflow)


class _Lanes:
    """Expressions in one search for short texts; for long ones in groups, which are cheaper than all together."""

    def __init__(self, specs: Placed, engine: Engines, apart: bool) -> None:
        names = sorted({spec.lane for _, spec in specs})
        self._one = _Search(specs, engine)
        lanes = [[each for each in specs if each[1].lane == name] for name in names]
        self._each = [_Search(lane, engine) for lane in lanes] if apart and len(lanes) > 1 else [self._one]

    def scan(self, text: bytes, limit: int) -> Hits:
        if len(text) < _TOGETHER:
            return self._one.scan(text, limit)
        pairs: list[tuple[int, int]] = []
        for search in self._each:
            hits = search.scan(text, limit)
            pairs += hits.pairs
            if hits.overflow or len(pairs) > limit:
                return Hits(pairs, True)
        return Hits(pairs, False)


class _Blobs:
    """Long runs of one alphabet inside blobs: expressions of the form `[…]{n}`, one place a run.

    A run is long, so it is a hit at each of its characters: only the first counts, and the rest is passed over.
    """

    def __init__(self, specs: list[Spec], engine: Engines) -> None:
        self._search = engine.expressions(specs)
        others = [spec.source[: spec.source.index("]") + 1].replace("[", "[^") for spec in specs]
        self._end = [engine.expressions([Spec(source)]) for source in others]

    def find(self, part: Stretches) -> list[int] | None:
        """An end inside each such run; None where there are many."""
        text, at = part.text, 0
        ends: list[int] = []
        while pairs := self._search.scan(text[at:] if at else text, 1).pairs:
            if len(ends) == _BLOB_RUNS:
                return None
            index, end = pairs[0]
            ends.append(part.origin(at + end))
            after = self._end[index].scan(text[at + end :], 1).pairs
            if not after:
                break
            at += end + after[0][1]
        return ends


def shapes(name: Backend | None = None) -> Shapes:
    """Compiled once a process (seconds, unless prepared): call it before the first request, in the zygote."""
    return _shapes(backend(name).name)


@cache
def _shapes(name: Backend) -> Shapes:
    return Shapes(name)
