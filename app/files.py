"""Reading and writing small files of ours: bounded reads that never hang, writes that are whole or not there.

It knows nothing of what is in the files, and must never follow a project's symbolic links unless it is told to.
"""

import os
import secrets
import stat
from pathlib import Path


class TooLarge(OSError):
    """A file is larger than what its reader takes."""


class NotAFile(OSError):
    """A folder, device, pipe or socket lies where a file is expected."""


def atomic_write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` with `data`: a reader, or a power cut, sees the old file or the new one, nothing between.

    The folder must exist. A symbolic link at `path` is followed once, so that a linked dotfile stays a link.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.name[:100]}.{secrets.token_hex(6)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        _fill(descriptor, data, mode, target)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


class Reserved:
    """A small file of JSON whose place on the disk is taken long before there is anything to say, so that it is written
    even where the disk is full by then. It has its name only once it says something."""

    SIZE = 4096

    def __init__(self, path: Path) -> None:
        """Raises nothing: where there is no room yet, what is written later has to find some."""
        self._path = path
        self._place = path.parent / f".{path.name}.room"
        self._fd = -1
        try:
            self._fd = os.open(self._place, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if os.pwrite(self._fd, b" " * self.SIZE, 0) < self.SIZE:
                self._close()
        except OSError:
            self._close()

    def write(self, data: bytes) -> None:
        """Once. Raises OSError. The blanks that are left stay: no reader of JSON minds them."""
        if self._fd < 0 or len(data) > self.SIZE:
            atomic_write(self._path, data)
            return
        try:
            os.pwrite(self._fd, data.ljust(self.SIZE), 0)
            os.fsync(self._fd)
            os.replace(self._place, self._path)
        finally:
            self._close()
        sync_folder(self._path.parent)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def create(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """As `atomic_write`, but never replaces: False if something, even a dangling link, has that name already."""
    temporary = path.parent / f".{path.name[:100]}.{secrets.token_hex(6)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        _fill(descriptor, data, mode, path)
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def sync_folder(path: Path) -> None:
    """Make renames in this folder last over a power cut. Some file systems cannot; that is no error."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def read_bounded(path: Path | str, limit: int, *, folder: int | None = None, follow: bool = True) -> bytes:
    """The bytes of a regular file. Raises NotAFile, TooLarge, or the OSError of opening it.

    `folder` is a descriptor that `path` is relative to. With `follow=False` a link as the last part is an error;
    O_NONBLOCK keeps a named pipe from hanging the reader.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise NotAFile(f"{path} is not a regular file")
        if info.st_size > limit:
            raise TooLarge(f"{path} is larger than {limit} bytes")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)  # it may have grown since
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise TooLarge(f"{path} is larger than {limit} bytes")
    return data


def _fill(descriptor: int, data: bytes, mode: int, path: Path) -> None:
    """Raises OSError with the name of the file that is being made, which one of a descriptor does not have."""
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask says
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
