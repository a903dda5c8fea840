"""Reads what an agent's CLI wrote about its conversations, from a bottle's home on the host.

The folder is hostile: a link, a pipe, a device or a folder without end may lie anywhere in it, and files may change
while they are read. So no link is followed at any place, everything is bounded, and whatever is odd is passed over.
Each call reads what is new since the last one. Blocking: call it off the loop. Nothing is ever written.
"""

import fnmatch
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.files import NotAFile
from app.providers.conversation import Entry, Format, Standing, tree

MAX_NAMES = 10_000
"""Names that are looked at for one answer, in all folders."""
MAX_FILES = 64
"""Conversations of one home that are followed: the newest."""
MAX_STEP = 8 * 1024 * 1024
"""Bytes of one file that one call reads; the next one goes on."""
MAX_LINE = 4 * 1024 * 1024
"""A longer record is passed over: it holds files or images."""
MAX_TOLD = 20_000
"""Keys of entries that are remembered."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass
class _Position:
    """How far one file was read. Another file of the same name begins anew."""

    inode: int
    offset: int = 0
    skipping: bool = False
    """Inside a record that is too long."""


class LineReader:
    """A `Reader` of files with one JSON object a line."""

    def __init__(self, home: Path, form: Format) -> None:
        self._home = home
        self._format = form
        self._positions: dict[str, _Position] = {}
        self._standings: dict[str, Standing] = {}
        self._told: dict[str, None] = {}
        self.standing = Standing()

    def read(self) -> list[Entry]:
        found: list[Entry] = []
        newest = ""
        for path, inode in _Search(self._home, self._format.place).files():
            newest = path
            position = self._positions.get(path)
            if position is None or position.inode != inode:
                position = self._positions[path] = _Position(inode)
                self._standings[path] = Standing()
            for entry in filter(self._is_new, self._entries(path, position)):
                self._standings[path] = self._standings[path].after(entry)
                found.append(entry)
        if newest:
            turns = sum(one.turns for one in self._standings.values())
            calls = sum(one.tool_calls for one in self._standings.values())
            self.standing = replace(self._standings[newest], turns=turns, tool_calls=calls)
        return found

    def _is_new(self, entry: Entry) -> bool:
        return not entry.key or remember(self._told, entry.key)

    def _entries(self, path: str, position: _Position) -> Iterator[Entry]:
        name = path.rpartition("/")[2]
        for line in _lines(self._home, path, position):
            record = _record(line)
            if record is not None:
                yield from self._format.entries(record, name)


def remember(told: dict[str, None], key: str) -> bool:
    """True for a key that is not among the last `MAX_TOLD`."""
    if key in told:
        return False
    told[key] = None
    if len(told) > MAX_TOLD:
        del told[next(iter(told))]
    return True


def _lines(home: Path, path: str, position: _Position) -> list[bytes]:
    """Whole lines after `position`, which moves on."""
    data = b""
    with suppress(OSError), opened(home, path) as descriptor:
        data = os.pread(descriptor, MAX_STEP, position.offset)
    end = data.rfind(b"\n") + 1
    if end == 0:
        if len(data) > MAX_LINE:
            position.offset, position.skipping = position.offset + len(data), True
        return []
    position.offset += end
    lines = data[:end].split(b"\n")[:-1]
    if position.skipping:
        lines, position.skipping = lines[1:], False
    return lines


def _record(line: bytes) -> Any:
    if not line.strip() or len(line) > MAX_LINE:
        return None
    try:
        return tree(json.loads(line)) or None
    except (ValueError, RecursionError):
        return None


class _Search:
    """The files at one place below a home. Looks at a bounded number of names in all, however many there are."""

    def __init__(self, home: Path, place: tuple[str, ...]) -> None:
        self._home = home
        self._place = place
        self._left = MAX_NAMES
        self._found: list[tuple[float, str, int]] = []

    def files(self) -> list[tuple[str, int]]:
        """Path below the home and inode of the newest files, the last one the newest."""
        with suppress(OSError):
            root = os.open(self._home, FOLDER)
            try:
                self._look(root, "", self._place)
            finally:
                os.close(root)
        return [(path, inode) for _, path, inode in sorted(self._found)[-MAX_FILES:]]

    def _look(self, folder: int, path: str, place: tuple[str, ...]) -> None:
        for name in self._names(folder, place[0]):
            with suppress(OSError):
                if len(place) > 1:
                    self._enter(name, folder, path, place)
                    continue
                info = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(info.st_mode):
                    self._found.append((info.st_mtime, f"{path}{name}", info.st_ino))

    def _enter(self, name: str, folder: int, path: str, place: tuple[str, ...]) -> None:
        inner = os.open(name, FOLDER, dir_fd=folder)
        try:
            self._look(inner, f"{path}{name}/", place[1:])
        finally:
            os.close(inner)

    def _names(self, folder: int, pattern: str) -> list[str]:
        """Names that fit, the greatest first: those that begin with a time are the newest."""
        if "*" not in pattern:
            return [pattern]
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    break
                if fnmatch.fnmatchcase(entry.name, pattern):
                    names.append(entry.name)
        return sorted(names, reverse=True)


@contextmanager
def opened(home: Path, path: str) -> Iterator[int]:
    """The regular file of that path below the home, with no link at any part of it. Raises OSError."""
    *folders, name = path.split("/")
    at = os.open(home, FOLDER)
    try:
        for folder in folders:
            inner = os.open(folder, FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        descriptor = os.open(name, FILE, dir_fd=at)
    finally:
        os.close(at)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFile(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
