"""The folders on disk behind a sandbox's home, and the files placed in it before the agent starts. An earlier session
may have left symlinks there: nothing follows one."""

import contextlib
import os

from app.backends.base import BoxSpec, FileIn
from app.backends.local import mounts
from app.backends.local.layout import home_files


def prepare(spec: BoxSpec) -> None:
    """Make the folders, private to the user, and write the files. Raises OSError."""
    for name in ("home", "private"):
        (spec.state / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    root = os.open(spec.state / "home", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for file in home_files(spec):
            _write(root, file)
    finally:
        os.close(root)


def _write(root: int, file: FileIn) -> None:
    parent, _, name = file.target.rpartition("/")
    folder = _folder(root, parent)
    try:
        # a new file in place of whatever is there: an agent may have left a link, or hold the old one open
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        fd = mounts.open_beneath(folder, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
        with os.fdopen(fd, "wb") as stream:
            os.fchmod(fd, file.mode)
            stream.write(file.content)
    finally:
        os.close(folder)


def _folder(root: int, path: str) -> int:
    """The folder at `path` below `root`, made where it is missing."""
    current = os.dup(root)
    for part in [part for part in path.split("/") if part]:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=current)
        try:
            deeper = mounts.open_beneath(current, part, os.O_PATH | os.O_DIRECTORY)
        finally:
            os.close(current)
        current = deeper
    return current
