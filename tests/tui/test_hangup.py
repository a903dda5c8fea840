"""A full-screen app whose terminal is gone ends, also where no signal tells it."""

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio
from app.carboy import CarboyApp

async def never():
    await asyncio.Event().wait()

raise SystemExit(CarboyApp(connect=never).run() or 0)
"""


@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_it_ends_when_its_terminal_is_closed_without_a_signal() -> None:
    pid, master = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as below make, su and nohup
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    painted = b""
    deadline = time.monotonic() + 60
    while b"carboy" not in painted:
        assert time.monotonic() < deadline, painted[-500:]
        if select.select([master], [], [], 1.0)[0]:
            painted += os.read(master, 65536)
    os.close(master)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("it runs on without a terminal")
        time.sleep(0.05)
    assert os.waitstatus_to_exitcode(status) in (0, 129, -signal.SIGTERM)
