"""A request's body on its way to git: into a file without a name in the gate's own folder, never into memory.

One that is larger than it may be is dropped and goes on being read, so that the client gets to read its answer.
"""

import os
import tempfile
import zlib
from pathlib import Path

CHUNK = 64 * 1024


class Intake:
    """`take` each piece; then `fd` has all of it, or `overflow` says that it was too much."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit
        self._head = b""
        self.size = 0
        self.overflow = False
        self.fd = _unnamed(folder)

    def take(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit:
            if not self.overflow:
                self.overflow = True
                self._head = os.pread(self.fd, 1024 * 1024, 0)
                os.ftruncate(self.fd, 0)
            return
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def head(self, size: int) -> bytes:
        """The beginning of the body, also of one that was dropped."""
        return self._head[:size] if self.overflow else os.pread(self.fd, size, 0)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

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
                    if total > limit:
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
