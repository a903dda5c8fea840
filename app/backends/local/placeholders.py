"""Remembers on disk which empty folders stand in the operator's project for masked paths, and removes them when the
last session that needs them ends. Removes nothing but empty folders, past no symlink."""

import contextlib
import json
import os
from pathlib import Path

from app.backends.local import mounts
from app.backends.masks import STAND_INS

_RECORD = "placeholders.json"


def record(state: Path, project: str, paths: list[str]) -> None:
    """Note that this session relies on them."""
    target = state / _RECORD
    temporary = target.with_suffix(".new")
    temporary.write_text(json.dumps({"project": project, "paths": paths}))
    temporary.replace(target)


def forget(state: Path) -> list[str]:
    """This session has ended: remove its placeholders but those that another one still relies on. Idempotent."""
    own = _read(state / _RECORD)
    if own is None:
        return []
    project, paths = own
    (state / _RECORD).unlink(missing_ok=True)
    others = {path for other in _others(state) if other[0] == project for path in other[1]}
    return [path for path in paths if path not in others and _remove(project, path)]


def _others(state: Path) -> list[tuple[str, list[str]]]:
    found = [_read(file) for file in state.parent.glob(f"*/{_RECORD}")]
    return [entry for entry in found if entry is not None]


def _read(file: Path) -> tuple[str, list[str]] | None:
    try:
        data = json.loads(file.read_text())
        return str(data["project"]), [str(path) for path in data["paths"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(project: str, path: str) -> bool:
    """Only an empty folder goes, or a file that says what we wrote; with anything else in it, it is not ours."""
    parent, _, name = path.rpartition("/")
    with contextlib.suppress(OSError):
        root = os.open(project, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            folder = mounts.open_beneath(root, parent or ".", os.O_PATH | os.O_DIRECTORY)
        finally:
            os.close(root)
        try:
            if path in STAND_INS:
                _remove_stand_in(folder, name, STAND_INS[path])
            else:
                os.rmdir(name, dir_fd=folder)
        finally:
            os.close(folder)
        return True
    return False


def _remove_stand_in(folder: int, name: str, content: bytes) -> None:
    fd = mounts.open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.read(fd, len(content) + 1)
    finally:
        os.close(fd)
    if found == content:
        os.unlink(name, dir_fd=folder)
