"""Real programs on a real pseudo-terminal, as an attachment the attach app and the emulator can use."""

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import AsyncIterator, Sequence

from app.terminal.emulator import Emulator

ENV = {
    "TERM": "xterm-256color",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "PS1": "$ ",
}


def start(argv: Sequence[str], rows: int, cols: int, cwd: str = "/") -> tuple[int, int]:
    """A program on a new pseudo-terminal: its pid, and the master."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            os.execvpe(argv[0], list(argv), ENV)
        finally:
            os._exit(127)
    set_size(master, rows, cols)
    return pid, master


def set_size(master: int, rows: int, cols: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def end(pid: int, master: int) -> int:
    """Kill and reap; the exit code as a shell tells it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.close(master)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


class Session:
    """A program driven synchronously, its output in an emulator that answers its queries."""

    def __init__(self, argv: Sequence[str], rows: int = 24, cols: int = 80, cwd: str = "/") -> None:
        self.pid, self.master = start(argv, rows, cols, cwd)
        self.term = Emulator(cols, rows, self.type)
        self.output = b""

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        end(self.pid, self.master)

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def screen(self) -> list[str]:
        return ["".join(run.text for run in self.term.line(y)) for y in range(self.term.rows)]

    def read(self, seconds: float) -> bool:
        """Take what comes within `seconds`; False where nothing came or it ended."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.output += data
        self.term.feed(data)
        return bool(data)

    def until(self, text: str, seconds: float = 10.0) -> None:
        """Read until `text` is on the screen and the program is quiet."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.screen()):
            assert time.monotonic() < deadline, f"{text!r} is not on the screen:\n" + "\n".join(self.screen())
            self.read(0.05)
        self.settle()

    def settle(self, quiet: float = 0.15) -> None:
        while self.read(quiet):
            pass


class PtyStream:
    """An attachment to a program of our own, with the methods of `app.backends.base.Terminal`."""

    def __init__(self, argv: Sequence[str], rows: int, cols: int) -> None:
        self.pid, self.master = start(argv, rows, cols)
        os.set_blocking(self.master, False)
        self._arrived = asyncio.Event()
        self.sizes: list[tuple[int, int]] = []
        self._ended = False

    async def output(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.master, self._arrived.set)
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                try:
                    data = os.read(self.master, 65536)
                except BlockingIOError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                yield data
        finally:
            loop.remove_reader(self.master)

    async def write(self, data: bytes) -> None:
        os.write(self.master, data)

    async def resize(self, rows: int, cols: int) -> None:
        self.sizes.append((rows, cols))
        set_size(self.master, rows, cols)

    def reap(self) -> int:
        """The exit code of a program that ended by itself."""
        self._ended = True
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    async def close(self) -> None:
        if not self._ended:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self.master)
            end(self.pid, self.master)
