"""The restore point of a bottle that works in the project itself (`workspace: mount`): the project as it was before the
launch, so that what changed can be seen file by file, and put back.

A bounded copy beside the session's state. Repositories' own data and what tools can make again are left out, and named.
"""

import os
import threading
from pathlib import Path

from pydantic import Field, ValidationError

from app.backends import workspace
from app.backends.changes import LEFT_OUT
from app.core.model import Snapshot
from app.errors import CarboyError
from app.files import atomic_write, read_bounded

FOLDER, FILE = "restore", "restore.json"
MOST = (20_000, 256 * 1024 * 1024)
"""Files, bytes: a launch does not wait longer than about two seconds for it, and most projects are far smaller."""
MADE_AGAIN = frozenset(
    {"node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)
"""Folders that are left out wherever they are: what they hold was fetched or computed."""
_CACHE = "CACHEDIR.TAG"
"""Marks a folder that can be made again (bford.info/cachedir): cargo's `target` has one."""
_MOST_TAGGED = 1000


class Point(Snapshot):
    """What is beside the copy. Written last: without it there is no restore point."""

    left_out: tuple[str, ...] = Field(default=(), max_length=_MOST_TAGGED)


def take(project: Path, state: Path, stop: threading.Event) -> str:
    """Make it. Returns why there is none, in words; empty where there is one. Raises OSError, Cancelled."""
    tagged: list[str] = []

    def leave(path: str, folder: int) -> bool:
        if path == LEFT_OUT or path.rpartition("/")[2] in MADE_AGAIN:
            return True
        if len(tagged) < _MOST_TAGGED and _is_cache(folder):
            tagged.append(path)
            return True
        return False

    try:
        workspace.copy(project, state / FOLDER, stop, leave=leave, most=MOST)
    except CarboyError as error:
        why = f"the project has more than {MOST[0]:,} files, or {MOST[1] >> 20} MiB"
        if not isinstance(error, workspace.TooLarge):
            why = f"the project's folders are more than {workspace.MAX_DEPTH} deep"
        return f"no restore point: {why}, so `carboy diff` cannot say what changes"
    atomic_write(state / FILE, Point(left_out=tuple(tagged)).model_dump_json().encode(), 0o600)
    return ""


def load(state: Path) -> Point | None:
    """The restore point of a session; None where it has none that can be used."""
    try:
        found = Point.model_validate_json(read_bounded(state / FILE, 1024 * 1024, follow=False))
    except (OSError, ValidationError):
        return None
    return found if (state / FOLDER).is_dir() else None


def skips(point: Point, path: str) -> bool:
    """Whether a folder is not compared: it was left out, or is one of those that always are. Pure."""
    return path in point.left_out or path.rpartition("/")[2] in MADE_AGAIN


def _is_cache(folder: int) -> bool:
    try:
        os.stat(_CACHE, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
