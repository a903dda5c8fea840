"""Credential shapes as compiled rules: a cheap expression to search for, and the exact decision about each place found.

The decision is RE2's, a type's own check, its keywords and the placeholder list; it is the same whichever search
found the place. Rules hold no text that was scanned.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from sidecar.dlp import announced, shape
from sidecar.dlp.finding import Detector, Severity
from sidecar.dlp.matcher import Spec, Where
from sidecar.dlp.patterns.model import KEYWORD_REACH, Boundary, CredentialType, all_types
from sidecar.dlp.placeholders import is_placeholder, judged_by
from sidecar.dlp.portable_matcher import Expression
from sidecar.dlp.runs import LEAST

# A value after `\n` inside raw JSON text has a letter before it: `\b` misses most of those (performance.md). So has one
# after an arrow or a quotation mark that is written as `\u2192`, after a colour of a terminal (`[32m`), and in mail.
_BESIDE = (
    r"[^0-9A-Za-z_]|\\[nrtbfv]|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[0-7]{1,3}|%[0-9A-Fa-f]{2}|"
    r"\[[0-9;]{0,18}[mK]|=(?:2[0-9A-F]|3[A-F])"
)
_LEFT = rf"(?:\A|{_BESIDE})"
_RIGHT = r"(?:[^0-9A-Za-z_]|\z)"
_LITERAL = 3
_EDGE = 24
"""Bytes beside a value that its boundaries may look at."""


_WIDE = 256
"""A longer value is looked for from its beginning: from its end, as RE2 does it, a thousand repetitions take a tenth of
a second."""

_BEFORE = re.compile(rf"(?:{_BESIDE})\Z".encode())
"""As `_LEFT` but for the start of a text."""


class Wide:
    """The same as an expression whose first group is the value, for long values that begin with a literal."""

    def __init__(self, source: str, boundary: Boundary, begin: bytes) -> None:
        self._begin = begin
        self._left = boundary in ("both", "left")
        self._right = boundary in ("both", "right")
        self._rest = Expression(f"(?:{source}){_RIGHT if self._right else ''}")
        self._value = Expression(source)

    def search(self, text: bytes, start: int, end: int) -> tuple[int, int] | None:
        """Where the next value begins and ends."""
        at = text.find(self._begin, start, end)
        while at >= 0:
            if (not self._left or self._bounded(text, at, start)) and (match := self._rest.match(text, at, end)):
                last: int = match.end()
                whole = not self._right or (last == len(text) and self._value.fullmatch(text, at, last))
                return at, last if whole else last - 1
            at = text.find(self._begin, at + 1, end)
        return None

    def _bounded(self, text: bytes, at: int, start: int) -> bool:
        return at == 0 or _BEFORE.search(text, max(start, at - _EDGE), at) is not None


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One shape to look for. `width` bounds a match with its keyword; `regex` has the value as its first group, or
    `locate` finds the values by itself."""

    kind: str
    title: str
    detector: Detector
    code: str
    severity: Severity
    spec: Spec
    width: int
    regex: Expression | None
    keywords: tuple[bytes, ...] = ()
    accept: Callable[[str], bool] | None = None
    documented: frozenset[bytes] = frozenset()
    prefix: int = 0
    wide: "Wide | None" = None
    placeholders: bool = True
    locate: Callable[[bytes, int, int, dict[bytes, bool]], Iterator[tuple[int, int]]] | None = None
    harmless: Callable[[bytes, int, int], bool] | None = None
    """Whether what stands before a value says that it is no credential."""

    def find(
        self, text: bytes, start: int, end: int, judged: dict[bytes, bool] | None = None
    ) -> Iterator[tuple[int, int, bool]]:
        """(start, end, is a documented example) of each value in text[start:end] that counts. `judged` keeps what was
        decided about each value of this text by itself."""
        judged = {} if judged is None else judged
        if self.locate is not None:
            for left, right in self.locate(text, start, end, judged):
                yield left, right, False
            return
        at = start
        search = self.wide.search if self.wide is not None else self._search
        while (found := search(text, at, end)) is not None:
            left, right = found
            at = max(right, left + 1)
            value = text[left:right]
            if value in self.documented:
                yield left, right, True
            elif self._in_context(text, left):
                counts = judged.get(value)
                if counts is None:
                    counts = judged[value] = self._counts(value)
                if counts and not (self.harmless is not None and self.harmless(text, left, right)):
                    yield left, right, False

    def _search(self, text: bytes, start: int, end: int) -> tuple[int, int] | None:
        """Where the next value begins and ends."""
        assert self.regex is not None
        match = self.regex.search(text, start, end)
        return None if match is None else match.span(1)

    def _in_context(self, text: bytes, left: int) -> bool:
        if not self.keywords:
            return True
        before = text[max(0, left - KEYWORD_REACH) : left].lower()
        return any(word in before for word in self.keywords)

    def _counts(self, value: bytes) -> bool:
        if self.placeholders and is_placeholder(judged_by(value)[self.prefix :]):
            return False
        return self.accept is None or self.accept(value.decode("ascii", "replace"))


def windows(ends: Sequence[int], width: int, size: int) -> Iterator[tuple[int, int]]:
    """The stretches of a text of `size` bytes in which a match near one of the ascending `ends` must lie, merged."""
    reach = width + _EDGE
    start = stop = -1
    for end in ends:
        low, high = max(0, end - reach), min(size, end + reach)
        if start < 0:
            start, stop = low, high
        elif low <= stop:
            stop = high
        else:
            yield start, stop
            start, stop = low, high
    if start >= 0:
        yield start, stop


def bounded(source: str, boundary: Boundary) -> str:
    """`source` as the first group, with what must stand beside it."""
    flags = "(?i)" if source.startswith("(?i)") else ""
    left = _LEFT if boundary in ("both", "left") else ""
    right = _RIGHT if boundary in ("both", "right") else ""
    return f"{flags}{left}({source[len(flags) :]}){right}"


def of_type(each: CredentialType) -> Rule:
    """The rule of a credential type."""
    caseless = each.regex.startswith("(?i)")
    source = each.regex[4:] if caseless else each.regex
    searched = shape.trimmed(source)
    words = shape.required_words(source)
    keywords = tuple(word.encode("ascii") for word in each.keywords)
    if keywords:
        # the keyword is the selective part; without it a bare run of hex would be a candidate everywhere
        choice = "|".join(_escaped(word) for word in each.keywords)
        if searched == source and each.boundary in ("both", "right"):
            searched = f"(?:{searched})(?:[^0-9A-Za-z_]|$)"  # else each place in a longer run is a hit
        searched = f"(?:{choice}).{{0,{KEYWORD_REACH}}}(?:{searched})"
        caseless, words = True, keywords
    return Rule(
        kind=each.id,
        title=f"{each.vendor}: {each.title}",
        detector="token_patterns",
        code="credential",
        severity="block",
        spec=Spec(searched, caseless, words, where=each.place or _where(source, words)),
        width=shape.max_width(source) + (KEYWORD_REACH + 64 if keywords else 0),
        regex=Expression(bounded(each.regex, each.boundary)),
        keywords=keywords,
        accept=each.check,
        documented=frozenset(value.encode() for value in each.documented),
        prefix=each.prefix,
        wide=_wide(each),
        harmless=announced.digest if keywords else None,
    )


def _wide(each: CredentialType) -> Wide | None:
    begin = shape.leading_literal(each.regex)
    long = len(begin) >= _LITERAL and shape.max_width(each.regex) > _WIDE
    return Wide(each.regex, each.boundary, begin) if long else None


def _where(source: str, words: tuple[bytes, ...]) -> Where:
    """Where an expression is looked for: those without a word only in long runs, if they begin with one."""
    least, whole = shape.leading_run(source)
    if words or least < LEAST:
        return "text"
    return "run" if whole else "dotted"


def _escaped(word: str) -> str:
    return "".join(char if char.isalnum() or char == "_" else "\\" + char for char in word)


@cache
def credential_rules() -> tuple[Rule, ...]:
    """All vendors' types, compiled once a process."""
    return tuple(of_type(each) for each in all_types())
