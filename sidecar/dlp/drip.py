"""A secret that leaves in many small requests: what changes from one request to the next, joined. Pure.

Requests that carry a secret letter by letter are alike but for those letters, so the words that the last request did
not have are put together and scanned as one text. The caller passes the time.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
_SMALL = 2048
"""A larger request is scanned by itself and says more than a piece."""

_KEPT = 2048
_HOSTS = 256
_WORD = re.compile(rb"[^/?&=;,:.\s\"'{}\[\]<>]+")


@dataclass(frozen=True)
class Flow:
    """The changing words of the last minute's requests to one host, and the words of the last request."""

    pieces: tuple[tuple[float, bytes], ...] = ()
    last: frozenset[bytes] = frozenset()


def step(flow: Flow, text: bytes, now: float) -> tuple[Flow, bytes]:
    """The flow after a request of `text`, and the joined text to scan (b"" while there is only one piece)."""
    if len(text) > _SMALL:
        return flow, b""
    words = _WORD.findall(text)
    new = b"".join(word for word in words if word not in flow.last)
    pieces = [piece for piece in (*flow.pieces, (now, new)) if now - piece[0] <= WINDOW_SECONDS and piece[1]]
    while sum(len(piece) for _, piece in pieces) > _KEPT:
        pieces.pop(0)
    joined = b"".join(piece for _, piece in pieces) if len(pieces) > 1 else b""
    return Flow(tuple(pieces), frozenset(words)), joined


class Drips:
    """The flows of all hosts of a bottle: a bounded LRU around `step`. Used on one thread."""

    def __init__(self) -> None:
        self._flows: OrderedDict[str, Flow] = OrderedDict()

    def __repr__(self) -> str:
        return f"Drips({len(self._flows)})"

    def add(self, host: str, text: bytes, now: float) -> bytes:
        """The text to scan for `host` after this request."""
        flow, joined = step(self._flows.pop(host, Flow()), text, now)
        self._flows[host] = flow
        while len(self._flows) > _HOSTS:
            self._flows.popitem(last=False)
        return joined
