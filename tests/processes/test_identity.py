"""A process is its pid and its start: reused numbers are never taken for it."""

import asyncio
import os
import signal
import subprocess
from dataclasses import replace

from app.processes import identity


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def test_a_live_process_is_the_same_and_a_dead_one_is_not() -> None:
    child = _sleeper()
    known = identity.identify(child.pid)
    assert known is not None
    assert identity.same(known)
    assert not identity.same(replace(known, start=known.start + "1"))
    child.kill()
    child.wait()
    assert not identity.same(known)
    assert identity.identify(child.pid) is None


def test_a_corpse_is_no_process() -> None:
    child = _sleeper()
    known = identity.identify(child.pid)
    assert known is not None
    fd = identity.open_pidfd(known)
    assert fd is not None
    assert not identity.ended(fd)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity.ended(fd)
    assert not identity.same(known)
    child.wait()
    os.close(fd)


def test_signals_reach_only_the_process_that_is_meant() -> None:
    child = _sleeper()
    known = identity.identify(child.pid)
    assert known is not None
    assert not identity.send_signal(replace(known, start="another boot:1"))
    assert child.poll() is None
    assert identity.send_signal(known, signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert not identity.send_signal(known)


async def test_the_end_is_waited_for() -> None:
    child = _sleeper()
    known = identity.identify(child.pid)
    assert known is not None
    waiting = asyncio.gather(identity.wait_end(known))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    assert await identity.kill_and_wait(known)
    await asyncio.wait_for(waiting, 5)
    child.wait()
    await asyncio.wait_for(identity.wait_end(known), 5)
