"""Brings what agents say into the search index as it happens, and lets it be searched. A conversation is told again by
the next controller; the index knows what it has. What a bottle writes faster than any agent works is left out."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.controller.session import Session
from app.errors import CarboyError
from app.providers.conversation import Entry
from app.store.search import SearchIndex, Source, Words
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

BURST = 32 * 1024 * 1024
"""Characters of one session that are taken at once: a long conversation, read anew by the next controller."""
RATE = 64 * 1024
"""Characters a second beyond that. An agent at work writes about one."""
MOST_WAITING = 64 * 1024 * 1024
"""Characters of all sessions that wait to be written. No session has more of them than are still free, so that there is
room for the others whatever it says: alone it has half, of two that fill it each has a third."""
AT_ONCE = 500
_SAID = frozenset({"user", "assistant", "reasoning", "call", "result", "asks"})


@dataclass
class _Allowed:
    """What a session may still bring: a bucket that fills."""

    left: float = BURST
    at: float = 0.0

    def takes(self, size: int, now: float) -> bool:
        self.left = min(BURST, self.left + (now - self.at) * RATE)
        self.at = now
        if size > self.left:
            return False
        self.left -= size
        return True


class Searching:
    """`told` is the sessions' `on_entries`."""

    def __init__(self, index: SearchIndex, clock: Callable[[], float] = time.monotonic) -> None:
        self.index = index
        self._clock = clock
        self._waiting: deque[tuple[Source, list[Words], int]] = deque()
        self._sizes: Counter[str] = Counter()
        """Of each session's, by its id."""
        self._allowed: dict[str, _Allowed] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.index.open()
        self._task = spawn(self._run(), name="search index")

    async def close(self) -> None:
        await cancel_and_wait(self._task)
        await self._write()
        await self.index.close()

    def told(self, session: Session, entries: Sequence[Entry]) -> None:
        """What came in a session's conversation."""
        allowed = self._allowed.setdefault(session.id, _Allowed(at=self._clock()))
        found: list[Words] = []
        size, most = 0, self._share(session.id)
        for entry in entries:
            length = len(entry.text) + 200
            if entry.kind not in _SAID or not (entry.text or entry.tool):
                continue
            if size + length > most or not allowed.takes(length, self._clock()):
                log.warning("%s writes faster than can be searched: some of it is left out", session.slug)
                break
            size += length
            found.append(_words(entry))
        if found:
            view = session.view
            source = Source(session.id, session.slug, view.label, view.agent or "", view.provider)
            self._waiting.append((source, found, size))
            self._sizes[session.id] += size
            self._news.set()

    def _share(self, session_id: str) -> int:
        """How much more of this session may wait."""
        free, own = MOST_WAITING - self._sizes.total(), self._sizes[session_id]
        return (free - own) // 2

    def ended(self, session_id: str) -> None:
        self._allowed.pop(session_id, None)

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._write()

    async def _write(self) -> None:
        while self._waiting:
            source, entries, size = self._waiting.popleft()
            self._sizes[source.session_id] -= size
            if not self._sizes[source.session_id]:
                del self._sizes[source.session_id]
            try:
                for start in range(0, len(entries), AT_ONCE):
                    await self.index.add(source, entries[start : start + AT_ONCE])
            except CarboyError as error:
                log.error("what %s said cannot be searched: %s", source.slug, error)
            except Exception as error:  # of values that no database takes; its text may repeat them
                log.error("what %s said cannot be searched: %s", source.slug, type(error).__name__)


def _words(entry: Entry) -> Words:
    text = f"{entry.tool} {entry.text}" if entry.tool else entry.text
    place = f"{entry.conversation}\0{entry.key}" if entry.key else f"{entry.conversation}\0{entry.kind}\0{entry.at}"
    return Words(place, entry.at, entry.kind, entry.tool, entry.conversation, text)
