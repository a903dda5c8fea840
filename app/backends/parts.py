"""The parts of a snapshot: archives of some tens of megabytes of files each, with a list of what is in it. A snapshot
that was broken off leaves its whole parts; the next one takes over those whose files are the same, by content.

Writes below one folder of ours; what it reads is a hostile agent's, by descriptor below the given folders.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from app.backends.local import mounts
from app.backends.workspace import Cancelled
from app.files import atomic_write, read_bounded

LEVEL = 1
"""Of zstd: a snapshot is waited for, and a bottle is paused meanwhile."""
BYTES, FILES = 64 * 1024 * 1024, 20_000
"""Of files in a part; a larger file is a part of its own. So much is done again after a kill, no more."""
SUFFIX, LIST = ".tar.zst", ".json"
MAX_LIST = 256 * 1024 * 1024
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CHUNK = 1024 * 1024

type Known = tuple[int, int, int, int, int, str]
"""Size, time of change in nanoseconds, mode, owner, group, SHA-256: all that a part holds of a file."""


class Open:
    """An archive that is being written: a part, or the one with folders and links. On disk as a whole once `close` has
    returned."""

    def __init__(self, path: Path) -> None:
        self._stack = contextlib.ExitStack()
        self._file: Any = self._stack.enter_context(os.fdopen(os.open(path, NEW, 0o600), "wb"))
        squeezed = self._stack.enter_context(
            zstandard.ZstdCompressor(level=LEVEL).stream_writer(self._file, closefd=False)
        )
        self.tar = tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK)  # noqa: SIM115
        self._squeezed = squeezed

    def close(self) -> None:
        self.tar.close()
        self._squeezed.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._stack.close()

    def abandon(self) -> None:
        with contextlib.suppress(Exception):
            self.tar.close()
        with contextlib.suppress(Exception):
            self._stack.close()


@dataclass
class Parts:
    """Writes parts into `place`, one after the other. `names` are those that are whole, taken over ones as well."""

    place: Path
    names: list[str] = field(default_factory=list[str])
    _open: Open | None = None
    _name: str = ""
    _size: int = 0
    _list: dict[str, Known] = field(default_factory=dict[str, Known])

    def add(self, path: str, file: Any, info: os.stat_result) -> None:
        if self._open is None:
            self._name = f"part-{secrets.token_hex(6)}"
            self._open = Open(self.place / f"{self._name}{SUFFIX}")
        content = Exact(file, info.st_size)
        self._open.tar.addfile(entry(path, info, tarfile.REGTYPE), content)
        self._list[path] = known(info, content.digest.hexdigest())
        self._size += info.st_size
        if self._size >= BYTES or len(self._list) >= FILES:
            self.close()

    def close(self) -> None:
        """The part that is open is whole: its list says so, and comes last."""
        if self._open is None:
            return
        self._open.close()
        atomic_write(self.place / f"{self._name}{LIST}", json.dumps(self._list).encode())
        self.names.append(self._name + SUFFIX)
        self._open, self._list, self._size = None, {}, 0

    def abandon(self) -> None:
        """What is not whole goes; whole ones stay for the next attempt."""
        if self._open is not None:
            self._open.abandon()
            (self.place / f"{self._name}{SUFFIX}").unlink(missing_ok=True)
            self._open = None


class Exact:
    """Exactly as many bytes as were announced: the file may grow or shrink while it is read."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._left = file, size
        self.digest = hashlib.sha256()

    def read(self, wanted: int = -1) -> bytes:
        size = self._left if wanted < 0 else min(wanted, self._left)
        data = self._file.read(size)
        data += bytes(size - len(data)) if not data and size else b""
        self._left -= len(data)
        self.digest.update(data)
        if len(data) < size:  # a short read is no end for tarfile
            data += self.read(size - len(data))
        return data


def entry(path: str, info: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    made = tarfile.TarInfo(path)
    made.type, made.mode, made.mtime = kind, stat.S_IMODE(info.st_mode) & 0o777, info.st_mtime
    made.uid, made.gid = info.st_uid, info.st_gid
    made.size = info.st_size if kind == tarfile.REGTYPE else 0
    return made


def known(info: os.stat_result, digest: str) -> Known:
    return (info.st_size, info.st_mtime_ns, stat.S_IMODE(info.st_mode) & 0o777, info.st_uid, info.st_gid, digest)


# --- what an earlier attempt left -----------------------------------------------------------------------------------


def whole(place: Path) -> Iterator[tuple[str, dict[str, Known]]]:
    """The parts in a folder that are whole, with what is in each."""
    for file in sorted(place.glob(f"part-*{LIST}")):
        name = file.stem + SUFFIX
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            read = json.loads(read_bounded(file, MAX_LIST, follow=False))
            found = {str(path): tuple(values) for path, values in read.items()}
            if found and (place / name).is_file():
                yield name, found


def still_true(place: Path, folders: Mapping[str, Path], stop: threading.Event) -> dict[str, dict[str, Known]]:
    """Parts that can be taken over: every file in them is as it was, its content read again. No path is in two."""
    found: dict[str, dict[str, Known]] = {}
    seen = set[str]()
    with contextlib.ExitStack() as stack:
        opened: dict[str, int] = {}
        for name, folder in folders.items():
            opened[name] = os.open(folder, FOLDER)
            stack.callback(os.close, opened[name])
        for name, files in whole(place):
            if not seen & files.keys() and _same(opened, files, stop):
                found[name] = files
                seen |= files.keys()
    return found


def _same(folders: Mapping[str, int], files: Mapping[str, Known], stop: threading.Event) -> bool:
    for path, wanted in files.items():
        if stop.is_set():
            raise Cancelled
        key, _, rest = path.partition("/")
        try:
            fd = mounts.open_beneath(folders[key], rest, READ)
        except (OSError, KeyError):
            return False
        with open(fd, "rb", buffering=0) as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or known(info, "")[:5] != wanted[:5]:
                return False
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted[5]:
                return False
    return True


def clear(place: Path, keep: frozenset[str]) -> None:
    """Remove all archives and lists but those of these archives."""
    for found in os.scandir(place):
        stem = found.name.removesuffix(SUFFIX).removesuffix(LIST)
        if found.name not in keep and stem + SUFFIX not in keep:
            Path(found.path).unlink(missing_ok=True)
