"""How much of the host's disk a session's folders take. They are a hostile agent's: walked by descriptor, past no link,
bounded in number, to any depth."""

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOST = 5_000_000
"""Files and folders; more than that are counted as they are by then."""
HELD = 64
"""Levels of folders that are held open; those above are opened again from below."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512


def used(folders: Iterable[Path]) -> int:
    """Bytes, as the file system gives them out (a sparse file counts what is in it, a second name nothing)."""
    count = _Count()
    for folder in folders:
        with contextlib.suppress(OSError):
            count.tree(os.open(folder, _FOLDER))
    return count.bytes


@dataclass
class _Level:
    """One folder on the way down: which it is, what is left of it, and where it is open."""

    place: tuple[int, int]
    left: list[str]
    fd: int


class _Count:
    def __init__(self) -> None:
        self.bytes = 0
        self.left = MOST
        self._seen = set[tuple[int, int]]()

    def tree(self, fd: int) -> None:
        """All below `fd`, which is closed. Ends early where a folder is moved meanwhile: the next look sees it."""
        way = [self._entered(fd)]
        try:
            while way and self.left >= 0:
                if way[-1].left:
                    with contextlib.suppress(OSError):
                        way.append(self._entered(os.open(way[-1].left.pop(), _FOLDER, dir_fd=way[-1].fd)))
                        _close(way[-HELD - 1 : -HELD])
                elif not _back(way):
                    return
        finally:
            _close(way)

    def _entered(self, fd: int) -> _Level:
        level = _Level(_place(os.fstat(fd)), [], fd)
        with contextlib.suppress(OSError), os.scandir(fd) as entries:
            for entry in entries:
                self.left -= 1
                if self.left < 0:
                    break
                with contextlib.suppress(OSError):
                    self._one(level, entry.name)
        return level

    def _one(self, level: _Level, name: str) -> None:
        info = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            level.left.append(name)
        elif info.st_nlink > 1:
            if _place(info) in self._seen:
                return
            self._seen.add(_place(info))
        self.bytes += info.st_blocks * _BLOCK


def _back(way: list[_Level]) -> bool:
    """From the last folder to the one above it; False where that is another by now."""
    done = way.pop()
    try:
        if way and way[-1].fd < 0:
            above = os.open("..", _FOLDER, dir_fd=done.fd)
            if _place(os.fstat(above)) != way[-1].place:
                os.close(above)
                return False
            way[-1].fd = above
    except OSError:
        return False
    finally:
        _close([done])
    return True


def _place(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _close(levels: list[_Level]) -> None:
    for level in levels:
        if level.fd >= 0:
            os.close(level.fd)
            level.fd = -1
