"""The scan: bytes in, findings out. Compiled once for a set of secrets, then used by any number of threads at a time.

The bytes are searched as they are, then whatever they hide, up to four layers deep; JSON is no special case: its
escapes are one of the layers, so duplicate keys, broken documents and numbers need no care. Every step is linear and
every list is bounded; where a bound is hit, or a text cannot be examined, the answer is a finding of code `limits`: the
caller refuses. Nothing here logs, waits or keeps what it scanned, except a `Session` that the caller holds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

from sidecar.dlp import aside, crlf, entropy
from sidecar.dlp.aside import Searched, Wanted
from sidecar.dlp.beside import Beside
from sidecar.dlp.derived import Allowance, Derived, TooMuch
from sidecar.dlp.finding import Finding, Location, Match, Severity, snippet
from sidecar.dlp.grams import Grams
from sidecar.dlp.known import NO_PIECES, KnownSecrets, Pieces
from sidecar.dlp.matcher import Backend, Hits
from sidecar.dlp.needles import Known
from sidecar.dlp.rules import Rule, windows
from sidecar.dlp.runs import Split
from sidecar.dlp.searches import PARALLEL, Shapes, shapes
from sidecar.dlp.session import NOTHING_KNOWN, Resume, Seen, Session
from sidecar.dlp.steps import Decoder, Ends, Signs, stepped
from sidecar.dlp.view import View, derived

DEFAULT = frozenset({"token_patterns", "known_secrets", "financial", "host_labels"})
"""Detectors that are on when a route names none; entropy is opt-in."""

DEPTH = 4
"""Layers taken off: how the value is put into the body, two nested encodings, and gzip inside the second."""

MAX_FINDINGS = 200
_EVERY = 1000
_CONFIRMED = 256
_AGAIN = 64
"""Times that values of one rule may stand again in a text that is refused for them, before the rest is left unread."""
_LEAST_MASKED = 4
"""Bytes of an allowed value that is left out: a shorter one stands in everything."""
_LONGEST = 64 * 1024
"""Bytes of what a value may be a piece of; a longer stretch is a blob that was decoded."""
_LINE_PARTS = frozenset({"host", "path", "query", "header", "cookie", "trailer"})


@dataclass(frozen=True)
class EngineConfig:
    """What an engine is compiled from. The canary is a `Known` with `canary=True` among the secrets."""

    secrets: tuple[Known, ...] = ()
    backend: Backend | None = None


@dataclass(frozen=True)
class Scan:
    """The findings of one text, the worst first. Blocked when any of them blocks.

    `pieces` of known secrets were seen in `examined` bytes of it and of what is hidden in it: too few for a finding.
    """

    findings: tuple[Finding, ...] = ()
    pieces: Pieces = NO_PIECES
    examined: int = 0

    @property
    def blocked(self) -> bool:
        return any(finding.severity == "block" for finding in self.findings)

    @property
    def clean(self) -> bool:
        return not self.findings


@dataclass
class _Work:
    """The state of one scan."""

    where: Location
    detectors: frozenset[str]
    examples: Severity
    allowance: Allowance
    pieces: Pieces
    found: dict[tuple[str, str, bytes], Finding] = field(default_factory=dict[tuple[str, str, bytes], Finding])
    limit: str = ""
    seen: set[bytes] = field(default_factory=set[bytes])
    known: Resume = NOTHING_KNOWN
    signs: Signs = field(default_factory=dict[int, list[int] | None])
    """Of the text as it is, or of its end."""
    most: int = MAX_FINDINGS
    every: bool = False
    examined: int = 0
    streams: bool = False
    """Something in it is, or is called, compressed: the end of that cannot be read without its beginning."""

    @property
    def full(self) -> bool:
        """True once no finding more is kept; the verdict is `limits` then."""
        if len(self.found) >= self.most:
            self.limit = self.limit or "too many findings"
        return len(self.found) >= self.most

    def holds(self, kind: str, code: str, value: bytes) -> bool:
        """True for a value that counts once and was counted."""
        return not self.every and (kind, code, value) in self.found

    def add(self, finding: Finding, key: bytes) -> None:
        if self.every:
            key = b"%s %d" % (finding.view.encode(), finding.start)
        named = finding.kind, finding.code, key
        # an alarm is not to be drowned by what else is found
        kept = not self.full or (finding.detector == "canary" and len(self.found) < 2 * self.most)
        if kept and named not in self.found:
            self.found[named] = replace(finding, location=str(self.where))


class Engine:
    """Compiled detectors of one bottle. `scan` may be called from many threads at once."""

    def __init__(self, known: KnownSecrets, compiled: Shapes) -> None:
        self._known = known
        self._shapes = compiled

    @classmethod
    def compile(cls, config: EngineConfig) -> "Engine":
        """Build the searches: call it on a thread, a hundred secrets take seconds. The old engine serves meanwhile."""
        compiled = shapes(config.backend)
        return cls(KnownSecrets(config.secrets, compiled.backend), compiled)

    @property
    def grams(self) -> Grams:
        """What tells that a text ends inside a secret. Built at first use: ask for it on the thread that compiles."""
        return self._known.grams

    @property
    def unprotected(self) -> tuple[str, ...]:
        """Names of secrets that are too short to be looked for."""
        return self._known.unprotected

    def scan(
        self,
        data: bytes,
        *,
        where: Location,
        detectors: frozenset[str] = DEFAULT,
        examples: Severity = "block",
        allowed: Sequence[Match] = (),
        session: Session | None = None,
        every: bool = False,
    ) -> Scan:
        """What `data` holds. `allowed` values are blanked first; one that is a piece of a larger value lets that pass
        no more than before. `examples` is the severity of documented examples.

        `session` remembers clean bodies of one route, so that an unchanged beginning is not examined again in full.
        The canary and known secrets are looked for only where `known_secrets` is in `detectors`. `every`: each place
        is a finding of its own, also where the same value stands again, and says exactly where: for taking all out.
        """
        text = masked(data, allowed)
        work = _Work(where, detectors, examples, Allowance.of(len(text)), NO_PIECES, every=every)
        if every:
            work.most = _EVERY
        try:
            self._examine_all(text, work, session)
        except TooMuch as error:
            work.limit = str(error)
        findings = list(work.found.values())
        if text != data:
            whole = self.scan(data, where=where, detectors=detectors, examples=examples, every=every)
            findings += larger(whole.findings, data, allowed)
        if work.limit:
            findings.append(_limits(where, work.limit))
        scan = Scan(tuple(sorted(findings, key=_order)), work.pieces, work.examined)
        if session is not None and scan.clean and not work.streams:
            seen = Seen(work.pieces, work.signs, work.known.start)
            session.remember(self, where, detectors, text, seen, work.known.replaced)
        return scan

    def _examine_all(self, text: bytes, work: _Work, session: Session | None) -> None:
        if work.where.part in _LINE_PARTS:
            for finding in crlf.find(text):
                work.add(finding, finding.code.encode())
        if "entropy" in work.detectors:
            for finding in entropy.find(text):
                work.add(finding, finding.snippet.encode() + str(finding.start).encode())
        search_again = partial(self._shapes.search_again, text)
        again = Beside(search_again, here=True)
        if session is not None:
            if len(text) >= PARALLEL and session.begins(self, work.where, work.detectors, text):
                again = Beside(search_again)  # from now on: the bodies are compared meanwhile
            work.known = session.resume(self, work.where, work.detectors, text)
        known, work.pieces = work.known, work.known.pieces
        whole = View("raw", text[known.start :], base=known.start, precise=work.every)
        self._examine(View("raw", text[known.near :], base=known.near, precise=work.every), work, DEPTH, whole)
        if known.alike:
            self._rules(View("raw", text), again.result(), work)

    def scattered(self, here: Pieces, before: Pieces) -> tuple[Finding, ...]:
        """Findings of secrets of which there is a piece `here`, in one request, and enough with those `before` it."""
        return tuple(self._known.scattered(here, before))

    def _examine(self, view: View, work: _Work, depth: int, whole: View | None = None) -> None:
        """`whole` is the text with what is known before it: something hidden may begin there."""
        work.examined += len(view.text)
        wanted = Wanted(
            not work.detectors.isdisjoint(self._shapes.detectors),
            self._known.needles if "known_secrets" in work.detectors else None,
        )
        large = len(view.text) >= PARALLEL  # what another process may look for meanwhile is decided last
        helped = aside.elsewhere(self._shapes, view.text, wanted) if large else None
        split = Split.of(view.text)
        with closing(helped or aside.here(self._shapes, split, wanted)) as searched:
            hits, signs = self._shapes.search(split, partial(next, searched), rules=wanted.rules)
            self._rules(view, hits, work)
            if not large:
                self._late(view, searched, work)
            if whole is not None:
                signs = work.signs = work.known.joined(signs)
            try:
                if depth and signs and not work.limit:  # else it is refused in any case
                    self._deeper(whole or view, signs, work, depth)
            finally:
                if large:
                    self._late(view, searched, work)

    def _late(self, view: View, searched: Searched, work: _Work) -> None:
        self._rules(view, next(searched).hits, work)
        hits = next(searched).hits
        if "known_secrets" in work.detectors:
            found, work.pieces, overflow = self._known.find(view, hits, work.pieces)
            for finding in found:
                work.add(finding, finding.value.reveal() if finding.value else b"")
            if overflow:
                work.limit = "too many matches of known secrets"

    def _deeper(self, view: View, signs: Signs, work: _Work, depth: int) -> None:
        """Examine what is hidden in a text. What was turned round is not turned again: the ways would multiply."""
        chosen = [(self._shapes.decoders[place], signs[place]) for place in sorted(signs)]
        work.streams |= any(decoder.streams for decoder, _ in chosen)
        known = work.known.alike - view.base if view.parent is None else 0
        if depth < DEPTH - 1:
            chosen = [each for each in chosen if not each[0].outer]
        parts: list[Derived] = []
        for part in _expanded(view, chosen, work.allowance, known):
            # what ends where the known text does may have gone on there; what several ways lead to is examined once
            if part.end >= known and part.data not in work.seen:
                work.seen.add(part.data)
                parts.append(part)
        if parts:
            self._examine(derived(view, parts), work, depth - 1)

    def _rules(self, view: View, hits: Hits, work: _Work) -> None:
        pairs = hits.pairs
        if hits.overflow:
            work.limit = "too many strings that look like credentials"
            pairs = pairs[:_CONFIRMED]  # refused in any case: a few are confirmed to say what it is about
        places: dict[int, list[int]] = {}
        for index, end in pairs:
            places.setdefault(index, []).append(end)
        for index, ends in places.items():
            rule = self._shapes.rules[index]
            if rule.detector not in work.detectors:
                continue
            if self._decide(rule, view, ends, work):
                return  # refused in any case

    def _decide(self, rule: Rule, view: View, ends: list[int], work: _Work) -> bool:
        """Keep what one rule finds around the places where it may match. True where there is more than is kept."""
        judged: dict[bytes, bool] = {}
        again = 0
        for low, high in windows(sorted(ends), rule.width, len(view.text)):
            for start, end, example in rule.find(view.text, low, high, judged):
                value = view.text[start:end]
                if work.holds(rule.kind, rule.code, value):
                    again += not example
                    if again > _AGAIN and rule.severity == "block":
                        return False  # refused in any case
                    continue
                if work.full:
                    return True
                work.add(_finding(rule, view, start, end, value, example, work.examples), value)
        return False


def _expanded(view: View, work: Sequence[tuple[Decoder, Ends]], allowance: Allowance, known: int) -> Iterator[Derived]:
    """What decoders make of a text, each stretch of a derived one by itself. Of what is before `known` not all."""
    work = [(decoder, None if ends is None else sorted(ends)) for decoder, ends in work]
    for start, stop, turned in view.stretches():
        text = view.text[start:stop]
        inside: list[tuple[Decoder, Ends]] = []
        for decoder, ends in work:
            if turned and decoder.outer:
                continue
            if ends is not None:
                ends = [end - start for end in ends[bisect_right(ends, start) : bisect_right(ends, stop + 1)]]
            if ends != []:
                inside.append((decoder, ends))
        for part in stepped(text, [each for each in inside if each[0].step], allowance, known):
            yield part._replace(start=part.start + start, end=part.end + start, turned=turned)
        for decoder, ends in inside:
            if decoder.expand is not None:
                for part in decoder.expand(text, ends, allowance):
                    changed = turned or decoder.outer
                    yield part._replace(start=part.start + start, end=part.end + start, turned=changed)


def _finding(rule: Rule, view: View, start: int, end: int, value: bytes, example: bool, examples: Severity) -> Finding:
    label, first, last = view.locate(start, end)
    return Finding(
        detector=rule.detector,
        code=rule.code,
        severity=examples if example else rule.severity,
        kind=rule.kind,
        title=rule.title,
        location="",
        view=label,
        start=first,
        end=last,
        snippet=snippet(value, prefix=rule.prefix),
        example=example,
        exact=view.parent is None,
        value=Match(value),
    )


def _limits(where: Location, reason: str) -> Finding:
    return Finding(
        "limits", "limits", "block", "limits", f"Not examined to the end: {reason}", str(where), "raw", 0, 0, ""
    )


def _order(finding: Finding) -> tuple[bool, bool, int]:
    return finding.severity != "block", finding.detector != "canary", finding.start


def larger(findings: Iterable[Finding], data: bytes, allowed: Iterable[Match]) -> list[Finding]:
    """Those `findings` of the text as it is whose value goes on, in the same run of characters, where an allowed one
    in it ends: a yes to a piece of a secret is none to the secret."""
    values = {each.reveal() for each in allowed}
    longest = max(map(len, values), default=0)
    found: list[Finding] = []
    for finding in findings:
        told = finding.value.reveal() not in values if finding.value is not None else ">" not in finding.view
        if finding.severity != "block" or not told or finding.end - finding.start > _LONGEST:
            continue
        low, high = max(0, finding.start - longest), finding.end + longest
        near = [place for value in values for place in _places(data, value, low, high)]
        inside = any(start <= finding.start and finding.end <= end for start, end in near)
        if not inside and any(_goes_on(finding, data, start, end) for start, end in near):
            found.append(finding)
    return found


def _places(data: bytes, value: bytes, low: int, high: int) -> Iterator[tuple[int, int]]:
    at = data.find(value, low, high) if len(value) >= _LEAST_MASKED else -1
    while at >= 0:
        yield at, at + len(value)
        at = data.find(value, at + len(value), high)


def _goes_on(finding: Finding, data: bytes, start: int, end: int) -> bool:
    if start < finding.start or finding.end < end:
        return False
    before = data[start - 1 : start] if finding.start < start else b""
    after = data[end : end + 1] if end < finding.end else b""
    return any(char.isalnum() or char in (b"_", b"-") for char in (before, after) if char)


def masked(data: bytes, allowed: Iterable[Match]) -> bytes:
    """`data` with each allowed value replaced by as many blanks, so that no detector sees it."""
    for each in sorted(allowed, key=len, reverse=True):
        value = each.reveal()
        if len(value) >= _LEAST_MASKED:
            data = data.replace(value, b" " * len(value))
    return data
