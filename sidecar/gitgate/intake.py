"""A request's body on its way to git: into a file without a name in the gate's own folder, never into memory.

One that is larger than it may be is dropped and goes on being read, so that the client gets to read its answer.
"""

import os
import tempfile
import zlib
from pathlib import Path

CHUNK = 64 * 1024
KEPT = 256 * 1024
"""Of a body that is dropped: the commands of the largest push, so that each is told why."""


class Room:
    """Bytes of the disk for the bodies of all calls together."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Whether there was so much of it."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size


class Intake:
    """`take` each piece; then `fd` has all of it, or `overflow` says that it was too much, or `crowded` that others
    have the room."""

    def __init__(self, folder: Path, limit: int, room: Room) -> None:
        self._limit = limit
        self._room = room
        self._held = 0
        self._head = b""
        self.size = 0
        self.overflow = self.crowded = False
        self.fd = _unnamed(folder)

    def take(self, data: bytes) -> None:
        self.size += len(data)
        if self.overflow or self.crowded:
            return
        self.overflow = self.size > self._limit
        self.crowded = not self.overflow and not self._hold(len(data))
        if self.overflow or self.crowded:
            self._head = (os.pread(self.fd, KEPT, 0) + data)[:KEPT]
            os.ftruncate(self.fd, 0)
            self._leave()
            return
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def head(self, size: int) -> bytes:
        """The beginning of the body, also of one that was dropped."""
        return (self._head or os.pread(self.fd, size, 0))[:size]

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._leave()

    def _hold(self, size: int) -> bool:
        free = self._room.take(size)
        self._held += size * free
        return free

    def _leave(self) -> None:
        self._room.give(self._held)
        self._held = 0

    def unzip(self, folder: Path, limit: int) -> bool:
        """Replace a gzip body by its content (git compresses what a fetch asks). False where that cannot be."""
        plain = _unnamed(folder)
        os.lseek(self.fd, 0, os.SEEK_SET)
        inflate = zlib.decompressobj(31)
        total = 0
        try:
            while data := os.read(self.fd, CHUNK):
                while data:
                    piece = inflate.decompress(data, CHUNK)
                    total += len(piece)
                    self.crowded = total <= limit and not self._hold(len(piece))
                    if total > limit or self.crowded:
                        raise ValueError
                    os.write(plain, piece)
                    data = inflate.unconsumed_tail
            if not inflate.eof:
                raise ValueError
        except (zlib.error, ValueError):
            os.close(plain)
            return False
        os.close(self.fd)
        self.fd = plain
        return True


def _unnamed(folder: Path) -> int:
    """A file that is gone when its descriptor is, on the disk of `folder`."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (OSError, AttributeError):  # a file system without them
        fd, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        return fd
