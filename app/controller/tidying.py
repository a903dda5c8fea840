"""Takes away what is old, every few minutes for as long as the controller runs: traces, and rows of the store. Beside
the loop; what fails is in the log and tried again the next time."""

import asyncio
import logging
import shutil
import time

from app.controller import saved
from app.controller.traces import Traces
from app.errors import CarboyError
from app.paths import Paths
from app.settings import load_settings
from app.store import pruning
from app.store.base import Store
from app.store.pruning import Pruned

log = logging.getLogger(__name__)

TIDY_SECONDS = 600.0
"""What a flood of lines may add to a bound meanwhile is some megabytes for each bottle."""


async def keep_tidy(paths: Paths, store: Store, traces: Traces) -> None:
    """For ever."""
    while True:
        try:
            await asyncio.to_thread(traces.tidy, time.time())
        except OSError as error:
            log.warning("traces could not be tidied: %s", error)
        try:
            await prune(paths, store)
        except CarboyError as error:
            log.warning("nothing old is removed from the store: %s", error)
        except Exception:
            log.exception("old rows of the store could not be removed")
        try:
            await shrink(paths, store)
        except (CarboyError, OSError) as error:
            log.warning("the store's file could not be made smaller: %s", error)
        await asyncio.sleep(TIDY_SECONDS)


async def prune(paths: Paths, store: Store) -> None:
    """One round. A settings file that cannot be read might say that all is kept: then nothing goes."""
    keep = (await asyncio.to_thread(load_settings, paths)).settings.keep
    kept = await asyncio.to_thread(saved.kept_ids, paths)
    gone = await store.prune(time.time(), kept, keep)
    if gone != Pruned():
        log.info("made room: %d lines, %d rows of usage, %d proposals", gone.lines, gone.usage, gone.proposals)


async def shrink(paths: Paths, store: Store) -> None:
    """The file anew without what is free in it: written beside first, so only where the disk has room for that."""
    room = await asyncio.to_thread(shutil.disk_usage, paths.state)
    if room.free > 4 * pruning.MOST_LEFT and (gone := await store.shrink()):
        log.info("the store's file is %d MiB smaller", gone >> 20)
