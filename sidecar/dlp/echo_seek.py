"""Where known secrets stand in a piece of an answer, and what is written in their place. Pure.

A mask is as long as what it hides and leaves quotes, brackets and escapes alone: lengths stay right and JSON stays
JSON, whether the secret was a string, half of one, or a list of numbers.
"""

import re
from collections.abc import Callable

from sidecar.dlp.engine import Engine
from sidecar.dlp.finding import Finding, Location
from sidecar.dlp.grams import Grams
from sidecar.dlp.tails import tail

MARK = b"[redacted]"
_KNOWN = frozenset({"known_secrets"})
_WHERE = Location("response")
_ROUNDS = 5
_MAPPED = frozenset({"raw", "folded", "url", "escapes", "entities", "wide", "case-swapped", "rot13"})
"""Views whose every character is known to come from one place; of the others a whole run is."""


_DIGITS = re.compile(rb"[0-9eE+., \t\r\n-]+")
_DIGIT = re.compile(rb"[0-9]")
_UNSAFE = re.compile(rb'["\\\[\]{}\x00-\x1f]')
_CHARS = re.compile(rb"\\[^\x80-\xff]|[0-9A-Za-z\x80-\xff]", re.DOTALL)

type Span = tuple[int, int]
type Knowing = Engine | Callable[[], Engine]


class EchoFailed(Exception):
    """The answer cannot be examined to its end: it must not go on to the agent. Says nothing of what was in it."""


class Seeker:
    """Looks for the secrets of one engine, or of that which is given at the time. Used by one flow; engines are
    shared."""

    def __init__(self, engine: Knowing) -> None:
        self._knowing = engine
        self.names: set[str] = set()

    def spans(self, text: bytes) -> list[Span]:
        """The stretches of `text` that hold a secret, ascending, not overlapping; nothing is found beside them. The
        canary is none: the agent has it."""
        spans: list[Span] = []
        for _ in range(_ROUNDS):
            found = self._once(text)
            if not found:
                return merged(spans)
            spans += found
            text = masked(text, found)
        raise EchoFailed("a credential could not be taken out of an answer")

    @property
    def _engine(self) -> Engine:
        return self._knowing if isinstance(self._knowing, Engine) else self._knowing()

    @property
    def _grams(self) -> Grams:
        return self._engine.grams

    def tail(self, text: bytes) -> int:
        """Where the part of a secret begins with which `text` ends; its length where there is none."""
        return tail(self._grams, text)

    def _once(self, text: bytes) -> list[Span]:
        spans: list[Span] = []
        precise: dict[str, list[Span]] = {}
        for finding in sorted(self._findings(text), key=lambda each: each.end - each.start):
            start, end = finding.start, finding.end
            within = precise.setdefault(finding.kind, [])
            wide = not _MAPPED.issuperset(finding.view.split(">"))
            if wide and any(start <= low and high <= end for low, high in within):
                continue  # a blob around what is known more precisely: looked for again once that is masked
            within.append((start, end))
            if finding.code.endswith(("partial", "separated")):
                start, end = self._grams.around(text, start, end)
            spans.append(_whole(text, start, end))
            self.names.add(finding.kind)
        return merged(spans)

    def _findings(self, text: bytes) -> list[Finding]:
        findings = self._engine.scan(text, where=_WHERE, detectors=_KNOWN, every=True).findings
        if any(finding.detector == "limits" for finding in findings):
            raise EchoFailed("an answer could not be examined to its end")
        return [each for each in findings if each.detector == "known_secrets" and not each.code.endswith("fragments")]


def _whole(text: bytes, start: int, end: int) -> Span:
    """The span with the backslashes before it, and no part of a UTF-8 character."""
    while start > 0 and text[start - 1] == 0x5C:
        start -= 1
    while 0 < start < len(text) and 0x80 <= text[start] < 0xC0:
        start -= 1
    while end < len(text) and 0x80 <= text[end] < 0xC0:
        end += 1
    return start, end


def merged(spans: list[Span]) -> list[Span]:
    """In order, and those that touch as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def short(piece: bytes, *, code: bool) -> bytes:
    """What is written instead of `piece` where lengths are free; `code`: it may be a number of JSON."""
    return mask(piece) if _UNSAFE.search(piece) or (code and _DIGITS.fullmatch(piece)) else MARK


def mask(piece: bytes) -> bytes:
    """What is written instead of `piece`, of the same length."""
    if _DIGITS.fullmatch(piece):
        return _DIGIT.sub(b"1", piece)  # perhaps a number
    if _UNSAFE.search(piece):
        return _CHARS.sub(_hidden, piece)
    return MARK.ljust(len(piece), b"*") if len(piece) >= len(MARK) else b"*" * len(piece)


def _hidden(match: re.Match[bytes]) -> bytes:
    found = match.group()
    return found if found[:1] == b"\\" else b"1"


def masked(text: bytes, spans: list[Span]) -> bytes:
    """`text` with each of the spans masked."""
    out: list[bytes] = []
    at = 0
    for start, end in spans:
        out += [text[at:start], mask(text[start:end])]
        at = end
    return b"".join(out) + text[at:]


def without(engine: Knowing, text: str) -> str:
    """A short text of an upstream's as it may be told."""
    data = text.encode("utf-8", "replace")
    try:
        return masked(data, Seeker(engine).spans(data)).decode("utf-8", "replace")
    except EchoFailed:
        return "(what was said here cannot be looked through)"
