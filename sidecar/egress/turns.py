"""Whose bytes are looked at: one piece of one connection after another, with room between them for the control channel,
so that the operator's word counts at once whatever a bottle sends on however many connections."""

import asyncio
import time
from collections.abc import Callable

PIECE = 64 * 1024
"""Bytes of one turn, where they cost much: frames and chunks of a byte each take 0.2 s."""
AT_A_STRETCH = 0.02
"""Seconds of turns after which the loop looks at everything else."""


class Turns:
    """Of one process."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._taken = 0.0

    async def take(self, work: Callable[[], None]) -> bool:
        """Do `work` when it is its turn. Where nobody else waits, that is now. True if it did not take long."""
        async with self._lock:
            started = time.perf_counter()
            work()
            took = time.perf_counter() - started
            self._taken += took
            if self._taken > AT_A_STRETCH:
                self._taken = 0.0
                await asyncio.sleep(0)  # nobody else's turn yet: they wait for the lock
        return took < AT_A_STRETCH
