"""Notices a bottle that went silent: no output and no egress for `stall_minutes`. Shows it, and decides nothing.

One timer for each bottle, set to the moment at which silence would have lasted long enough, and looked at again only
then: activity costs nothing, and nothing polls.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from app.controller.session import Session
from app.core.health import silence_left
from app.core.schema import Settings
from app.errors import CarboyError
from app.paths import Paths
from app.settings import load_settings


class Stall:
    """Follows one session from `start` to `close`; in between it sets and clears `stalled` in its view."""

    def __init__(self, session: Session, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._seconds = seconds
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._session.on_activity = self._active
        self._look()

    def close(self) -> None:
        self._session.on_activity = lambda: None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _active(self) -> None:
        """It did something. While a timer runs that is enough: it looks at the times itself."""
        if self._timer is None:
            self._look()

    def _look(self) -> None:
        self._timer = None
        left = silence_left(self._session.view, self._seconds, self._clock())
        if left > 0:
            self._wait(left)
        else:
            self._session.show(stalled=True)

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)


def last_sign(state: Path) -> float:
    """When a session did something last, by what it left on disk while no controller listened; 0 for never."""
    times = [0.0]
    for path in (state / "transcript.cast", *sorted((state / "spool").glob("*.jsonl"))[-1:]):
        with contextlib.suppress(OSError):
            times.append(os.lstat(path).st_mtime)
    return max(times)


def stall_seconds(paths: Paths) -> float:
    """Blocks."""
    try:
        return load_settings(paths).settings.stall_minutes * 60.0
    except CarboyError:  # every client shows that the file is broken; watching must go on
        return Settings().stall_minutes * 60.0
