"""The only way to start an asyncio task: named, held, and loud when it fails.

A bare `asyncio.create_task` keeps no reference (the task may be collected while it runs) and hides its exception
until nobody looks; the linter bans it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)
_running: set[asyncio.Task[Any]] = set()


def spawn[T](
    coro: Coroutine[Any, Any, T],
    *,
    name: str,
    on_error: Callable[[BaseException], None] | None = None,
) -> asyncio.Task[T]:
    """Start `coro` as a task that is held until it ends.

    An exception other than cancellation goes to `on_error`, or to the log under the task's name. It is not raised
    again unless the caller awaits the task.
    """
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)

    def done(ended: asyncio.Task[T]) -> None:
        _running.discard(ended)
        if ended.cancelled():
            return
        error = ended.exception()
        if error is None:
            return
        if on_error is not None:
            on_error(error)
        else:
            log.error("task %s failed", name, exc_info=error)

    task.add_done_callback(done)
    return task


async def cancel_and_wait(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks and wait until each has ended; their own exceptions are swallowed (they were reported)."""
    live = [task for task in tasks if task is not None and not task.done()]
    for task in live:
        task.cancel()
    await asyncio.gather(*live, return_exceptions=True)
