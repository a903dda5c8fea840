"""A private copy of the project for `workspace: copy`: every backend shows it in the project's place.

The project is another session's work, perhaps a hostile one's: every step is by descriptor below it, no link is ever
followed (links are copied as links), and only folders, files and links are taken. Reads the project, never writes it.
"""

import errno
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.errors import CarboyError

FOLDER = "workspace"
"""Its name in a session's state folder, where it stays: what the agent did is nowhere else."""
MAX_DEPTH = 200
"""Levels of folders: paths that people make have a dozen; one descriptor and one call frame is held for each."""
_FICLONE = 0x40049409  # linux/fs.h: share the blocks (btrfs, xfs, bcachefs), copied when one side is written
_CHUNK, _PIECE = 64 * 1024 * 1024, 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Cancelled(Exception):
    """The copying was told to stop."""


@dataclass
class Copied:
    """What was taken, and what could not be (unreadable for us, or no file at all: sockets, devices)."""

    files: int = 0
    size: int = 0
    left_out: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.left_out:
            return ()
        return (f"{self.left_out} entries of the project could not be copied: unreadable, or no files",)


type Most = tuple[int, int]
"""Files, bytes."""
type Leave = Callable[[str, int], bool]
"""Whether a folder of the project (its path, its descriptor) is left out as a whole."""


class TooLarge(CarboyError):
    """More than the caller allows."""


def copy(
    source: Path,
    target: Path,
    stop: threading.Event,
    *,
    leave: Leave | None = None,
    most: Most | None = None,
) -> Copied:
    """Copy the folder `source` to `target`, which must not exist; at most `most` files and bytes, where that is given.
    Raises OSError, CarboyError, Cancelled."""
    with _opened(os.open(source, _FOLDER)) as folder:
        return copy_opened(folder, target, stop, leave=leave, most=most)


def copy_opened(
    folder: int, target: Path, stop: threading.Event, *, leave: Leave | None = None, most: Most | None = None
) -> Copied:
    """The same, of a folder that is open for reading already."""
    work = _Copying(stop, leave, most)
    os.mkdir(target, 0o700)
    with _opened(os.open(target, _FOLDER)) as new:
        work.folder(folder, new, "", 0)
    return work.done


class _Copying:
    def __init__(self, stop: threading.Event, leave: Leave | None, most: Most | None) -> None:
        self.done = Copied()
        self._stop = stop
        self._leave = leave
        self._most = most
        self._root = os.geteuid() == 0
        self._clones = True

    def folder(self, old: int, new: int, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise CarboyError("The project's folders are too deep to be copied", "Use `workspace: mount`", "workspace")
        with os.scandir(old) as entries:
            for entry in entries:
                if self._stop.is_set():
                    raise Cancelled
                try:
                    self._entry(old, new, entry.name, path + entry.name, depth)
                except OSError as error:
                    if error.errno not in UNREADABLE:
                        raise
                    self.done.left_out += 1
        self._finish(os.fstat(old), new)

    def _entry(self, old: int, new: int, name: str, path: str, depth: int) -> None:
        info = os.stat(name, dir_fd=old, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            with _opened(os.open(name, _FOLDER, dir_fd=old)) as folder:
                if self._leave is not None and self._leave(path, folder):
                    return
                os.mkdir(name, 0o700, dir_fd=new)
                with _opened(os.open(name, _FOLDER, dir_fd=new)) as copied:
                    self.folder(folder, copied, path + "/", depth + 1)
        elif stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
            if self._root:
                os.chown(name, info.st_uid, info.st_gid, dir_fd=new, follow_symlinks=False)
        elif stat.S_ISREG(info.st_mode):
            with _opened(os.open(name, _FILE, dir_fd=old)) as file:
                if not stat.S_ISREG(os.fstat(file).st_mode):  # it was replaced meanwhile
                    raise OSError(errno.ENXIO, "not a file")
                with _opened(os.open(name, _NEW, 0o600, dir_fd=new)) as copied:
                    self._content(file, copied)
        else:
            self.done.left_out += 1

    def _content(self, old: int, new: int) -> None:
        info = os.fstat(old)
        files, size = self._most or (sys.maxsize, sys.maxsize)
        if self.done.files >= files or self.done.size + info.st_size > size:
            raise TooLarge("The project is too large for that", "", "workspace")
        if not (self._clones and self._clone(old, new)):
            copy_content(old, new, info.st_size, self._stop)
        self.done.files += 1
        self.done.size += info.st_size
        self._finish(info, new)

    def _clone(self, old: int, new: int) -> bool:
        try:
            fcntl.ioctl(new, _FICLONE, old)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._clones = False  # two file systems, or one that cannot: it will not for the next file either
            return False
        return True

    def _finish(self, info: os.stat_result, new: int) -> None:
        """Owner, permissions without set-uid, and times, as the original has them."""
        if self._root:
            os.fchown(new, info.st_uid, info.st_gid)
        os.fchmod(new, stat.S_IMODE(info.st_mode) & 0o777)
        os.utime(new, ns=(info.st_atime_ns, info.st_mtime_ns))


def copy_content(old: int, new: int, size: int, stop: threading.Event | None = None) -> None:
    """Copy `size` bytes and no more: the file may grow for ever meanwhile; where it became shorter, the copy ends in a
    hole. Holes stay holes: a file of terabytes may have none on disk. Raises OSError, Cancelled."""
    in_kernel = hasattr(os, "copy_file_range")
    for start, end in _data(old, size):
        at = start
        while at < end:
            if stop is not None and stop.is_set():
                raise Cancelled
            if in_kernel:
                try:
                    done = os.copy_file_range(old, new, min(end - at, _CHUNK), at, at)
                except OSError as error:
                    if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                        raise
                    in_kernel = False
                    continue
            else:
                done = os.pwrite(new, os.pread(old, min(end - at, _PIECE), at), at)
            if not done:
                break
            at += done
    os.ftruncate(new, size)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has content on disk: from, to."""
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here
                return
            end = size  # a file system that knows no holes
        yield at, min(end, size)
        at = end


UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EAGAIN})
"""Of one entry: not ours to read, gone or changed while we looked, or kept shut by a lease (fcntl(2), F_SETLEASE)."""


@contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
