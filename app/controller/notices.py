"""Watches what happens and tells the operator what should be heard of: remembers the last hundred notices, shows them
to every client, hands them to the outlets. It decides nothing about bottles, and a store that fails stops no notice."""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from app.controller.events import Bus
from app.controller.outlets import Outlets
from app.core.model import LIVE, BottleView, StreamEvent
from app.core.notices import KEPT, Notice, of_bottle, of_event, of_proposal
from app.errors import CarboyError
from app.store.base import Store
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0
"""The same thing of the same bottle is told once in this time: a bottle must not be able to ring without end."""
REMEMBERED = 4096
MOST_ASKED = 5
"""Cards of one bottle that are told of one by one in that time: who asks and leaves again may not push everything else
out of the hundred that are remembered. The cards themselves are all there."""


class Notices:
    """`bottle`, `proposal` and `events` are called with what happened, and return at once."""

    def __init__(self, store: Store, bus: Bus, outlets: Outlets) -> None:
        self._store = store
        self._bus = bus
        self._outlets = outlets
        self._views: dict[str, BottleView] = {}
        self._asked: dict[str, list[float]] = {}
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._unkept: deque[Notice] = deque(maxlen=KEPT)
        """What the store would not take, the oldest first: a full disk is what the operator must hear of then."""
        self._telling = spawn(_nothing(), name="notices")

    @property
    def outlets(self) -> Outlets:
        return self._outlets

    def bottle(self, view: BottleView) -> None:
        """A bottle is now like this."""
        notice = of_bottle(self._views.get(view.session_id), view, time.time())
        if view.state in LIVE:
            self._views[view.session_id] = view
        else:
            self._views.pop(view.session_id, None)
            self._asked.pop(view.slug, None)
        self._tell(notice)

    def proposal(self, data: Mapping[str, Any]) -> None:
        """A card as clients see it; each is told of once."""
        notice = of_proposal(data, time.time())
        if notice is None or self._known(notice, once=True):
            return
        now = time.monotonic()
        lately = [at for at in self._asked.get(notice.slug, ()) if now - at < QUIET_SECONDS]
        if len(lately) < MOST_ASKED:
            self._asked[notice.slug] = [*lately, now]
            self._pass_on(notice)
        else:
            text = f"more than {MOST_ASKED} questions in a minute: look at the cards"
            self._tell(notice.model_copy(update={"title": f"{notice.slug} asks a lot", "text": text, "proposal": ""}))

    def events(self, slug: str, events: Iterable[StreamEvent]) -> None:
        """What a bottle did, as it was kept."""
        for event in events:
            self._tell(of_event(slug or event.slug, event.kind, event.data, event.at))

    def say(self, notice: Notice) -> None:
        """Something another part of the controller wants heard."""
        self._tell(notice)

    async def listed(self) -> list[Notice]:
        """The newest first."""
        return [*reversed(self._unkept), *await self._store.notices()][:KEPT]

    async def read(self, upto: int) -> None:
        await self._store.read_notices(upto)

    async def clear(self) -> None:
        await self._store.clear_notices()
        self._unkept.clear()

    async def close(self) -> None:
        await cancel_and_wait(self._telling)
        await self._outlets.close()

    def _tell(self, notice: Notice | None) -> None:
        if notice is not None and not self._known(notice, once=False):
            self._pass_on(notice)

    def _pass_on(self, notice: Notice) -> None:
        former = self._telling
        self._telling = spawn(self._remember(notice, former), name="notice")

    def _known(self, notice: Notice, *, once: bool) -> bool:
        """Whether this was told already, or lately."""
        key = (notice.proposal,) if once else (notice.slug, notice.about, notice.title)
        if notice.about == "budget":  # each thing is told of once anyway, and the cutoff soon follows the threshold
            key = (*key, notice.text)
        now = time.monotonic()
        before = self._told.get(key)
        if before is not None and (once or now - before < QUIET_SECONDS):
            return True
        self._told[key] = now
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return False

    async def _remember(self, notice: Notice, former: Any) -> None:
        if not former.done():
            await former
        self._unkept.append(notice)
        notice = await self._keep() or notice
        data = notice.model_dump(mode="json")
        self._bus.pass_on(StreamEvent(seq=0, at=notice.at, kind="notification", slug=notice.slug, data=data))
        self._outlets.send(notice)

    async def _keep(self) -> Notice | None:
        """Put down what is not yet; the last one of it, None where the store takes none. One that it can never take
        stands in nobody's way."""
        kept = None
        while self._unkept:
            first = self._unkept[0]
            try:
                kept = await self._store.add_notice(first, KEPT)
            except CarboyError as error:  # whatever is wrong with the store, the operator hears of it
                log.error("a notice could not be kept: %s", error)
                return None
            except Exception as error:
                log.error("a notice cannot be kept: %s", error)
                kept = None
            if self._unkept and self._unkept[0] is first:  # or all were cleared meanwhile
                self._unkept.popleft()
        return kept


async def _nothing() -> None:
    return
