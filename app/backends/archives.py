"""A session's folders as compressed archives, and back: what of a bottle's state lies on this host's disk.

The folders are a hostile agent's: every step is by descriptor below them, no link is followed, only folders, files and
links are taken. Streamed, and bounded by the caller. Reads or writes nothing outside what it is given.
"""

import contextlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from app.backends import parts
from app.backends.parts import CHUNK, FOLDER, NEW, READ, Open, Parts, entry
from app.backends.workspace import MAX_DEPTH, Cancelled
from app.errors import CarboyError

MAX_ENTRIES = 5_000_000


@dataclass
class Packed:
    """What was taken; `size` are the files' bytes before compression. `parts` hold the files; `taken_over`: how many of
    them an earlier attempt had made."""

    files: int = 0
    size: int = 0
    left_out: int = 0
    parts: tuple[str, ...] = ()
    taken_over: int = 0


def pack(folders: Mapping[str, Path], target: Path, stop: threading.Event, most: int) -> Packed:
    """Write `target`, which must not exist: folders and links; and parts with the files beside it. What an attempt that
    was broken off left whole is taken over. Raises OSError, Cancelled, or CarboyError beyond `most` bytes."""
    done = Packed()
    former = parts.still_true(target.parent, folders, stop)
    skip = {path for files in former.values() for path in files}
    frame, made = Open(target), Parts(target.parent, list(former))
    try:
        work = _Packing(frame.tar, made, skip, done, stop, most)
        for name, folder in folders.items():
            opened = os.open(folder, FOLDER)
            try:
                work.folder(opened, name, 0)
            finally:
                os.close(opened)
        made.close()
        frame.close()
    except BaseException:
        made.abandon()
        frame.abandon()
        target.unlink(missing_ok=True)
        raise
    done.parts, done.taken_over = tuple(made.names), len(former)
    return done


class _Packing:
    def __init__(
        self, frame: tarfile.TarFile, made: Parts, skip: set[str], done: Packed, stop: threading.Event, most: int
    ) -> None:
        self._frame, self._parts, self._skip = frame, made, skip
        self._done, self._stop, self._most = done, stop, most

    def folder(self, fd: int, name: str, depth: int) -> None:
        self._frame.addfile(entry(name, os.fstat(fd), tarfile.DIRTYPE))
        with os.scandir(fd) as entries:
            for found in entries:
                if self._stop.is_set():
                    raise Cancelled
                try:
                    self._one(fd, found.name, f"{name}/{found.name}", depth + 1)
                except (PermissionError, FileNotFoundError, BlockingIOError):  # the last one: a lease keeps it shut
                    self._done.left_out += 1

    def _one(self, parent: int, name: str, path: str, depth: int) -> None:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) and depth <= MAX_DEPTH:
            fd = os.open(name, FOLDER, dir_fd=parent)
            try:
                self.folder(fd, path, depth)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(info.st_mode):
            link = entry(path, info, tarfile.SYMTYPE)
            link.linkname = os.readlink(name, dir_fd=parent)
            self._frame.addfile(link)
        elif stat.S_ISREG(info.st_mode):
            fd = os.open(name, READ, dir_fd=parent)
            with open(fd, "rb", buffering=0) as file:
                self._file(file, path)
        else:
            self._done.left_out += 1

    def _file(self, file: Any, path: str) -> None:
        info = os.fstat(file.fileno())
        self._done.files += 1
        self._done.size += info.st_size
        if self._done.size > self._most or self._done.files > MAX_ENTRIES:
            raise CarboyError(
                f"The bottle's files are more than {self._most >> 20} MiB", "Raise `limits.disk`, or clear up in it",
                "snapshot_size",
            )  # fmt: skip
        if path not in self._skip:
            self._parts.add(path, file, info)


def unpack(archives: Sequence[Path], folders: Mapping[str, Path], stop: threading.Event) -> None:
    """Fill the folders, which must not exist, from archives of ours: that of folders and links first, then its parts.
    Raises OSError, Cancelled or CarboyError.

    Links are made last, so that nothing is written through one.
    """
    links: list[tuple[Path, tarfile.TarInfo]] = []
    made: list[tuple[Path, tarfile.TarInfo]] = []
    for archive in archives:
        with _reading(archive) as entries:
            for one in entries:
                if stop.is_set():
                    raise Cancelled
                path = _target(one.name, folders)
                if path is None:
                    continue
                if one.isdir():
                    path.mkdir(mode=0o700)
                    made.append((path, one))
                elif one.issym():
                    links.append((path, one))
                elif one.isreg():
                    _write(path, one, entries.extractfile(one))
    for path, one in links:
        path.symlink_to(one.linkname)
        _own(path, one)
    for path, one in reversed(made):
        _own(path, one)
        path.chmod(one.mode)
        os.utime(path, (one.mtime, one.mtime))


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with (
            open(os.open(archive, READ), "rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as entries,
        ):
            yield entries
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise CarboyError(f"The snapshot is damaged: {error}", "Take an older one, or start anew", "snapshot") from None


def _target(name: str, folders: Mapping[str, Path]) -> Path | None:
    key, _, rest = name.partition("/")
    names = rest.split("/") if rest else []
    if any(part in ("", ".", "..") for part in names):
        raise CarboyError("The snapshot is damaged: it names a path outside", "", "snapshot")
    return folders[key].joinpath(*names) if key in folders else None


def _write(path: Path, one: tarfile.TarInfo, content: Any) -> None:
    with open(os.open(path, NEW, 0o600), "wb") as file:
        while data := content.read(CHUNK):
            file.write(data)
        os.fchmod(file.fileno(), one.mode)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), one.uid, one.gid)
    os.utime(path, (one.mtime, one.mtime))


def _own(path: Path, one: tarfile.TarInfo) -> None:
    if os.geteuid() == 0:
        os.chown(path, one.uid, one.gid, follow_symlinks=False)
