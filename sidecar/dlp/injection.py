"""Instructions to the agent hidden in what it reads: prompt injection in answers and WebSocket frames. Pure, linear.

Naive on purpose: it knows the shapes of published attacks (`injection_shapes`), not what a text means. What orders its
reader about blocks; what merely speaks of that warns. One watch for each answer or direction; it carries the end of
what it has seen, so it does not matter how an answer is cut.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from sidecar.dlp import fold, shape
from sidecar.dlp.escapes import entities, unescape
from sidecar.dlp.finding import Finding, Severity
from sidecar.dlp.injection_shapes import SHAPES, TOGETHER, Shape
from sidecar.dlp.matcher import Backend, Searcher, Spec, backend
from sidecar.dlp.portable_matcher import Expression
from sidecar.dlp.rules import windows

CARRY = 1024
"""Bytes seen before that are looked at again: more than two shapes with what may stand between them."""

NEAR = 600
"""Bytes within which two weak shapes belong together."""

_SLICE = 128 * 1024
_REACH = 600
_HITS = 4096
_SHOWN = 72
_SAMPLE = 512
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in b"\t\n\f\r")
_TAG = re.compile(rb"<(?![|!])[^<>]{0,300}>")
_LONG = re.compile(r"\S{25,}|[0-9]{5,}")
_NAMED = re.compile(rb"&[a-z]{2,6};")
_CHARACTER = re.compile(rb"[\xc2-\xf4]")
_LETTER = re.compile(rb"[A-Za-z]")
_OPENED = re.compile(rb"(?:[\"'\x60]|\xe2\x80[\x98\x9c])[^0-9A-Za-z]*$")
_JSON_STRING = re.compile(rb"(?:\"[ ]?[:,]|\[)[ ]?\\{0,3}\"[^0-9A-Za-z\"]*$")
_QUOTED = re.compile(rb"[\"'\x60][ .!,]")


class _Hit(NamedTuple):
    shape: Shape
    start: int
    end: int


class Shapes:
    """All shapes, compiled: one search for where they may be, and the exact expression for what they are."""

    def __init__(self, name: Backend | None = None) -> None:
        signs: dict[str, list[int]] = {}
        for index, each in enumerate(SHAPES):
            signs.setdefault(each.sign or each.source, []).append(index)
        self._owners = list(signs.values())
        self._search: Searcher = backend(name).expressions(
            [Spec(sign, True, shape.required_words(sign)) for sign in signs]
        )
        self._exact = [Expression(each.exact) for each in SHAPES]

    def hits(self, text: bytes) -> tuple[list[_Hit], bool]:
        """What stands in `text`, and whether there was too much of it to look at all."""
        found = self._search.scan(text, _HITS)
        places: dict[int, list[int]] = {}
        for sign, end in found.pairs:
            places.setdefault(sign, []).append(end)
        hits: list[_Hit] = []
        for sign, ends in places.items():
            for low, high in windows(sorted(ends), _REACH, len(text)):
                for index in self._owners[sign]:
                    for match in self._exact[index].finditer(text, low, high):
                        hits.append(_Hit(SHAPES[index], match.start(), match.end()))
        return sorted(hits, key=lambda hit: hit.start), found.overflow


@cache
def shapes(name: Backend | None = None) -> Shapes:
    """Compiled once a process: the zygote calls it before it forks."""
    return Shapes(name)


class InjectionWatch:
    """Reads one answer, or the messages of one direction of a WebSocket, as it streams."""

    def __init__(self, where: str = "response", name: Backend | None = None) -> None:
        self._shapes = shapes(name)
        self._where = where
        self._carry = b""
        self._told: set[str] = set()
        self._seen = 0

    def feed(self, data: bytes, *, last: bool = False) -> tuple[Finding, ...]:
        """What is found with these bytes, each code once an answer. Decoded bytes, as for the echo."""
        found: list[Finding] = []
        for at in range(0, len(data) or last, _SLICE):
            piece = data[at : at + _SLICE]
            text = self._carry + piece
            base = self._seen - len(self._carry)
            edges = _Edges(base > 0, not last)
            for code, title, severity, shown, start, end in judged(text, self._shapes, edges):
                if code not in self._told:
                    self._told.add(code)
                    found.append(_finding(code, title, severity, shown, self._where, base + start, base + end))
            self._seen += len(piece)
            self._carry = text[-CARRY:]
        return tuple(found)


def readable(data: bytes) -> bool:
    """Whether some of `data` is text, whatever it is called: told from samples of it. Programs and compressed data are
    full of bytes that no text has."""
    middle = len(data) // 2
    return any(map(_is_text, (data[:_SAMPLE], data[middle : middle + _SAMPLE], data[-_SAMPLE:])))


def _controls(text: bytes) -> int:
    return len(text) - len(text.translate(None, _CONTROLS))


def _is_text(sample: bytes) -> bool:
    return 16 * _controls(sample) <= len(sample) and 8 * len(sample.decode("utf-8", "ignore").encode()) >= 7 * len(
        sample
    )


def find(data: bytes, *, where: str = "response", name: Backend | None = None) -> tuple[Finding, ...]:
    """The findings of a whole text."""
    return InjectionWatch(where, name).feed(data, last=True)


class _Edges(NamedTuple):
    """What a text's ends are: it was `cut` from what came before (which was judged with it), and may `go_on`."""

    cut: bool = False
    goes_on: bool = False


_WHOLE = _Edges()

type _Judgement = tuple[str, str, Severity, str, int, int]


def judged(text: bytes, compiled: Shapes, edges: _Edges = _WHOLE) -> Iterator[_Judgement]:
    """Every judgement about a text: as it is, and as its reader sees it."""
    yield from _of_view(text, compiled, edges)
    if not _disguised(text):
        return
    hidden = fold.hidden(text)
    plain = seen(text)
    for view in {plain, plain if plain.isascii() else fold.fold(plain)} - {text}:
        for code, title, severity, shown, _, _ in _of_view(view, compiled, edges):
            yield code, title, severity, shown, 0, len(text)
    if hidden:
        worst = any(severity == "block" for _, _, severity, *_ in _of_view(hidden, compiled))
        letters = sum(65 <= code < 123 for code in hidden)
        if worst or letters >= 24:
            severity: Severity = "block" if worst else "warn"
            yield "injection_hidden", "Text in invisible characters", severity, "", 0, len(text)


def _disguised(text: bytes) -> bool:
    """Whether its reader may see another text. One expression for all signs costs as much as the rest, and a single
    byte is told ten times faster than two."""
    return (
        (b"<" in text and (b"</" in text or b"<!--" in text))
        or (b"\\" in text and (b"\\u" in text or b"\\x" in text))
        or (b"&" in text and (b"&#" in text or _NAMED.search(text) is not None))
        or (not text.isascii() and _CHARACTER.search(text) is not None)
        or _controls(text) > 0
    )


def seen(text: bytes) -> bytes:
    """A text as it is read: escapes, entities, markup and control characters taken off, among them half of UTF-16;
    look-alikes are still in it."""
    text = text.translate(None, _CONTROLS)
    for _ in range(2):
        if b"\\u" in text or b"\\x" in text:
            text = unescape(text)
    if b"</" in text:
        text = _TAG.sub(b" ", text)
    if b"&" in text:
        text = entities(text)
    return text.replace(b"\xc2\xa0", b" ")


def _of_view(text: bytes, compiled: Shapes, edges: _Edges = _WHOLE) -> Iterator[_Judgement]:
    hits, overflow = compiled.hits(text)
    hits = [hit for hit in hits if not _undecided(text, hit, edges)]
    if overflow:
        yield "injection_limits", "Too much that looks like instructions", "block", "", 0, len(text)
    for hit in hits:
        if hit.shape.strong and _mentioned(text, hit):
            continue  # the weak shape of the same words is told
        severity: Severity = "block" if hit.shape.strong else "warn"
        yield (
            f"injection_{hit.shape.code}",
            hit.shape.title,
            severity,
            _shown(text, hit.start, hit.end),
            hit.start,
            hit.end,
        )
    yield from _together(text, hits)


def _undecided(text: bytes, hit: _Hit, edges: _Edges) -> bool:
    """A cut is no beginning of a sentence; what was put into quotation marks may end with one in the next piece."""
    if edges.cut and not hit.start:
        return True
    return edges.goes_on and hit.end == len(text) and hit.shape.strong and _quoted(text, hit)


def _quoted(text: bytes, hit: _Hit) -> bool:
    letter = _LETTER.search(text, hit.start, hit.end)
    lead = text[max(0, hit.start - 4) : letter.start() if letter else hit.start]
    return _OPENED.search(lead) is not None and _JSON_STRING.search(lead) is None


def _mentioned(text: bytes, hit: _Hit) -> bool:
    """The words stand in quotation marks, or end with one: somebody writes about them."""
    if text[hit.end : hit.end + 1] not in (b'"', b"'", b"`", b"\xe2") and _QUOTED.match(text, hit.end) is None:
        return False
    return _quoted(text, hit)


def _together(text: bytes, hits: Sequence[_Hit]) -> Iterator[_Judgement]:
    """Two weak shapes near one another that make an order of it."""
    for place, hit in enumerate(hits):
        for other in hits[place + 1 : place + 12]:
            if other.start - hit.end > NEAR:
                break
            if frozenset((hit.shape.family, other.shape.family)) in TOGETHER:
                pair = "_".join(sorted((hit.shape.family, other.shape.family)))
                title = f"{hit.shape.title}; {other.shape.title[0].lower()}{other.shape.title[1:]}"
                yield f"injection_{pair}", title, "block", _shown(text, hit.start, other.end), hit.start, other.end


def _shown(text: bytes, start: int, end: int) -> str:
    """The evidence: a line of it, without long words and numbers, which may be secrets."""
    words = text[start : min(end, start + 3 * _SHOWN)].decode("utf-8", "replace")
    plain = "".join(char if char.isprintable() else " " for char in words)
    return _LONG.sub("***", " ".join(plain.split()))[:_SHOWN]


def _finding(code: str, title: str, severity: Severity, shown: str, where: str, start: int, end: int) -> Finding:
    return Finding("injection", code, severity, code.removeprefix("injection_"), title, where, "raw", start, end, shown)
