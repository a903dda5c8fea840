"""The processes of a sandbox as the host sees them in /proc: what they use, and stopping them all. Reads and signals
only what descends from the sandbox's process 1 or was put there by us."""

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
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
    """Memory is what the processes do not share with files: private and shared-memory pages would count twice."""
    memory, count, ticks = 0, 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = Path(f"/proc/{pid}/statm").read_bytes().split()
            fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
            memory += max(0, int(pages[1]) - int(pages[2])) * _PAGE
            # utime, stime and those of children that were waited for: fields 14 to 17 of proc_pid_stat(5)
            ticks += sum(int(value) for value in fields[11:15])
            count += 1
    return Stats(memory, count, ticks / _TICK)


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
