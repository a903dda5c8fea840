"""A secret that leaves in pieces, each in a request of its own. Pure; the caller passes the time.

Requests that carry a secret letter by letter are alike but for those letters, so the words that stand at one place in
consecutive small requests to one host are put together, place by place, and scanned as one text (`Drips`). Pieces that
the search for known secrets sees by themselves count together whatever the size and the host (`Scattered`).
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from sidecar.dlp.known import NO_PIECES, Pieces

WINDOW_SECONDS = 60.0
_SMALL = 2048
"""A larger request is scanned by itself and says more than a piece."""

_TOKEN = 128
"""Letters of most vendors' tokens are fewer."""
_REQUESTS = 256
_WORDS = 32
_HOSTS = 256
_WORD = re.compile(rb"[^/?&=;,:.\s\"'{}\[\]<>]{1,64}")


@dataclass(frozen=True)
class Flow:
    """The words of the last minute's small requests to one host, with their times."""

    requests: tuple[tuple[float, tuple[bytes, ...]], ...] = ()


def step(flow: Flow, text: bytes, now: float) -> tuple[Flow, bytes]:
    """The flow after a request of `text`, and the joined text to scan: empty while nothing changes."""
    if len(text) > _SMALL:
        return flow, b""
    words = tuple(_WORD.findall(text)[:_WORDS])
    kept = [each for each in flow.requests if now - each[0] <= WINDOW_SECONDS]
    requests = (*kept, (now, words))[-_REQUESTS:]
    places = zip_longest(*(each for _, each in requests), fillvalue=b"")
    changing = [place for place in places if len(set(place)) > 1]
    texts = [text for place in changing for text in (b"".join(place), *_late(place))]
    return Flow(requests), b"\n".join(texts)


def _late(place: tuple[bytes, ...]) -> Iterator[bytes]:
    """The end of a place from each of its last words on: a token has nothing directly before it, where any other
    request's word may stand."""
    text = b""
    for word in place[:0:-1]:
        text = word + text
        if len(text) > _TOKEN:
            return
        if word and text != place[-1]:
            yield text


class Scattered:
    """The pieces of known secrets that left a bottle, whatever other secrets came and went meanwhile. Bounded by the
    pieces that there are of an hour's secrets. Used on one thread."""

    SECONDS = 3600.0
    BYTES = 16 * 1024 * 1024
    """Of texts examined: a piece says 36 bits, so that three of one secret of 40 letters stand in as much of pure noise
    once in ten million times."""

    def __init__(self) -> None:
        self._left: dict[tuple[int, int], tuple[float, int]] = {}
        self.examined = 0
        """Bytes, of all that left."""

    def __repr__(self) -> str:
        return f"Scattered({len(self._left)})"

    def before(self, pieces: Pieces, now: float) -> Pieces:
        """What left not long ago; nothing where a request holds no piece."""
        return self.recent(now) if pieces.seen else NO_PIECES

    def recent(self, now: float) -> Pieces:
        """What left not long ago."""
        for piece, (when, examined) in list(self._left.items()):
            if now - when > self.SECONDS or self.examined - examined > self.BYTES:
                del self._left[piece]
        return Pieces(frozenset(self._left))

    def add(self, pieces: Pieces, examined: int, now: float) -> None:
        """A request leaves: its `pieces`, and how many bytes were looked at for them."""
        self.examined += examined
        self._left |= dict.fromkeys(pieces.seen, (now, self.examined))


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
