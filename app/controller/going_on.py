"""The part of a launch that goes on from an earlier session: its files brought over, and back where the launch fails.

A resume moves them, by renames alone; a fork unpacks the snapshot. Decides nothing about sandboxes.
"""

import asyncio
import logging
import threading
from pathlib import Path

from app.backends import archives
from app.controller import saved
from app.controller.origin import Origin
from app.paths import Paths
from app.tasks import spawn

log = logging.getLogger(__name__)

GONE = "its saved files are gone: it begins with a fresh home"


class GoingOn:
    def __init__(self, origin: Origin, paths: Paths) -> None:
        self.origin = origin
        self._paths = paths
        self._aside: Path | None = None
        self._stop = threading.Event()
        self._unpacking: asyncio.Task[None] | None = None
        self.has_home = False

    @property
    def image(self) -> str | None:
        return None if self.origin.image is None else f"image:{self.origin.image}"

    @property
    def aside_name(self) -> str:
        return "" if self._aside is None else self._aside.name

    @property
    def aside(self) -> Path | None:
        return self._aside

    async def set_aside(self) -> None:
        made = self.origin
        self._aside = await asyncio.to_thread(saved.set_aside, self._paths, made.slug, made.session_id)

    async def put_back(self) -> None:
        if self._aside is not None:
            await asyncio.to_thread(saved.put_back, self._paths, self._aside)

    async def restore(self, state: Path) -> tuple[str, ...]:
        """Fill the new session's folders. Returns what the operator should know."""
        moved = [] if self._aside is None else await asyncio.to_thread(saved.move_on, self._aside, state)
        self.has_home = "home" in moved
        if self.has_home:
            return ()
        place = (self._aside or self.origin.state) / saved.FOLDER
        taken = self.origin.saved
        archived = None if taken is None else await asyncio.to_thread(saved.archives, place, taken)
        if archived is None:
            return (GONE,)
        folders = {name: state / name for name in saved.HELD if name not in moved}
        self._unpacking = spawn(
            asyncio.to_thread(archives.unpack, archived, folders, self._stop), name="unpack",
            on_error=lambda _: None,
        )  # fmt: skip
        await asyncio.shield(self._unpacking)
        self.has_home = True
        return ()

    async def end(self) -> None:
        """Nothing writes into the new folders any more."""
        self._stop.set()
        if self._unpacking is not None:
            await asyncio.wait([self._unpacking])
