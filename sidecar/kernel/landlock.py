"""Landlock: which files a process may still reach, decided by itself and irrevocably. Linux 5.13 and later.

Build a `Ruleset`, allow paths, `enforce()`. Rights the kernel does not know are left out, so what holds grows with the
kernel: `abi()` says how much that is, and callers report it rather than guess.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from sidecar.kernel.libc import syscall
from sidecar.kernel.syscalls import UnknownMachine

_CREATE, _ADD, _RESTRICT = "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"
_RULE_PATH_BENEATH = 1

# linux/landlock.h
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_TCP = 1 << 0
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1 << 0, 1 << 1

READ = READ_FILE | READ_DIR
READ_EXECUTE = READ | EXECUTE
READ_WRITE = (
    READ
    | (WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM)
    | (REFER | TRUNCATE)
)
FULL = (1 << 16) - 1
_FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule on something other than a folder may carry; others are refused with EINVAL."""


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none (not built, not enabled, or forbidden here)."""
    try:
        return syscall(_CREATE, None, 0, 1)
    except (OSError, UnknownMachine):
        return 0


def _known_fs(version: int) -> int:
    rights = (1 << 13) - 1
    for needed, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        if version >= needed:
            rights |= right
    return rights


class Ruleset:
    """Rules being collected. All file access is handled; `net` (ABI 4) and `scoped` (ABI 6) only what is asked for.

    Raises OSError where Landlock is missing.
    """

    def __init__(self, *, net: int = 0, scoped: int = 0) -> None:
        self.abi = abi()
        if not self.abi:
            raise OSError(38, "this kernel has no Landlock")
        self.fs = _known_fs(self.abi)
        self.net = net if self.abi >= 4 else 0
        self.scoped = scoped if self.abi >= 6 else 0
        size = 24 if self.abi >= 6 else 16 if self.abi >= 4 else 8
        attributes = struct.pack("QQQ", self.fs, self.net, self.scoped)[:size]
        self._fd = syscall(_CREATE, attributes, size, 0)

    def allow(self, path: str | Path, rights: int) -> None:
        """Allow `rights` at `path` and below. Raises OSError if it does not exist."""
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            self.allow_fd(fd, rights)
        finally:
            os.close(fd)

    def allow_fd(self, fd: int, rights: int) -> None:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FOR_FILES
        syscall(_ADD, self._fd, _RULE_PATH_BENEATH, struct.pack("=Qi", rights & self.fs, fd), 0)

    def allow_existing(self, paths: Iterable[str | Path], rights: int) -> None:
        """As `allow`, for those of `paths` that exist."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                self.allow(path, rights)

    def enforce(self) -> None:
        """Apply to this thread and all it starts. Needs no_new_privs. There is no way back."""
        try:
            syscall(_RESTRICT, self._fd, 0)
        finally:
            os.close(self._fd)
