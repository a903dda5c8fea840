"""The only ways to start asyncio's work on the host side: a task (the sidecar's, under the app's name), and the loop of
a command."""

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any

from sidecar.tasks import cancel_and_wait, spawn

__all__ = ["cancel_and_wait", "run", "spawn"]


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` for a command: SIGTERM ends it as ctrl+c does, so that what it began is undone. Raises SystemExit
    then, with the code that a shell has for it."""
    ended: list[int] = []

    async def heard() -> T:
        task = asyncio.current_task()
        assert task is not None

        def terminated() -> None:
            if not ended:  # the first one: what undoes is not broken off
                ended.append(128 + signal.SIGTERM)
                task.cancel()

        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated)
        return await work

    try:
        return asyncio.run(heard())
    except asyncio.CancelledError:
        if ended:
            sys.exit(ended[0])
        raise
