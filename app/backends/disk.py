"""How much of the host's disk a session's folders take. They are a hostile agent's: walked by descriptor, past no link,
bounded in number."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from app.backends.workspace import MAX_DEPTH

MOST = 5_000_000
"""Files and folders; more than that are counted as they are by then."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512


def used(folders: Iterable[Path]) -> int:
    """Bytes, as the file system gives them out (a sparse file counts what is in it, a second name nothing)."""
    count = _Count()
    for folder in folders:
        with contextlib.suppress(OSError):
            fd = os.open(folder, _FOLDER)
            try:
                count.folder(fd, 0)
            finally:
                os.close(fd)
    return count.bytes


class _Count:
    def __init__(self) -> None:
        self.bytes = 0
        self.left = MOST
        self._seen = set[tuple[int, int]]()

    def folder(self, fd: int, depth: int) -> None:
        with os.scandir(fd) as entries:
            for entry in entries:
                self.left -= 1
                if self.left < 0:
                    return
                with contextlib.suppress(OSError):
                    self._one(fd, entry.name, depth)

    def _one(self, parent: int, name: str, depth: int) -> None:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            if (info.st_dev, info.st_ino) in self._seen:
                return
            self._seen.add((info.st_dev, info.st_ino))
        self.bytes += info.st_blocks * _BLOCK
        if stat.S_ISDIR(info.st_mode) and depth < MAX_DEPTH:
            fd = os.open(name, _FOLDER, dir_fd=parent)
            try:
                self.folder(fd, depth + 1)
            finally:
                os.close(fd)
