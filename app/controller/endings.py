"""How an agent ended, as its session holder wrote it to disk. Reads only; what cannot be read counts as unknown."""

import asyncio
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.backends.base import Exit
from app.core.model import Snapshot
from app.files import read_bounded

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
