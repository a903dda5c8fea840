"""Meters OpenAI's Responses over a WebSocket, as Codex speaks it: each `response.create` of the client is a request,
each last event of the server ends one. Several follow each other on one connection; ids keep them apart if they
overlap. Bounded like the HTTP meter, and as silent.
"""

from collections import deque
from typing import Literal

from sidecar.meter.dialects.responses import LAST, Responses
from sidecar.meter.faults import Fault, classify, network_fault
from sidecar.meter.frames import MOST_EVENT
from sidecar.meter.learned import Calibration
from sidecar.meter.loads import Tree, Unreadable, items, loads, tree
from sidecar.meter.request import RequestFacts, members, message_facts
from sidecar.meter.settle import settle
from sidecar.meter.sieve import Sieve
from sidecar.meter.usage import Flag, Usage, Window, text_of
from sidecar.meter.windows import windows_from_codex, windows_from_headers

MOST_OPEN = 16
"""Requests without an answer that are remembered; Codex has one at a time."""

Direction = Literal["up", "down"]


class SocketMeter:
    """One connection. `feed_message` gives the usages that ended with this message, mostly none."""

    def __init__(
        self, headers: dict[str, str] | None = None, *, now: float = 0.0, learned: Calibration | None = None
    ) -> None:
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        self.windows: tuple[Window, ...] = windows_from_headers(lower, now)
        self.fault: Fault | None = None
        """The newest fault; None after an answer that ended well."""
        self._now = now
        self._learned = learned or Calibration()
        self._asked: list[RequestFacts] = []
        """Requests whose response has not been created yet, oldest first."""
        self._refused: list[RequestFacts] = []
        """Those that an error seemed to be about, the one that reads most last: it may have been about any message."""
        self._open: dict[str, tuple[Responses, RequestFacts, set[Flag]]] = {}
        self._ended: deque[str] = deque(maxlen=MOST_OPEN)
        """Ids of answers that ended: their last event may come twice."""

    def feed_message(self, direction: Direction, data: str | bytes, *, now: float | None = None) -> tuple[Usage, ...]:
        """One whole message, text as text. Binary ones carry nothing that is metered."""
        self._now = self._now if now is None else now
        if direction == "up":
            facts = request_of(data)
            if facts is not None:
                self.asked(facts)
            return ()
        message, oversized = _read(_bytes(data))
        ended: list[Usage] = []
        for event in [tree(one) for one in items(message.get("chunks"))[:1000]] or [message]:
            ended += self._event(event, oversized)
        return tuple(ended)

    def asked(self, facts: RequestFacts) -> None:
        """A request of the client's (`request_of`) has left."""
        self._asked = [*self._asked, facts][-MOST_OPEN:]

    @property
    def under_way(self) -> RequestFacts | None:
        """What was asked for where an answer has begun and not ended."""
        return self._open[next(reversed(self._open))][1] if self._open else None

    def so_far(self) -> Usage | None:
        """What would be written for the answer that is under way if the connection broke here."""
        if not self._open:
            return None
        tally, facts, _ = self._open[next(iter(self._open))]
        if tally.ended:
            return None
        return settle(tally, facts, self._learned, frozenset(), complete=False)

    def finish(self, complete: bool = False) -> tuple[Usage, ...]:
        """The connection has closed: what was still open broke off, also what was asked and never begun."""
        ended = [self._settle(key, complete=False) for key in list(self._open)]
        ended += [settle(Responses(), facts, self._learned, frozenset(), complete=False) for facts in self._asked]
        self._asked = []
        if ended and not complete:
            self.fault = network_fault("the connection closed before the answer ended")
        return tuple(ended)

    def _event(self, event: Tree, oversized: bool) -> list[Usage]:
        kind = event.get("type")
        if kind == "codex.rate_limits":
            self.windows = windows_from_codex(event, self._now)
            return []
        if kind == "error":
            return self._error(event)
        if not isinstance(kind, str) or not kind.startswith("response."):
            return []
        key = self._key(event)
        if key is None:
            return []
        tally, _, flags = self._open[key]
        tally.see(event)
        if oversized:
            flags.add("oversized_event")
        if kind not in LAST:
            return []
        self.fault = classify(None, {}, tally.error, now=self._now) if tally.error else None
        return [self._settle(key, complete=True)]

    def _key(self, event: Tree) -> str | None:
        """The open response that this event belongs to; opens it if it is new. None for one that has ended."""
        response = tree(event.get("response"))
        named = text_of(response.get("id") or event.get("response_id"))
        if named in self._open:
            return named
        if not named and self._open:
            return next(reversed(self._open))
        if named in self._ended and not self._asked:
            return None
        facts = self._begun()
        while len(self._open) >= MOST_OPEN:
            self._open.pop(next(iter(self._open)))
        self._open[named] = (Responses(), facts, set())
        return named

    def _begun(self) -> RequestFacts:
        """What was asked for where an answer begins: of those that it may be, the one that reads most."""
        self._doubt_next()
        return self._refused.pop() if self._refused else RequestFacts(method="WEBSOCKET", stream=True)

    def _doubt_next(self) -> None:
        self._refused = sorted([*self._refused, *self._asked[:1]], key=self._reads)[-MOST_OPEN:]
        self._asked = self._asked[1:]

    def _reads(self, facts: RequestFacts) -> float:
        return facts.input_units + (self._learned.read_before(facts.previous) or 0)

    def _error(self, event: Tree) -> list[Usage]:
        """An error ends what is open; a request that never began cost nothing, unless its answer begins after all."""
        self.fault = classify(None, {}, event, now=self._now, windows=self.windows)
        if self._open:
            return [self._settle(next(reversed(self._open)), complete=False)]
        model = self._asked[0].model if self._asked else ""
        self._doubt_next()
        return [Usage("responses", model, billable=False)]

    def _settle(self, key: str, complete: bool) -> Usage:
        tally, facts, flags = self._open.pop(key)
        if key and complete:  # what an error seemed to end may go on: it may have been about another message
            self._ended.append(key)
        return settle(tally, facts, self._learned, frozenset(flags), complete)


def request_of(data: str | bytes, *, doubtful: bool = True) -> RequestFacts | None:
    """What a message of the client's asks for; None where it asks the model for nothing. `doubtful`: one that does not
    say clearly what it is is taken for a request, since another reader may understand it."""
    raw = _bytes(data)
    message = members(raw)
    kind = message.get("type")
    asks = kind == "response.create" or (doubtful and not isinstance(kind, str))
    return message_facts(message, raw) if asks else None


def _bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8", "replace") if isinstance(data, str) else data


def _read(raw: bytes) -> tuple[Tree, bool]:
    if len(raw) > MOST_EVENT:
        sieve = Sieve()
        sieve.feed(raw)
        return sieve.result(), True
    value = loads(raw)
    return ({} if value is Unreadable else tree(value)), False
