"""One timer for many deadlines: rings once at the earliest. It never polls."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.tasks import spawn

LONGEST = 3600.0
"""A machine that slept counts on from where it was: look at the wall clock at least once an hour."""


class Alarm:
    """`set` a unix time; `ring` is called then. The owner sets the next one."""

    def __init__(self, ring: Callable[[], Awaitable[None]]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def set(self, at: float | None) -> None:
        """Ring at `at` and no sooner; None for never."""
        self.close()
        if at is not None:
            self.later(min(LONGEST, max(0.0, at - time.time())))

    def later(self, seconds: float) -> None:
        """Ring after so many seconds."""
        self.close()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._task = spawn(self._run(), name="deadlines")

    async def _run(self) -> None:
        await self._ring()
