"""A full-screen app whose terminal is gone ends, also where no signal tells it."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio
from app.__main__ import leave
from app.carboy import CarboyApp

async def never():
    await asyncio.Event().wait()

leave(CarboyApp(connect=never).run() or 0)
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


def test_what_cannot_be_written_to_a_closed_terminal_changes_no_exit_code() -> None:
    program = (
        "import os, pty, sys\n"
        "from app.__main__ import leave\n"
        "master, terminal = pty.openpty()\n"
        "os.dup2(terminal, 1)\n"
        "os.close(terminal)\n"
        "os.close(master)\n"
        "sys.stdout = open(1, 'w', buffering=65536)\n"
        "sys.stdout.write('the last words')\n"
        "leave(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
