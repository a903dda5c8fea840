"""The engines of one bottle, and the threads that they work on.

Small texts are scanned where they are: handing over costs more than the scan. Large ones go to a few threads, never
all of which the largest may take; what waits is what the connections hold, which is bounded. Engines are compiled in
the background: until the first stands, requests wait, and none passes unscanned.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from sidecar import lean
from sidecar.contract import Placeholder, Route
from sidecar.dlp import aside
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.needles import Known
from sidecar.dlp.session import Session
from sidecar.secret import Secret

INLINE = 8 * 1024
"""Bytes that are scanned on the event loop: 0.1 ms, 2 ms where they are hostile."""
LARGE = 1024 * 1024
IDLE_SECONDS = 5.0
"""After so long without a large text, what their scans took of memory goes back to the system."""
MAX_SESSIONS = 8
"""Routes whose last bodies are remembered; 16 MiB each at most."""
MAX_REPLACED = 8
"""Former credentials that are still known: one that was renewed stays valid for a while, and answers to requests that
left with it are still under way."""
_TAIL = 16
"""Characters of a placeholder's random end; what is before it are words that may stand in any text."""


class Engines(NamedTuple):
    """`all` knows every secret; `alarms` the canary and the placeholders, which no route can turn off; `real` the
    credentials that the bottle has never seen."""

    all: Engine
    alarms: Engine
    real: Engine


class Scanner:
    """Runs on the sidecar's loop; only `work` given to `run` is on threads."""

    def __init__(
        self, placeholders: Sequence[Placeholder], canary: Known | None, sensitive: dict[str, Secret] | None = None
    ) -> None:
        self._sensitive = tuple(Known(name, value) for name, value in (sensitive or {}).items() if value)
        self._always = tuple(_stand_in(each) for each in placeholders) + ((canary,) if canary else ())
        self._real: tuple[Known, ...] = ()
        self._replaced: tuple[Known, ...] = ()
        self.stand_ins = frozenset(known.name for known in self._always if not known.canary)
        self._engines: Engines | None = None
        self._there = asyncio.Event()
        workers = max(2, min(4, os.cpu_count() or 2))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="scan")
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._large = asyncio.Semaphore(workers - 1)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._asked = 0
        self._idle: asyncio.TimerHandle | None = None

    @property
    def engines(self) -> Engines | None:
        """Those in use; None before the first are compiled, when nothing has left either."""
        return self._engines

    @property
    def holds(self) -> bool:
        """Whether there are credentials to look for in answers, former ones too."""
        return bool(self._real or self._replaced)

    @property
    def ready(self) -> bool:
        return self._engines is not None

    async def compile(self, secrets: dict[str, Secret]) -> bool:
        """Know these secrets from now on; the engines before serve meanwhile. Of two at once the later counts; false
        for the other one, whose secrets are not known then."""
        self._asked += 1
        turn = self._asked
        before = (*self._replaced, *self._real)
        self._real = tuple(Known(name, value) for name, value in secrets.items() if value)
        gone = [each for each in before if all(each.value != known.value for known in self._real)]
        self._replaced = tuple(gone[-MAX_REPLACED:])
        real = self._real + self._replaced
        known = real + self._sensitive + self._always
        loop = asyncio.get_running_loop()
        engines = await loop.run_in_executor(self._compiler, _compiled, known, self._always, real)
        if turn != self._asked:
            return False
        self._engines = engines
        self._sessions.clear()
        self._there.set()
        return True

    async def run[T](self, size: int, work: Callable[[Engines], T]) -> T:
        """What `work` gives, or raises. `size` is what it looks at."""
        if self._engines is None:
            await self._there.wait()
        assert self._engines is not None
        if size <= INLINE:
            return work(self._engines)
        loop = asyncio.get_running_loop()
        if size < LARGE:
            return await loop.run_in_executor(self._pool, work, self._engines)
        async with self._large:
            if self._idle is None:
                lean.keep_freed()
            try:
                return await loop.run_in_executor(self._pool, work, self._engines)
            finally:
                self._idle_from_now(loop)

    def _idle_from_now(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_SECONDS, self._compiler.submit, _rest)

    def session(self, route: Route) -> Session:
        """What is remembered of clean bodies for a route's host."""
        found = self._sessions.pop(route.host, None) or Session()
        self._sessions[route.host] = found
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return found

    def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._compiler.shutdown(wait=False, cancel_futures=True)


def _stand_in(placeholder: Placeholder) -> Known:
    tail = placeholder.value.rpartition("-")[2]
    known = tail if len(tail) >= _TAIL else placeholder.value
    return Known(f"placeholder of {placeholder.token_ref}", Secret(known))


def _rest() -> None:
    aside.rest()
    lean.give_back()


def _compiled(*sets: tuple[Known, ...]) -> Engines:
    made: list[Engine] = []
    for place, known in enumerate(sets):  # without credentials, all that is known is what alarms
        made.append(made[sets.index(known)] if known in sets[:place] else Engine.compile(EngineConfig(known)))
    engines = Engines(*made)
    lean.give_back()  # compiling takes ten times what stays of it
    return engines
