"""A second thread for a long search, which runs without the interpreter's lock. Owns one small pool a process.

Work that no thread has begun when its result is wanted is done by the caller: a busy pool never makes a scan wait.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_WORKERS = 1
"""A third thread waits more for the interpreter than it gains (measured on two cores)."""
_lock = threading.Lock()
_pool: tuple[int, ThreadPoolExecutor] | None = None


def _executor() -> ThreadPoolExecutor:
    """This process's pool: one that was inherited over a fork has no threads."""
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid():
            _pool = os.getpid(), ThreadPoolExecutor(_WORKERS, thread_name_prefix="dlp")
        return _pool[1]


class Beside[T]:
    """`work`, begun on another thread where one is free; with `here`, done when its result is wanted."""

    def __init__(self, work: Callable[[], T], *, here: bool = False) -> None:
        self._work = work
        self._future: Future[T] | None = None
        if here:
            return
        try:
            self._future = _executor().submit(work)
        except RuntimeError:  # no thread can be started: at exit, or at the limit of processes
            self._future = None

    def result(self) -> T:
        """What `work` gives or raises."""
        if self._future is None or self._future.cancel():
            return self._work()
        return self._future.result()
