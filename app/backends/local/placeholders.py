"""Remembers on disk which empty folders stand in the operator's project for masked paths, and removes them when the
last session that needs them ends. Removes nothing but empty folders, past no symlink.

Who places or removes them is `alone` in that project meanwhile: else one session's end takes away what another is just
about to cover.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.backends.local import mounts
from app.backends.masks import GUARD, LOCKED, OWN_WORKTREES, WORKTREES, stand_in, worktrees
from app.core.schema import Mask

log = logging.getLogger(__name__)

_RECORD = "placeholders.json"
_LOCK = ".placeholders.lock"
LOCK_SECONDS = 20.0
"""Covering a project takes milliseconds, on a slow network file system seconds."""
_TRY_AGAIN = 0.005
_FLOCK = "hhqqi4x"  # struct flock of fcntl(2), with its padding at the end


@contextmanager
def alone(state: Path, project: str, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Nobody else of this state folder's sessions places or removes anything in `project` meanwhile. The lock is one
    byte of one file that stays, and belongs to the open file: a forked child that outlives its killed parent goes on
    holding it. Raises TimeoutError or OSError."""
    fd = os.open(state.parent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(fd, int.from_bytes(hashlib.sha256(os.fsencode(project)).digest()[:7]), time.monotonic() + seconds)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, byte: int, deadline: float) -> None:
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
        except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES, another has it
            if time.monotonic() > deadline:
                raise TimeoutError("another session holds this project's masks") from None
            time.sleep(_TRY_AGAIN)
        else:
            return


@contextmanager
def placing(
    state: Path, project: str, masks: Iterable[Mask], *, writable: bool
) -> Iterator[Callable[[Iterable[str]], None]]:
    """Alone in the project while its masks are applied; call what it gives with all the placeholders that then stand.

    What is about to be made is on record before it exists: whoever finds this process killed removes it. An empty
    folder that stood there before, and is no other session's, is the operator's own, and stays at the end.
    """
    with alone(state, project):
        made = _missing(project, masks) if writable else []
        record(state, project, made)

        def stand(paths: Iterable[str]) -> None:
            ours = {*made, *_others(state, project)}
            record(state, project, [path for path in paths if path in ours])

        yield stand


def _missing(project: str, masks: Iterable[Mask]) -> list[str]:
    """Where something has to stand for a mask: the first part of each path that is missing now."""
    found: list[str] = []
    masks, names = tuple(masks), list[str]()
    with contextlib.suppress(OSError):
        names = os.listdir(os.path.join(project, WORKTREES))
    masks = (*masks, *worktrees(masks, names))
    if OWN_WORKTREES in masks and os.path.isdir(os.path.join(project, ".git")):
        found = [path for path in (WORKTREES, GUARD, LOCKED) if not os.path.lexists(os.path.join(project, path))]
    for mask in masks:
        parts = mask.path.split("/") if mask.mode != "allow" else []
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            if not os.path.lexists(os.path.join(project, here)):
                found.append(here)
                break
    return list(dict.fromkeys(found))


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
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(state, project))
        except OSError as error:
            # whoever is covering there now makes again what is missing, or fails: it never goes uncovered
            log.warning("the masks of %s are removed without their lock: %s", project, error)
        (state / _RECORD).unlink(missing_ok=True)
        others = _others(state, project)
        inner = sorted(paths, key=lambda path: -path.count("/"))
        return [path for path in inner if path not in others and _remove(project, path)]


def _others(state: Path, project: str) -> frozenset[str]:
    """What other sessions rely on in the project."""
    found = [_read(file) for file in state.parent.glob(f"*/{_RECORD}") if file.parent != state]
    return frozenset(path for entry in found if entry is not None and entry[0] == project for path in entry[1])


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
            if (content := stand_in(path)) is not None:
                _remove_stand_in(folder, name, content)
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
