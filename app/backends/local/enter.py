"""Joining a forked process to a finished sandbox, and confining it there before it turns into a program.

The one way into a sandbox, for the agent, for `exec` and for our own checks, with either engine. Everything here runs
in forked children of the session holder; the holder itself never enters.
"""

import contextlib
import fcntl
import os
import resource
import socket
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.backends.local import mounts, seccomp
from app.backends.local.identity import Account
from app.backends.local.layout import DEFAULT_MEMORY, Layout
from app.core.schema import Limits
from sidecar.kernel import landlock, libc
from sidecar.kernel import seccomp as bpf
from sidecar.kernel.landlock import IOCTL_DEV, READ, READ_EXECUTE, READ_WRITE, TRUNCATE, WRITE_FILE

DEFAULT_PIDS = 1024  # hardening.md, limits
OPEN_FILES = (1024, 65536)
"""Soft and hard: the soft one is what every system starts programs with (select() cannot go beyond)."""
_KINDS = (
    ("mnt", mounts.NEW_NS),
    ("net", mounts.NEW_NET),
    ("ipc", mounts.NEW_IPC),
    ("uts", mounts.NEW_UTS),
    ("cgroup", mounts.NEW_CGROUP),
    ("pid", mounts.NEW_PID),
)


@dataclass
class Namespaces:
    """A sandbox's namespaces, held open: they stay those of this sandbox whatever its pids become. `owner` is the user
    namespace that owns the others; `user` the one below it, where the agent lives and owns nothing."""

    owner: int
    user: int
    others: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, pid: int) -> "Namespaces":
        opened: list[int] = []
        try:
            for name, _ in _KINDS:
                opened.append(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
            opened.append(os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
            owner = mounts.owner_of(opened[0])
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise
        others = tuple((fd, kind) for fd, (_, kind) in zip(opened, _KINDS, strict=False))
        return cls(owner, opened[-1], others)

    def close(self) -> None:
        for fd in (self.owner, self.user, *(fd for fd, _ in self.others)):
            with contextlib.suppress(OSError):
                os.close(fd)

    def join(self, account: Account, *, processes: bool = True) -> None:
        """Join all of them but the agent's user namespace. After it this process has every capability over the
        sandbox, and none outside. Its children, not itself, are in the process namespace (if `processes`)."""
        account.become()
        mounts.enter(self.owner, mounts.NEW_USER)
        for fd, kind in self.others:
            if processes or kind != mounts.NEW_PID:
                mounts.enter(fd, kind)

    def give_up_ownership(self) -> None:
        """Step down into the agent's user namespace, from where there is no way back."""
        mounts.enter(self.user, mounts.NEW_USER)


@dataclass(frozen=True)
class Confinement:
    """What a process inside is held to."""

    limits: Limits
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    filter: bytes = field(repr=False)

    @classmethod
    def of(cls, layout: Layout, limits: Limits) -> "Confinement":
        writable = [bind.target for bind in layout.binds if bind.writable]
        readable = [bind.target for bind in layout.binds if not bind.writable]
        readable += [file.target for file in layout.files]
        return cls(
            limits=limits,
            readable=("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", *readable),
            writable=(*(folder.target for folder in layout.tmpfs), *writable),
            filter=seccomp.program(ptrace=limits.ptrace),
        )

    def limit(self) -> None:
        """Resource limits. Inside the user namespace, since processes are counted for each of those by itself."""
        pids = self.limits.pids or DEFAULT_PIDS
        _limit(resource.RLIMIT_NPROC, pids, pids)
        # not RLIMIT_AS: node and Go reserve far more address space than they use
        _limit(resource.RLIMIT_DATA, *(2 * (self.limits.memory or DEFAULT_MEMORY,)))
        _limit(resource.RLIMIT_NOFILE, *OPEN_FILES)
        _limit(resource.RLIMIT_CORE, 0, 0)
        _limit(resource.RLIMIT_MEMLOCK, 64 * 1024 * 1024, 64 * 1024 * 1024)
        if self.limits.cpus is not None:
            usable = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, usable[: max(1, -int(-self.limits.cpus // 1))])

    def lock(self, keep: Sequence[int] = ()) -> None:
        """The last steps: no capability, no new privilege, no file beyond the lists, no call beyond the filter."""
        libc.drop_capabilities()
        libc.no_new_privileges()
        if landlock.abi():
            self._landlock()
        close_others(keep)
        bpf.install(self.filter)

    def _landlock(self) -> None:
        rules = landlock.Ruleset(scoped=landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL)
        rules.allow("/", landlock.READ_DIR)  # to list folders says nothing that the mounts do not show
        rules.allow_existing(self.readable, READ_EXECUTE)
        rules.allow_existing(self.writable, READ_WRITE | READ_EXECUTE)
        # programs set their own name and OOM score there; the mounts keep /proc/sys read-only
        rules.allow_existing(("/proc",), READ | WRITE_FILE)
        rules.allow_existing(("/dev",), READ | WRITE_FILE | TRUNCATE | IOCTL_DEV)
        rules.enforce()


def _limit(kind: int, soft: int, hard: int) -> None:
    """Never above what this process may have."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def close_others(keep: Sequence[int]) -> None:
    """Close every descriptor from 3 on but `keep`."""
    last = 3
    for fd in sorted(set(keep)):
        os.closerange(last, fd)
        last = fd + 1
    os.closerange(last, _open_max())


def _open_max() -> int:
    try:
        return max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    except (OSError, ValueError):
        return os.sysconf("SC_OPEN_MAX")


def open_terminal(rows: int, cols: int) -> tuple[int, int]:
    """A pseudo-terminal of the sandbox's own: (master, slave). Called inside; the host's devpts is not involved."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, struct.pack("i", 0)))[0]
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


_TIOCGPTN, _TIOCSPTLCK = 0x80045430, 0x40045431  # asm-generic/ioctls.h


def hand_out(channel: socket.socket, fds: Sequence[int], message: bytes = b"fd") -> None:
    socket.send_fds(channel, [message], list(fds))
