"""The processes of a sandbox as the host sees them in /proc: what they use, and stopping them all. Reads and signals
only what descends from the sandbox's process 1 or was put there by us."""

import contextlib
import os
import signal
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_ROUNDS = 50
"""A fork bomb is outrun when no new process was found in a round; it cannot go on once all are stopped."""


@dataclass(frozen=True)
class Stats:
    memory: int
    pids: int
    cpu_seconds: float


def descendants(roots: Iterable[int]) -> set[int]:
    """`roots` and all below them. Whoever loses its parent becomes a child of process 1, which is a root."""
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        waiting += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found


def in_namespace(first: int) -> set[int]:
    """All processes in the process namespace of `first` that this user may look at."""
    found = set[int]()
    with contextlib.suppress(OSError):
        wanted = os.readlink(f"/proc/{first}/ns/pid")
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                        found.add(int(name))
    return found


def measure(pids: Iterable[int]) -> Stats:
    """Memory is what is on no disk: private pages, swapped ones, and shared memory, to which each process that maps it
    counts its part. Not seen is shared memory that no process maps, and what the kernel itself holds for them."""
    memory, count, ticks = 0, 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            sizes = _kilobytes(f"/proc/{pid}/status")
            fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
            own = sizes.get("RssAnon:", 0) + sizes.get("VmSwap:", 0)  # one that has ended has no sizes
            memory += (own + _shared(pid, sizes.get("RssShmem:", 0))) * 1024
            # utime, stime and those of children that were waited for: fields 14 to 17 of proc_pid_stat(5)
            ticks += sum(int(value) for value in fields[11:15])
            count += 1
    return Stats(memory, count, ticks / _TICK)


def unlinked(pids: Iterable[int], device: int) -> int:
    """Bytes on disk of the files of a device that have no name any more, and that these processes hold open: nobody
    else sees them, and they go only with whoever holds them. Not seen is one that is mapped alone, or on its way to
    somebody in a message."""
    found: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    info = os.stat(f"/proc/{pid}/fd/{name}")
                    if not info.st_nlink and info.st_dev == device and stat.S_ISREG(info.st_mode):
                        found[info.st_ino] = info.st_blocks * 512
    return sum(found.values())


def _shared(pid: int, most: int) -> int:
    """This process's part of the shared memory that it maps; all of it where that may not be looked at."""
    if most:
        with contextlib.suppress(OSError, KeyError):
            return _kilobytes(f"/proc/{pid}/smaps_rollup")["Pss_Shmem:"]
    return most


def _kilobytes(path: str) -> dict[str, int]:
    """The sizes in a file of /proc, in which a process's name stands as well: whatever that is, it hides none."""
    lines = [line.split() for line in Path(path).read_text(errors="replace").split("\n")]
    return {words[0]: int(words[1]) for words in lines if words[2:] == ["kB"] and words[1].isdecimal()}


def stop_all(roots: Iterable[int], spare: int) -> None:
    """SIGSTOP everything but `spare`, again until no process is left that was not stopped."""
    known = tuple(roots)
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = descendants(known) - stopped - {spare}
        if not fresh:
            return
        _signal(fresh, signal.SIGSTOP)
        stopped |= fresh


def continue_all(roots: Iterable[int], spare: int) -> None:
    _signal(descendants(roots) - {spare}, signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
