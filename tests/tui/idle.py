"""Waiting for an app to have done what a key or click began: by what its event loop has left to do.

Textual's own asks how much time the process computed in the last 20 ms, two or three times for each key: slow where
all goes well, and wrong on a loaded machine, where a process that waits for its turn computes nothing either.
"""

import asyncio
from typing import Any

SOON = 0.02
"""Timers that are due by then belong to it: repaints of the screen are a sixtieth of a second away."""
MOST = 1.0
"""What never comes to rest is not waited for: Textual's limit."""
ROUNDS = 250
"""Nor without so many looks, of which a second has several times as many: where others have the processor for that
second, the app has done nothing in it."""


async def idle(min_sleep: float = 0.0, max_sleep: float = MOST) -> None:
    """Until no task can go on, no thread works for one, and no timer is due soon. In place of Textual's."""
    loop: Any = asyncio.get_running_loop()
    start, quiet, rounds = loop.time(), 0, 0
    while quiet < 3 and (loop.time() < start + max_sleep or rounds < ROUNDS):
        rounds += 1
        await asyncio.sleep(0)  # each looks once at descriptors as well
        due = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=loop.time() + max_sleep)
        if loop._ready:
            quiet = 0
        elif due <= loop.time() + max(SOON, min_sleep) or _threads_work(loop):
            quiet = 0
            await asyncio.sleep(0.001)
        else:
            quiet += 1


def _threads_work(loop: Any) -> bool:
    pool = loop._default_executor
    return pool is not None and (pool._work_queue.qsize() > 0 or pool._idle_semaphore._value < len(pool._threads))
