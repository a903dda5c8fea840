"""What the TUI knows, and how an event changes it: bottles, the journal's ring, refusals and totals by bottle. Pure:
no clock, no I/O; snapshots come in, questions are answered. Losing it loses nothing: the controller has it all."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from app.core.journal import Entry, entry
from app.core.trail import Trail

if TYPE_CHECKING:
    from app.core.model import BottleView, StreamEvent

KEPT = 20_000
"""Entries held for all bottles together: four seconds of the worst flood (5,000/s), a day of a usual bottle."""
REFUSALS = 200
"""Different refusals remembered for one bottle; an agent that walks a dictionary of hosts cannot fill memory."""


class Refusal(NamedTuple):
    """All refusals of one bottle with the same host and code."""

    host: str
    code: str
    times: int
    last: Entry


@dataclass(slots=True)
class Tally:
    """What the journal says of one bottle. Totals start with the first entry that was seen."""

    requests: int = 0
    allowed: int = 0
    refused: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    refusals: OrderedDict[tuple[str, str], Refusal] = field(default_factory=OrderedDict[tuple[str, str], Refusal])

    def add(self, item: Entry) -> None:
        """Count one finished request."""
        self.requests += 1
        self.bytes_up += item.bytes_up
        self.bytes_down += item.bytes_down
        if item.decision in ("allow", "redact"):
            self.allowed += 1
        elif item.decision in ("deny", "error"):
            self.refused += 1
            self._refusal(item)

    def _refusal(self, item: Entry) -> None:
        key = (item.host, item.code)
        known = self.refusals.pop(key, None)
        self.refusals[key] = Refusal(item.host, item.code, known.times + 1 if known else 1, item)
        while len(self.refusals) > REFUSALS:
            self.refusals.popitem(last=False)


def order(views: Iterable[BottleView]) -> list[BottleView]:
    """Bottles as the list shows them: what needs the operator first, then the youngest."""
    return sorted(views, key=lambda view: (-view.attention, -view.created_at, view.slug))


class Board:
    """The state behind the main screen.."""

    def __init__(self) -> None:
        self.views: dict[str, BottleView] = {}
        self.journal: deque[Entry] = deque(maxlen=KEPT)
        self.tallies: dict[str, Tally] = {}
        self.last_seq = 0
        self.trails: dict[str, Trail] = {}
        self.totals: dict[str, Any] = {}
        """Used today and the providers' windows, as the event `usage` says it."""

    def forget(self) -> None:
        """Start anew: the controller's numbering is another one, so its store is another one."""
        self.journal.clear()
        self.tallies.clear()
        self.last_seq = 0

    def replace(self, views: Iterable[BottleView]) -> None:
        """Start from the controller's own list: after connecting, and after each loss of the connection."""
        self.views = {view.slug: view for view in views}

    def bottle(self, view: BottleView, now: float = 0.0) -> None:
        self.views[view.slug] = view
        if now:
            self.trails.setdefault(view.slug, Trail()).see(view.session_id, view.spend.total, now)

    def minutes(self, slug: str, now: float) -> list[int]:
        """A bottle's tokens of the last hour, as far as they were seen."""
        found = self.trails.get(slug)
        return found.minutes(now) if found is not None else []

    def gone(self, slug: str) -> None:
        """A bottle was cleaned away; what it did stays in the journal."""
        self.views.pop(slug, None)
        self.trails.pop(slug, None)

    def record(self, event: StreamEvent) -> Entry | None:
        """Take in an `egress` or `notice` event. None where it is known already (a replay after reconnecting)."""
        if event.seq and event.seq <= self.last_seq:
            return None
        self.last_seq = max(self.last_seq, event.seq)
        item = entry(event.seq, event.at, event.slug, event.kind, event.data)
        self.journal.append(item)
        if item.kind == "egress" and not item.open:
            self.tally(item.slug).add(item)
        return item

    def tally(self, slug: str) -> Tally:
        """The totals of one bottle; empty ones where nothing was seen."""
        found = self.tallies.get(slug)
        if found is None:
            found = self.tallies[slug] = Tally()
        return found

    def ordered(self) -> list[BottleView]:
        return order(self.views.values())

    def entries(self, slug: str = "") -> list[Entry]:
        """The journal's entries of one bottle, or of all, oldest first."""
        return [item for item in self.journal if not slug or item.slug == slug]
