"""`carboy demo` in a real terminal: the tour shows, and every way of leaving clears everything away."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.terminal.emulator import Emulator
from app.terminal.rows import plain_text

pytestmark = [pytest.mark.sandbox, pytest.mark.e2e, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
ROWS, COLS = 48, 160


class Seat:
    """Somebody at a terminal in which `carboy demo` runs."""

    def __init__(self, folder: Path) -> None:
        self.raw = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.chdir(ROOT)
                env = {name: value for name, value in os.environ.items() if not name.startswith("CARBOY_")}
                env |= {"TMPDIR": str(folder), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
                os.execve(sys.executable, [sys.executable, "-m", "app", "demo"], env)
            os._exit(99)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLS, 0, 0))
        self._screen = Emulator(COLS, ROWS, lambda data: os.write(self._fd, data) and None)

    def text(self) -> str:
        return "\n".join(plain_text(self._screen.line(row)) for row in range(ROWS))

    def until(self, wanted: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.text():
            assert time.monotonic() < deadline, f"{wanted!r} never came:\n{self.text()}"
            assert self._read(), f"it ended before {wanted!r} came:\n{self.text()}"

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def end(self, seconds: float = 60.0) -> int:
        """Read on until the process ends; its exit code, 128 and more for a signal."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text()}"
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], 0.1)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self.raw += data
        self._screen.feed(data)
        return bool(data)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cb-") as made:
        yield Path(made)


def processes(folder: Path) -> list[int]:
    """Processes that work in a demo's home below `folder`, by their environment or open files."""
    found = list[int]()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            links = [os.readlink(link) for link in (place / "fd").iterdir()]
            if any(link.startswith(str(folder)) for link in links):
                found.append(int(place.name))
    return found


def gone(folder: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while left := [*processes(folder), *folder.glob("carboy-demo-*")]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def test_the_tour_is_shown_and_left_with_q(folder: Path) -> None:
    seat = Seat(folder)
    seat.until("carboy demo")
    seat.until("refused")
    assert processes(folder)
    seat.press("q")
    assert seat.end() == 0
    gone(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_too(folder: Path, number: signal.Signals) -> None:
    seat = Seat(folder)
    seat.until("carboy demo")
    os.kill(seat.pid, number)
    assert seat.end() == 128 + number
    for trace in (b"Traceback", b"Error", b"SystemExit"):
        assert trace not in seat.raw, seat.raw[-6000:].decode(errors="replace")
    gone(folder)


def test_a_signal_amid_the_launch_does_so_too(folder: Path) -> None:
    seat = Seat(folder)
    seat.until(" ms")
    os.kill(seat.pid, signal.SIGTERM)
    assert seat.end() == 128 + signal.SIGTERM
    for trace in (b"Traceback", b"Error", b"SystemExit"):
        assert trace not in seat.raw, seat.raw[-6000:].decode(errors="replace")
    gone(folder)
