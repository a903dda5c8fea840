"""Tells when the disk has no room for what sidecars write down. They let nothing out then, from any bottle, and cannot
say so themselves: all that an operator would see is that nothing happens."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.controller.notices import Notices
from app.core.notices import Level, Notice
from app.core.units import room
from app.tasks import cancel_and_wait, spawn
from sidecar.spool import RESERVED_BYTES

LOOK_SECONDS = 10.0


class DiskRoom:
    """Looks at the disk of `folder` while a bottle lives, and until there is room again. `warning` is what to tell,
    empty while there is room."""

    def __init__(
        self, folder: Path, live: Callable[[], Sequence[object]], notices: Notices, *, seconds: float = LOOK_SECONDS
    ) -> None:
        self._folder = folder
        self._live = live
        self._notices = notices
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None
        self.warning = ""

    def start(self) -> None:
        self._task = spawn(self._follow(), name="room on the disk")

    async def close(self) -> None:
        await cancel_and_wait(self._task)

    async def _follow(self) -> None:
        while True:
            if self._live() or self.warning:
                self._tell(await asyncio.to_thread(_free, self._folder))
            await asyncio.sleep(self._seconds)

    def _tell(self, free: int) -> None:
        before, self.warning = self.warning, _shortage(free)
        if self.warning and not before:
            self._say("error", "Nothing leaves any bottle", self.warning)
        elif before and not self.warning:
            self._say("info", "The disk has room again", "requests leave bottles again")

    def _say(self, level: Level, title: str, text: str) -> None:
        self._notices.say(Notice(at=time.time(), about="disk", level=level, title=title, text=text))


def shortage(folder: Path) -> str:
    """What to tell of the disk of `folder`, empty while it has room."""
    return _shortage(_free(folder))


def _shortage(free: int) -> str:
    if free >= RESERVED_BYTES:
        return ""
    return (
        f"The disk is full: {room(free)} are left, {room(RESERVED_BYTES)} are needed to record what happens."
        " Nothing leaves any bottle until you make room"
    )


def _free(folder: Path) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0  # a sidecar that cannot look lets nothing out either
    return found.f_bavail * found.f_frsize
