"""What was clean a moment ago: lets the unchanged beginning of a growing conversation be skipped. Memory only, bounded.

Safe because of five rules (performance.md): the beginning is compared byte for byte; a margin longer than any match is
examined again; an entry counts only for the same compiled engine, place and detectors; only clean verdicts are kept;
the pass over the raw bytes is never skipped. Pieces of secrets seen before are carried on.
"""

import threading
from collections import OrderedDict
from typing import NamedTuple

from sidecar.dlp.finding import Location
from sidecar.dlp.known import Pieces

MARGIN = 16 * 1024
"""More than the longest credential with its keyword in any view: 2 KB, escaped to six characters each."""

_COARSE, _FINE = 64 * 1024, 2 * 1024
_LEAST = 32 * 1024
_AROUND = 64
_RUN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_LINES = _RUN + b" \t\r\n\"'\\,>|"
"""What wrapped lines of one run consist of."""


class Resume(NamedTuple):
    """Everything before `start` was found clean in this engine; it held `pieces`. `replaced` are the numbers of the
    kept bodies of which the new one is a longer form."""

    start: int
    pieces: Pieces
    replaced: frozenset[int] = frozenset()


class _Clean(NamedTuple):
    engine: object
    part: str
    detectors: frozenset[str]
    text: bytes
    pieces: Pieces


class Session:
    """The last few clean bodies of one bottle and route. Locked: flows of one route are scanned on several threads."""

    def __init__(self, *, bodies: int = 4, total: int = 16 * 1024 * 1024) -> None:
        self._bodies = bodies
        self._total = total
        self._kept: OrderedDict[int, _Clean] = OrderedDict()
        self._next = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Session({len(self._kept)})"

    def remember(
        self,
        engine: object,
        where: Location,
        detectors: frozenset[str],
        text: bytes,
        pieces: Pieces,
        replaced: frozenset[int] = frozenset(),
    ) -> None:
        """Keep a body whose verdict was clean, in place of its shorter forms."""
        if not _LEAST <= len(text) <= self._total:
            return
        with self._lock:
            for key, kept in list(self._kept.items()):
                if kept.engine is not engine or key in replaced:
                    del self._kept[key]
            self._kept[self._next] = _Clean(engine, where.part, detectors, text, pieces)
            self._next += 1
            while len(self._kept) > self._bodies or sum(len(kept.text) for kept in self._kept.values()) > self._total:
                self._kept.popitem(last=False)

    def resume(self, engine: object, where: Location, detectors: frozenset[str], text: bytes) -> Resume | None:
        """Where to start examining `text`, None where nothing is known of its beginning."""
        with self._lock:
            kept = [(key, each) for key, each in self._kept.items() if each[:3] == (engine, where.part, detectors)]
        best: Resume | None = None
        replaced: set[int] = set()
        for key, each in kept:
            alike = common_prefix(text, each.text)
            if alike >= len(each.text) - MARGIN:
                replaced.add(key)
            start = _cut(text, alike)
            if start and (best is None or start > best.start):
                best = Resume(start, each.pieces)
        return best and best._replace(replaced=frozenset(replaced))


def common_prefix(left: bytes, right: bytes) -> int:
    """A length, not always the greatest, of which both are known to begin alike."""
    end = min(len(left), len(right))
    at = 0
    for step in (_COARSE, _FINE):
        while at + step <= end and left.startswith(right[at : at + step], at):
            at += step
    return at


def _cut(text: bytes, alike: int) -> int:
    """A place at least a margin before `alike`, just behind a quote: between escapes, and inside no encoded run. Or in
    the midst of a blob that ends before `alike`: what is inside of it has been examined to its end."""
    if alike < _LEAST:
        return 0
    at = alike - MARGIN
    quote = text.rfind(b'"', 0, at) + 1
    inside = at - quote > MARGIN and not text[at - _AROUND : at + _AROUND].translate(None, _RUN)
    return at if inside and text[at:alike].translate(None, _LINES) else quote
