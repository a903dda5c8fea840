"""A session's folders as one compressed archive, and back: what of a bottle's state lies on this host's disk.

The folders are a hostile agent's: every step is by descriptor below them, no link is followed, only folders, files and
links are taken. Streamed, and bounded by the caller. Reads or writes nothing outside what it is given.
"""

import contextlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from app.backends.workspace import MAX_DEPTH, Cancelled
from app.errors import CarboyError

LEVEL = 1
"""Of zstd: a snapshot is waited for, and a bottle is paused meanwhile."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1024 * 1024
MAX_ENTRIES = 5_000_000


@dataclass
class Packed:
    """What was taken; `size` are the files' bytes before compression."""

    files: int = 0
    size: int = 0
    left_out: int = 0


def pack(folders: Mapping[str, Path], target: Path, stop: threading.Event, most: int) -> Packed:
    """Write `target`, which must not exist. Raises OSError, Cancelled, or CarboyError beyond `most` bytes."""
    done = Packed()
    fd = os.open(target, _NEW, 0o600)
    with open(fd, "wb") as file:
        with (
            zstandard.ZstdCompressor(level=LEVEL).stream_writer(file, closefd=False) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as archive,
        ):
            work = _Packing(archive, done, stop, most)
            for name, folder in folders.items():
                opened = os.open(folder, _FOLDER)
                try:
                    work.folder(opened, name, 0)
                finally:
                    os.close(opened)
        file.flush()
        os.fsync(file.fileno())
    return done


class _Packing:
    def __init__(self, archive: tarfile.TarFile, done: Packed, stop: threading.Event, most: int) -> None:
        self._archive, self._done, self._stop, self._most = archive, done, stop, most

    def folder(self, fd: int, name: str, depth: int) -> None:
        self._archive.addfile(_entry(name, os.fstat(fd), tarfile.DIRTYPE))
        with os.scandir(fd) as entries:
            for entry in entries:
                if self._stop.is_set():
                    raise Cancelled
                try:
                    self._one(fd, entry.name, f"{name}/{entry.name}", depth + 1)
                except (PermissionError, FileNotFoundError):
                    self._done.left_out += 1

    def _one(self, parent: int, name: str, path: str, depth: int) -> None:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) and depth <= MAX_DEPTH:
            fd = os.open(name, _FOLDER, dir_fd=parent)
            try:
                self.folder(fd, path, depth)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(info.st_mode):
            entry = _entry(path, info, tarfile.SYMTYPE)
            entry.linkname = os.readlink(name, dir_fd=parent)
            self._archive.addfile(entry)
        elif stat.S_ISREG(info.st_mode):
            fd = os.open(name, _FILE, dir_fd=parent)
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
        self._archive.addfile(_entry(path, info, tarfile.REGTYPE), _Exact(file, info.st_size))


class _Exact:
    """Exactly as many bytes as were announced: the file may grow or shrink while it is read."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._left = file, size

    def read(self, wanted: int = -1) -> bytes:
        size = self._left if wanted < 0 else min(wanted, self._left)
        data = self._file.read(size)
        data += bytes(size - len(data)) if not data and size else b""
        self._left -= len(data)
        if len(data) < size:  # a short read is no end for tarfile
            data += self.read(size - len(data))
        return data


def _entry(path: str, info: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.mtime = kind, stat.S_IMODE(info.st_mode) & 0o777, info.st_mtime
    entry.uid, entry.gid = info.st_uid, info.st_gid
    entry.size = info.st_size if kind == tarfile.REGTYPE else 0
    return entry


def unpack(archive: Path, folders: Mapping[str, Path], stop: threading.Event) -> None:
    """Fill the folders, which must not exist, from an archive of ours. Raises OSError, Cancelled or CarboyError.

    Links are made last, so that nothing is written through one.
    """
    links: list[tuple[Path, tarfile.TarInfo]] = []
    made: list[tuple[Path, tarfile.TarInfo]] = []
    with _reading(archive) as entries:
        for entry in entries:
            if stop.is_set():
                raise Cancelled
            path = _target(entry.name, folders)
            if path is None:
                continue
            if entry.isdir():
                path.mkdir(mode=0o700)
                made.append((path, entry))
            elif entry.issym():
                links.append((path, entry))
            elif entry.isreg():
                _write(path, entry, entries.extractfile(entry))
    for path, entry in links:
        path.symlink_to(entry.linkname)
        _own(path, entry)
    for path, entry in reversed(made):
        _own(path, entry)
        path.chmod(entry.mode)
        os.utime(path, (entry.mtime, entry.mtime))


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with (
            open(os.open(archive, _FILE), "rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as entries,
        ):
            yield entries
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise CarboyError(f"The snapshot is damaged: {error}", "Take an older one, or start anew", "snapshot") from None


def _target(name: str, folders: Mapping[str, Path]) -> Path | None:
    key, _, rest = name.partition("/")
    parts = rest.split("/") if rest else []
    if any(part in ("", ".", "..") for part in parts):
        raise CarboyError("The snapshot is damaged: it names a path outside", "", "snapshot")
    return folders[key].joinpath(*parts) if key in folders else None


def _write(path: Path, entry: tarfile.TarInfo, content: Any) -> None:
    with open(os.open(path, _NEW, 0o600), "wb") as file:
        while data := content.read(_CHUNK):
            file.write(data)
        os.fchmod(file.fileno(), entry.mode)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), entry.uid, entry.gid)
    os.utime(path, (entry.mtime, entry.mtime))


def _own(path: Path, entry: tarfile.TarInfo) -> None:
    if os.geteuid() == 0:
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
