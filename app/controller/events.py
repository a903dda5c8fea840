"""The event bus: what happens, to everyone who listens, with resume from a sequence number.

Kept events are stored and published by one method, in one order, so that a subscriber that replays from the store and
then listens has neither a gap nor a duplicate. A slow subscriber never holds up anyone: its queue is bounded, and when
it is full the subscription ends with a `lagged` event that says where to resume.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Self

from app.core.model import BottleView, StreamEvent
from app.store.base import EventQuery, NewEvent, Position, Store
from app.store.metering import Kept, Metering
from app.tasks import spawn

QUEUE_LIMIT = 4096
"""Events that wait for one subscriber: most of a second at the fastest rate that is promised (5,000/s)."""

PAGE = 1000
"""Kept events read from the store at a time during a replay."""


class Subscription:
    """One listener: `with bus.subscribe() as events: async for event in events`. Iterate it once."""

    def __init__(self, bus: "Bus", since: int | None, slug: str | None, limit: int) -> None:
        self._bus = bus
        self._since = since
        self._slug = slug
        self._limit = limit
        self._queue: deque[StreamEvent] = deque()
        self._arrived = asyncio.Event()
        self._lagged = False
        self._closed = False
        # what was published before this moment is the replay's part, what comes after is the queue's
        self._live_from = bus.last_seq
        self.seq = bus.last_seq if since is None else min(since, bus.last_seq)
        """The last kept event that was handed out."""

    def offer(self, event: StreamEvent) -> None:
        """Queue an event, or mark the subscriber as lagging. Never blocks."""
        if self._lagged or (self._slug and event.slug and event.slug != self._slug):
            return
        if len(self._queue) >= self._limit:
            self._queue.clear()
            self._lagged = True
        else:
            self._queue.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration after what is queued."""
        self._closed = True
        self._arrived.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.forget(self)

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        async for event in self._replay():
            yield event
        async for event in self._live():
            yield event

    async def _replay(self) -> AsyncIterator[StreamEvent]:
        end = self._live_from
        while self._since is not None and self.seq < end:
            query = EventQuery(slug=self._slug, after=self.seq, before=end + 1, limit=PAGE)
            page = await self._bus.store.events(query)
            for event in page:
                self.seq = event.seq
                yield event
            if len(page) < PAGE:
                break

    async def _live(self) -> AsyncIterator[StreamEvent]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                event = self._queue.popleft()
                if event.seq:
                    if event.seq <= self.seq:
                        continue
                    self.seq = event.seq
                yield event
            if self._lagged:
                yield StreamEvent(seq=0, at=time.time(), kind="lagged", data={"resume": self.seq})
                return
            if self._closed:
                return


class Bus:
    """Stores and publishes events. One per controller; used on its event loop only."""

    def __init__(self, store: Store, *, queue_limit: int = QUEUE_LIMIT) -> None:
        self.store = store
        self.last_seq = 0
        self._limit = queue_limit
        self._order = asyncio.Lock()
        self._subscribers: set[Subscription] = set()

    async def start(self) -> None:
        """Learn where the store's numbers stand."""
        self.last_seq = await self.store.last_seq()

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    async def keep(
        self, slug: str, session_id: str, events: Sequence[NewEvent], position: Position | None = None
    ) -> list[StreamEvent]:
        """Store `events`, then tell the subscribers of those that were new. Runs to its end even if the caller is
        cancelled: an event that is stored but never published would be a gap for those who listen."""
        return (await self.ingest(slug, session_id, events, position)).events

    async def ingest(
        self,
        slug: str,
        session_id: str,
        events: Sequence[NewEvent],
        position: Position | None = None,
        metering: Metering | None = None,
    ) -> Kept:
        """The same, with what the batch says of usage."""
        going = self._keep(slug, session_id, events, position, metering)
        work = spawn(going, name=f"keep {slug}", on_error=lambda _: None)
        return await asyncio.shield(work)

    async def _keep(
        self,
        slug: str,
        session_id: str,
        events: Sequence[NewEvent],
        position: Position | None,
        metering: Metering | None,
    ) -> Kept:
        async with self._order:
            kept = await self.store.ingest(slug, session_id, events, position, metering)
            for event in kept.events:
                self.last_seq = max(self.last_seq, event.seq)
                self._tell(event)
            return kept

    def pass_on(self, event: StreamEvent) -> None:
        """Tell the subscribers of something that is not kept (seq 0)."""
        self._tell(event)

    def bottle(self, view: BottleView) -> None:
        """Tell of a bottle as it is now."""
        data = view.model_dump(mode="json")
        self._tell(StreamEvent(seq=0, at=time.time(), kind="bottle", slug=view.slug, data=data))

    def _tell(self, event: StreamEvent) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.offer(event)

    def subscribe(self, since: int | None = None, slug: str | None = None) -> Subscription:
        """Listen: kept events after `since` (None: only what happens from now on), then everything live."""
        subscription = Subscription(self, since, slug, self._limit)
        self._subscribers.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._subscribers.discard(subscription)

    def close(self) -> None:
        """End all subscriptions."""
        for subscriber in tuple(self._subscribers):
            subscriber.close()
