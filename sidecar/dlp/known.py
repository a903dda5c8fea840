"""Known secrets and the canary: all their needles in one search, and what its hits mean. Pure; compiled off the event
loop, then shared by threads. Reveals secrets to build needles; keeps needles in memory only and shows none.
"""

import hashlib
import itertools
import os
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sidecar.dlp.finding import Detector, Finding, Match, snippet
from sidecar.dlp.grams import Grams
from sidecar.dlp.information import dull_prefix
from sidecar.dlp.matcher import Engine as Backend
from sidecar.dlp.matcher import Hits, Searcher
from sidecar.dlp.needles import (
    LEAST,
    WINDOW,
    Encoded,
    Known,
    Owner,
    encodings,
    piece_size,
    pieces,
    project,
    windows,
)
from sidecar.dlp.structured import told
from sidecar.dlp.view import View

PIECES = 3
"""Distinct pieces of one secret that are no accident (egress.md)."""

_NEIGHBOURS = 8
"""Places of one secret that may overlap: each was apart from the others until it was found to be longer."""

_PLACES = 64
"""Places of one needle that are looked at where a value counts once."""

_LIMIT = 16_384
"""Hits of needles in one text, fewer in a short one. Each is evidence, so the verdict does not need more; masking then
refuses (`limits`)."""

_ALNUM = np.array([code < 128 and chr(code).isalnum() for code in range(256)])


_KEY = os.urandom(16)


class Pieces(NamedTuple):
    """Which pieces of which secret a text holds: (mark of the secret, offset). Kept with a clean verdict for the next
    scan, and where requests left: a mark is the same in all engines that know the secret."""

    seen: frozenset[tuple[int, int]] = frozenset()


NO_PIECES = Pieces()


@dataclass
class _Found:
    """Hits of one text, by secret and encoding."""

    spans: dict[tuple[int, int], list[tuple[int, int]]] = field(
        default_factory=dict[tuple[int, int], list[tuple[int, int]]]
    )
    pieces: dict[int, dict[int, int]] = field(default_factory=dict[int, dict[int, int]])


_number = itertools.count(1)


class Needles:
    """What is looked for, without what it means: `words`, and of which of them one hit is enough."""

    def __init__(self, words: Sequence[bytes], once: Sequence[bool], backend: Backend) -> None:
        self.number = next(_number)
        """Not that of any other in this process."""
        self.words = words
        self.once = once
        self._search: Searcher = backend.literals(words, once)

    def __repr__(self) -> str:
        return f"Needles({len(self.words)})"

    def search(self, text: bytes) -> Hits:
        """Where they stand in the projection of a text."""
        projection = project(text)
        return self._search.scan(projection, min(_LIMIT, 2048 + len(projection) // 16))


class KnownSecrets:
    """Compiled needles of a set of secrets."""

    def __init__(self, known: Sequence[Known], backend: Backend) -> None:
        self._known = tuple(part for each in known for part in told(each))
        self._raw = [each.value.reveal().encode("utf-8", "surrogatepass") for each in self._known]
        self._encodings: list[tuple[Encoded, ...]] = []
        self._sizes = [piece_size(project(raw)) for raw in self._raw]
        self._marks = [_mark(each.name, raw) for each, raw in zip(self._known, self._raw, strict=True)]
        self._numbers = {mark: number for number, mark in enumerate(self._marks)}
        self._literal: list[tuple[bytes, int, str]] = []
        owners: dict[bytes, list[Owner]] = {}
        for index, raw in enumerate(self._raw):
            self._add(index, raw, owners)
        # a piece is enough once; a window is wanted wherever it stands
        self._owners = [tuple(each) for each in owners.values()]
        once = [all(owner.piece for owner in each) for each in self._owners]
        self.needles = Needles(list(owners), once, backend)

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self._known)})"

    @property
    def unprotected(self) -> tuple[str, ...]:
        """Names of secrets that are too short to look for."""
        return tuple(each.name for each in self._known if len(each.value) < LEAST)

    @cached_property
    def grams(self) -> Grams:
        """What tells that a text ends inside a secret: for texts that come in pieces."""
        parts = [encoded.projection for forms in self._encodings for encoded in forms if encoded.name != "raw"]
        parts += [project(raw)[dull_prefix(raw) :] for raw in self._raw if len(raw) >= WINDOW]
        return Grams(parts, [raw for raw in self._raw if LEAST <= len(raw) < WINDOW])

    def _add(self, index: int, raw: bytes, owners: dict[bytes, list[Owner]]) -> None:
        if len(raw) < WINDOW:
            self._encodings.append(())
            if len(raw) >= LEAST:
                self._literal.append((raw, index, "raw"))
            return
        prefix = dull_prefix(raw)
        forms = encodings(raw)
        self._encodings.append(forms)
        for place, encoded in enumerate(forms):
            literals = list(windows(encoded, prefix))
            if not literals:
                self._literal += [(text, index, encoded.name) for text in encoded.texts if len(text) >= 8]
            for offset, literal in literals:
                owners.setdefault(literal, []).append(Owner(index, place, offset))
        for offset, literal in pieces(raw):
            owners.setdefault(literal, []).append(Owner(index, 0, offset, piece=True))

    def find(self, view: View, hits: Hits, before: Pieces) -> tuple[list[Finding], Pieces, bool]:
        """Findings in one text from the `hits` of its search, the pieces seen (with those `before`), and whether there
        were too many hits."""
        findings = list(self._short(view))
        if not hits.pairs:
            return findings, before, False
        found = self._sort(hits.pairs, _LIMIT if view.precise else _PLACES)
        positions = _positions(view.text)
        findings += self._spans(view, found, positions)
        reported = {finding.kind for finding in findings}
        marks = self._marks
        here = Pieces(frozenset((marks[secret], offset) for secret, held in found.pieces.items() for offset in held))
        for secret in self.together(here, before):
            if self._known[secret].name not in reported:
                size = self._sizes[secret]
                ends = found.pieces[secret].values()
                places = [(int(positions[end - size]), int(positions[end - 1]) + 1) for end in ends]
                start, end = min(places)[0], max(place[1] for place in places)
                findings.append(self._finding(view, secret, "fragments", "fragments", start, end, exact=False))
        return findings, Pieces(before.seen | here.seen), hits.overflow

    def together(self, here: Pieces, before: Pieces) -> list[int]:
        """Numbers of the secrets of which there is a piece `here`, and enough with those `before`."""
        touched = sorted(self._numbers[mark] for mark, _ in here.seen)
        offsets: dict[int, set[int]] = {secret: set() for secret in touched}
        for mark, offset in here.seen | before.seen:
            secret = self._numbers.get(mark)
            if secret in offsets:
                offsets[secret].add(offset)
        return [secret for secret, held in offsets.items() if self._distinct(secret, sorted(held)) >= PIECES]

    def scattered(self, here: Pieces, before: Pieces) -> Iterator[Finding]:
        """Findings in what stands in no single text: nothing of them can be shown or approved."""
        for secret in self.together(here, before):
            found = self._finding(View("raw", b""), secret, "fragments", "raw", 0, 0, exact=False)
            yield replace(found, title=f"Pieces of {found.title[0].lower()}{found.title[1:]}", snippet="")

    def _short(self, view: View) -> Iterator[Finding]:
        for literal, secret, name in self._literal:
            at = view.text.find(literal)
            if at >= 0:
                yield self._finding(view, secret, "exact", name, at, at + len(literal), exact=True)

    def _sort(self, pairs: Sequence[tuple[int, int]], most: int) -> _Found:
        """The hits by secret and encoding, `most` of each word."""
        found = _Found()
        last: dict[tuple[int, int], int] = {}
        times: dict[int, int] = {}
        for word, end in pairs:
            times[word] = already = times.get(word, 0) + 1
            if already > most:
                continue
            size = len(self.needles.words[word])
            for owner in self._owners[word]:
                if owner.piece:
                    found.pieces.setdefault(owner.secret, {})[owner.offset] = end
                    continue
                key = owner.secret, owner.encoding
                spans = found.spans.setdefault(key, [])
                again = owner.offset <= last.get(key, -1)  # it begins anew
                last[key] = owner.offset
                if spans and end - size <= spans[-1][1] and not again:
                    spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
                else:
                    spans.append((end - size, end))
        return found

    def _spans(
        self, view: View, found: _Found, positions: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    ) -> Iterator[Finding]:
        taken: dict[int, list[tuple[int, int]]] = {}
        for (secret, place), spans in sorted(found.spans.items()):
            encoded = self._encodings[secret][place]
            for low, high in spans:
                start, end = int(positions[low]), int(positions[high - 1]) + 1
                before = taken.setdefault(secret, [])
                place_in = bisect_left(before, (end, 0))
                if any(start < stop for _, stop in before[max(0, place_in - _NEIGHBOURS) : place_in]):
                    continue
                exact = _unbroken(view.text, encoded, start, end)
                start, end = exact or (start, end)
                insort(before, (start, end))
                whole = high - low >= len(encoded.projection)
                code = "exact" if exact else "separated" if whole else "partial"
                yield self._finding(view, secret, code, encoded.name, start, end, exact=bool(exact))

    def _distinct(self, secret: int, offsets: Sequence[int]) -> int:
        """How many of the pieces do not overlap one another in the secret."""
        count, free = 0, -1
        for offset in offsets:
            if offset >= free:
                count, free = count + 1, offset + self._sizes[secret]
        return count

    def _finding(
        self, view: View, secret: int, code: str, encoding: str, start: int, end: int, *, exact: bool
    ) -> Finding:
        known = self._known[secret]
        detector: Detector = "canary" if known.canary else "known_secrets"
        form = "" if encoding == "raw" else f" ({encoding})"
        label, first, last = view.locate(start, end)
        value = view.text[start:end]
        return Finding(
            detector=detector,
            code=f"{'canary' if known.canary else 'known_secret'}_{code}",
            severity="block",
            kind=known.name,
            title=f"The {'canary' if known.canary else 'secret'} {known.name}{form}",
            location="",
            view=label,
            start=first,
            end=last,
            snippet=snippet(value),
            exact=exact,
            value=Match(value) if exact else None,
        )


def _mark(name: str, raw: bytes) -> int:
    """Tells a secret from others, in this process only, and says nothing of it."""
    named = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(b"%d %b%b" % (len(named), named, raw), key=_KEY, digest_size=8).digest())


def _positions(text: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Offset in the text of each letter and digit of its projection."""
    return np.flatnonzero(_ALNUM[np.frombuffer(text, np.uint8)])


def _unbroken(text: bytes, encoded: Encoded, start: int, end: int) -> tuple[int, int] | None:
    """Where the whole encoded secret stands without anything injected, around text[start:end]."""
    for whole in encoded.texts:
        at = text.find(whole, max(0, end - len(whole) - 8), start + len(whole) + 8)
        if at >= 0:
            return at, at + len(whole)
    return None
