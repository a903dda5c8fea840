"""A secret that leaves in many small requests: what changes from one request to the next, joined. Pure.

Requests that carry a secret letter by letter are alike but for those letters, so the words that stand at one place in
consecutive requests are put together, place by place, and scanned as one text. The caller passes the time.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from itertools import zip_longest

WINDOW_SECONDS = 60.0
_SMALL = 2048
"""A larger request is scanned by itself and says more than a piece."""

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
    changing = [b"".join(place) for place in places if len(set(place)) > 1]
    return Flow(requests), b"\n".join(changing)


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
