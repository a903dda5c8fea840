"""Who a process is: its pid together with the moment it started, and a handle on it that cannot be reused.

A pid alone is never trusted: it may belong to another process by the time it is used. This module starts nothing and
signals nothing but the process that a `ProcessId` names.
"""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LINUX = sys.platform == "linux"


@dataclass(frozen=True)
class ProcessId:
    """A process of this boot. `start` is opaque: equal exactly for the same process."""

    pid: int
    start: str


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> str | None:
    """When `pid` started, as an opaque text; None where there is no such process, or only its corpse."""
    if not LINUX:
        return _start_time_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the name in field 2 may hold spaces and brackets: count from the last one (proc_pid_stat(5))
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return f"{_boot_id()}:{int(fields[19])}"


def _start_time_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
    )
    return answer.stdout.strip() or None


def identify(pid: int) -> ProcessId | None:
    start = start_time(pid)
    return None if start is None else ProcessId(pid, start)


def same(process: ProcessId) -> bool:
    """Whether that very process still runs."""
    return start_time(process.pid) == process.start


def open_pidfd(process: ProcessId) -> int | None:
    """A descriptor that means this process and no later one; None if it has ended (or the system has no pidfds).

    The start time is compared after the descriptor exists, so a reused pid cannot slip in between.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if not same(process):
        os.close(fd)
        return None
    return fd


def ended(pidfd: int) -> bool:
    """Whether the process behind the descriptor has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send_signal(process: ProcessId, number: int = signal.SIGKILL) -> bool:
    """Signal exactly this process. False if it had ended already."""
    if not LINUX:
        return _signal_by_pid(process, number)
    fd = open_pidfd(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def _signal_by_pid(process: ProcessId, number: int) -> bool:
    if not same(process):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
        return True
    return False


async def wait_end(process: ProcessId) -> None:
    """Return once the process has ended. Nothing polls where the system has pidfds."""
    fd = open_pidfd(process)
    if fd is None:
        while same(process):  # noqa: ASYNC110  # no pidfds on this system: nothing but asking again
            await asyncio.sleep(0.5)
        return
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: end.done() or end.set_result(None))
    try:
        await end
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def kill_and_wait(process: ProcessId, timeout: float = 5.0) -> bool:
    """SIGKILL, then wait until it is gone. False if it would not go in time (uninterruptible I/O)."""
    send_signal(process)
    try:
        await asyncio.wait_for(wait_end(process), timeout)
    except TimeoutError:
        return False
    return True
