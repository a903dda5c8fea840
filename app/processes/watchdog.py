"""Keeps a sandbox within its memory where no cgroup does: measures the whole process tree, seldom while it is small.

Tells, never kills by itself.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.core.schema import Limits

if TYPE_CHECKING:
    from app.processes.holder import Held

log = logging.getLogger(__name__)

DEFAULT_MEMORY = 4 * 1024**3
"""hardening.md, Limits: the default of `limits.memory`."""


def interval(used: int, limit: int) -> float:
    """Seconds to the next look: a tree far below its limit cannot reach it before then, and looking costs a scan of
    /proc (about a millisecond), which a hundred idle bottles must not pay often."""
    share = used / limit
    if share < 0.25:
        return 10.0
    return 3.0 if share < 0.6 else 0.5


class Watchdog:
    """Calls `over(reason)` once when the tree passes its limit."""

    def __init__(self, sandbox: "Held", limits: Limits, over: Callable[[str], None]) -> None:
        self._sandbox = sandbox
        self._limit = limits.memory or DEFAULT_MEMORY
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(1.0, self._look)

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        try:
            used = self._sandbox.usage().memory
        except OSError as error:
            log.warning("cannot measure the sandbox: %s", error)
            used = 0
        if used > self._limit:
            self._over(f"out of memory: {used // 2**20} MiB used, {self._limit // 2**20} MiB allowed")
            return
        self._timer = self._loop.call_later(interval(used, self._limit), self._look)
