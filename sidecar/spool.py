"""The spool: events on disk, append-only, until the controller has them. Writer (sidecar) and reader (controller).

Files `NNNNNNNN.jsonl`, one event a line, a new one at 4 MiB and with each start of a sidecar, so that a line torn by a
kill is never continued. The writer holds the folder by descriptor and never grows it past its cap: without a place to
record what happens, nothing may happen (`ready()` is asked before a request leaves).
"""

import contextlib
import errno
import math
import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

SEGMENT_BYTES = 4 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024
"""Of all segments together. An event is about 400 bytes: some 600,000 of them while no controller reads."""
RESERVED_BYTES = 8 * 1024 * 1024
"""Kept free on the disk and below the cap, for what is under way already when requests stop being let out."""
MAX_LINE = 64 * 1024
MAX_SEGMENT = 90_000_000
"""No sidecar starts at this one or later, which none reaches in earnest: nobody reads behind what a name can hold."""
MAX_WAITING = 4096
"""Events kept in memory while the disk does not take them."""
_NAME = re.compile(r"(\d{8})\.jsonl")


def segment_name(number: int) -> str:
    return f"{number:08d}.jsonl"


def segments(names: list[str]) -> list[int]:
    """The segment numbers among `names`, in order."""
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


class SpoolWriter:
    """Appends events below the folder behind `folder_fd`, which it owns. `on_written(segment, offset)` follows each.

    Raises ValueError where the folder has a segment of a number that only a former one that was taken over can have
    made."""

    def __init__(self, folder_fd: int, on_written: Callable[[int, int], None] | None = None) -> None:
        self._folder = folder_fd
        self._on_written = on_written
        self._fd = -1
        self._offset = 0
        self._waiting: deque[bytes] = deque()
        self.lost = 0
        self._checked = 0.0
        self._room = True
        existing = segments(os.listdir(folder_fd))
        self.segment = existing[-1] if existing else 0
        if self.segment >= MAX_SEGMENT:
            raise ValueError("the spool has room for no more segments")
        self._total = sum(self._size(number) for number in existing)
        self._torn = False

    @property
    def failing(self) -> bool:
        """True while events wait in memory since the disk did not take them."""
        return bool(self._waiting)

    @property
    def offset(self) -> int:
        """The end of the present segment."""
        return self._offset

    def ready(self) -> bool:
        """True if what happens next can be recorded; tries again what waited. Cheap enough for every request."""
        if self._waiting:
            self._flush()
        if self._waiting or self._total > MAX_BYTES - RESERVED_BYTES:
            return False
        now = time.monotonic()
        if now - self._checked > 1.0:
            self._checked = now
            self._room = self._has_room()
        return self._room

    def write(self, event: Mapping[str, Any]) -> bool:
        """Append one event; true once it is on disk. Never raises: what the disk does not take waits in memory, and
        `ready()` turns false."""
        line = orjson.dumps(event) + b"\n"
        if len(line) > MAX_LINE:
            self.lost += 1
            return False
        if len(self._waiting) >= MAX_WAITING or self._total + len(line) > MAX_BYTES:
            self.lost += 1
            return False
        self._waiting.append(line)
        self._flush()
        return not self._waiting

    def acknowledge(self, upto: int) -> None:
        """Delete the segments below number `upto`: the controller has them."""
        for number in segments(os.listdir(self._folder)):
            if number >= min(upto, self.segment):
                break
            self._total -= self._size(number)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(segment_name(number), dir_fd=self._folder)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        os.close(self._folder)

    def _flush(self) -> None:
        try:
            while self._waiting:
                line = self._waiting[0]
                if self._fd < 0 or self._torn or self._offset + len(line) > SEGMENT_BYTES:
                    self._next_segment()
                written = os.write(self._fd, line)
                self._offset += written
                self._total += written
                if written < len(line):
                    # the rest would not fit either; the torn line is left behind and written again, whole
                    self._torn = True
                    raise OSError(errno.ENOSPC, "the disk is full")
                self._waiting.popleft()
        except OSError:
            self._room = False
            return
        if self._on_written is not None:
            self._on_written(self.segment, self._offset)

    def _next_segment(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(segment_name(self.segment + 1), flags, 0o600, dir_fd=self._folder)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset, self._torn = fd, 0, False
        self.segment += 1

    def _has_room(self) -> bool:
        try:
            info = os.fstatvfs(self._folder)
        except OSError:
            return False
        return info.f_bavail * info.f_frsize >= RESERVED_BYTES

    def _size(self, number: int) -> int:
        try:
            return os.stat(segment_name(number), dir_fd=self._folder, follow_symlinks=False).st_size
        except OSError:
            return 0


@dataclass(frozen=True, order=True)
class Position:
    """Where a reader stands: before byte `offset` of `segment`. The default is the very beginning."""

    segment: int = 0
    offset: int = 0


class SpoolReader:
    """Reads lines from `position` on. Pure reading: a segment may vanish, a last line may be torn, bytes are data."""

    def __init__(self, folder: str | Path, position: Position | None = None) -> None:
        self.folder = Path(folder)
        self.position = position or Position()
        self.more = False
        """There may be more than was read last: one of the limits was reached."""

    def read(self, limit: int = 1000, most: float = math.inf) -> list[tuple[Position, bytes]]:
        """At most `limit` whole lines (without newline), each with the position behind it; `position` moves along.
        About `most` bytes, and a segment at the most beyond. Of a line longer than any writer's only the beginning."""
        lines: list[tuple[Position, bytes]] = []
        size, self.more = 0, True
        while len(lines) < limit and size < most:
            # looked for before the last read of this segment: the writer is done with it once there is a later one,
            # and what it wrote in between would be passed over
            later = self._later()
            got = self._read_some(limit - len(lines))
            lines += got
            size += sum(len(line) for _, line in got)
            if not got:
                if later is None:
                    self.more = False
                    break
                # what is left of this segment is a torn line
                self.position = Position(later, 0)
        return lines

    def _read_some(self, limit: int) -> list[tuple[Position, bytes]]:
        if self.position.segment == 0:
            return []
        try:
            data = _read_plain(self.folder / segment_name(self.position.segment), self.position.offset)
        except OSError:
            return []
        lines: list[tuple[Position, bytes]] = []
        start = 0
        while len(lines) < limit and (end := data.find(b"\n", start)) >= 0:
            self.position = Position(self.position.segment, self.position.offset + end + 1 - start)
            lines.append((self.position, data[start : min(end, start + MAX_LINE)]))
            start = end + 1
        return lines

    def _later(self) -> int | None:
        """The next segment's number, if there is one."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return None
        return next((number for number in segments(names) if number > self.position.segment), None)


def _read_plain(path: Path, offset: int) -> bytes:
    """A piece of a regular file. The folder belongs to a less trusted process: no link is followed, and a pipe in a
    segment's place must not hold up its reader for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return os.pread(fd, SEGMENT_BYTES + MAX_LINE, offset)
    finally:
        os.close(fd)
