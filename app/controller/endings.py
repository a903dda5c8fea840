"""How an agent ended, as its session holder wrote it to disk; what cannot be read counts as unknown. And what of an end
could not be written at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.backends.base import Exit
from app.controller import leftovers
from app.controller.session import Session
from app.controller.spools import Spools
from app.core.model import Snapshot
from app.errors import CarboyError
from app.files import read_bounded

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""Until it is looked again whether a full disk has room."""
FILE = "exit.json"


class Ending(Snapshot):
    code: int
    at: float
    reason: str = ""


def read(folder: Path) -> Ending | None:
    try:
        return Ending.model_validate_json(read_bounded(folder / FILE, 65536, follow=False))
    except (OSError, ValidationError):
        return None


def read_exit(folder: Path) -> Exit | None:
    found = read(folder)
    return None if found is None else Exit(found.code, found.at)


def read_reason(folder: Path) -> str:
    found = read(folder)
    return "" if found is None else found.reason[:500]


def of(task: asyncio.Task[Any]) -> Exit | None:
    """What the wait for an agent gave; None where it was broken off."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


async def written(
    session: Session, spools: Spools, current: Callable[[], bool], spooled_out: Callable[[Session], Awaitable[None]]
) -> None:
    """Returns once all of a session that is over is on disk: its record, and what its sidecar wrote in the store, which
    may take neither while the disk is full. Or once it is not the `current` one of its name: the folder is not its own
    any more then."""
    spooled = False
    while current():
        try:
            spooled = spooled or await _brought_in(session, spools, spooled_out)
            if current() and not session.saved:
                session.update()
            if spooled:
                if current():  # and nothing is awaited from here on
                    leftovers.remove_tree(session.spool_folder)
                return
        except (CarboyError, OSError) as error:
            log.error("the end of %s cannot be written yet: %s", session.slug, error)
        await asyncio.sleep(RETRY_SECONDS)


async def _brought_in(session: Session, spools: Spools, spooled_out: Callable[[Session], Awaitable[None]]) -> bool:
    if not await spools.forget(session.id):
        return False
    await spooled_out(session)
    return True
