"""A full-screen app ends cleanly when it is told to, and when its terminal is gone, also where no signal tells it."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
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

app = CarboyApp(connect=never)
app.run()
leave(app.return_code or 0)
"""


def painted() -> tuple[int, int]:
    """The app in a terminal of its own, once it shows something: its process, and the terminal's other end."""
    pid, master = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as below make, su and nohup
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    seen = b""
    deadline = time.monotonic() + 60
    while b"carboy" not in seen:
        assert time.monotonic() < deadline, seen[-500:]
        if select.select([master], [], [], 1.0)[0]:
            seen += os.read(master, 65536)
    return pid, master


@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_told_to_end_it_leaves_the_terminal_as_it_was() -> None:
    pid, master = painted()
    os.kill(pid, signal.SIGTERM)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal that nobody holds open any more
        while piece := os.read(master, 65536):
            said += piece
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
    for mode in (b"1049", b"1000", b"2004"):  # the other screen, the mouse, pasting in brackets
        assert b"\x1b[?" + mode + b"l" in said, said[-500:]


@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_it_ends_when_its_terminal_is_closed_without_a_signal() -> None:
    pid, master = painted()
    deadline = time.monotonic() + 60
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


@pytest.mark.parametrize(("size", "wanted"), [((0, 0), (24, 80)), ((0, 100), (24, 100)), ((3, 5), (3, 5))])
def test_a_terminal_that_tells_no_size_gets_the_usual_one(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    master, terminal = pty.openpty()
    try:
        termios.tcsetwinsize(master, size)
        subprocess.run([sys.executable, "-m", "app", "--version"], cwd=ROOT, stdout=terminal, check=True)
        assert termios.tcgetwinsize(master) == wanted
    finally:
        os.close(master)
        os.close(terminal)


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
