"""The agent's program inside a finished sandbox, seen from the holder: its terminal, its transcript, its end.

When the program ends, whatever it left running in the sandbox is killed and `exit.json` is written before anyone is
told. Knows no channel and no protocol.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.backends.base import Command, Exit
from app.files import Reserved
from app.processes.relay import RawReplay, Relay, Replay
from app.tasks import spawn
from app.terminal.emulator import Emulator
from app.terminal.recorder import Recorder

if TYPE_CHECKING:
    from app.processes.holder import Held

log = logging.getLogger(__name__)

DRAIN_SECONDS = 0.5
"""Output that a program wrote just before its end is waited for this long when something it left behind still holds
the terminal."""
ACTIVITY_SECONDS = 1.0
"""The holder tells of output at most this often (docs/architecture.md)."""

TIME_OVER = 124
"""The exit code of an agent whose time was over, however it ended then: timeout(1)'s, and the command line's."""
GRACE_SECONDS = 5.0

type Notify = Callable[[str, dict[str, Any]], None]


class Agent:
    """The one program a session is about. Made by `start`; `exit` is set once it has ended."""

    def __init__(self, sandbox: "Held", command: Command, state: Path, notify: Notify) -> None:
        self._loop = asyncio.get_running_loop()
        self._sandbox = sandbox
        self._notify = notify
        self._told_title = ""
        self._activity: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._time_over = False
        self._drained = asyncio.Event()
        self._ended = asyncio.Event()
        self.exit: Exit | None = None
        self.reason = ""
        self._recorder = Recorder(state / "transcript.cast", command.cols, command.rows, time.time())
        child = sandbox.spawn(command)
        self.pid = child.pid
        self._pidfd = child.pidfd
        self._ending = Reserved(state / "exit.json")
        self._emulator = Emulator(command.cols, command.rows, self._reply) if command.tty else None
        replay: Replay = _Screen(self._emulator, self._recorder) if self._emulator else RawReplay()
        self.relay = Relay(child.output_fd, replay, on_output=self._output, on_end=self._drained.set, tty=command.tty)
        self._loop.add_reader(self._pidfd, self._program_ended)

    def attach(self, sock: socket.socket, rest: bytes, rows: int, cols: int) -> None:
        self.relay.attach(sock, rest, rows, cols)

    @property
    def title(self) -> str:
        """What the program calls its window; bounded and printable (the emulator sees to it)."""
        return self._emulator.title if self._emulator else ""

    async def wait(self, timeout: float) -> bool:
        """Whether it has ended, and all about it is written, within `timeout`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), timeout)
        return self._ended.is_set()

    async def stop(self, grace: float) -> None:
        """Ask it to end; after `grace` seconds the whole sandbox is killed."""
        self._sandbox.thaw()
        self._signal(signal.SIGTERM)
        if await self.wait(grace / 2):
            return
        self._signal(signal.SIGHUP)  # interactive shells ignore SIGTERM, and end when their terminal is gone
        if not await self.wait(grace / 2):
            self._sandbox.kill()

    def end_after(self, seconds: float) -> None:
        """Its wall clock: here, since it must hold without a controller."""
        self._deadline = self._loop.call_later(seconds, self._expire, seconds)

    def _expire(self, seconds: float) -> None:
        self._time_over = True
        self.reason = f"its time is over: limits.wall_clock is {_duration(seconds)}"
        spawn(self.stop(GRACE_SECONDS), name="agent-time-over")

    def _signal(self, number: int) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _reply(self, data: bytes) -> None:
        """The emulator's answer to a question of the program. Only this one answers, never a client's."""
        self.relay.reply(data)

    def _output(self, data: bytes) -> None:
        self._recorder.output(data, time.time())
        if self._activity is None:
            self._activity = self._loop.call_later(ACTIVITY_SECONDS, self._tell_activity)

    def _tell_activity(self) -> None:
        self._activity = None
        self._notify("activity", {})
        if self.title != self._told_title:
            self._told_title = self.title
            self._notify("title", {"text": self.title})

    def _program_ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        spawn(self._finish(), name="agent-finish")

    async def _finish(self) -> None:
        code = _reap(self.pid)
        if self._time_over:
            code = TIME_OVER
        self._sandbox.reaped(self.pid)
        self.reason = self.reason or self._sandbox.reason
        pidfd, self._pidfd = self._pidfd, -1
        os.close(pidfd)
        self._sandbox.kill()  # what the program left running ends with it, and lets go of the terminal
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), DRAIN_SECONDS)
        for timer in (self._activity, self._deadline):
            if timer is not None:
                timer.cancel()
        ended = Exit(code, time.time())
        self._recorder.note(f"exit {code}", ended.at)
        self._recorder.close()
        self._write_exit(ended)
        self.exit = ended
        self._ended.set()
        self.relay.finish(code)
        self._notify("exited", {"code": ended.code, "at": ended.at, "reason": self.reason})

    def _write_exit(self, ended: Exit) -> None:
        said = {"code": ended.code, "at": ended.at, "reason": self.reason}
        try:
            self._ending.write(json.dumps(said).encode())
        except OSError as error:
            log.error("exit.json: %s", error)


class _Screen:
    """Replay of a program with a terminal."""

    def __init__(self, emulator: Emulator, recorder: Recorder) -> None:
        self._emulator = emulator
        self._recorder = recorder

    def feed(self, data: bytes) -> None:
        self._emulator.feed(data)

    def resize(self, rows: int, cols: int) -> None:
        self._emulator.resize(cols, rows)
        self._recorder.resize(cols, rows, time.time())

    def redraw(self) -> bytes:
        return self._emulator.redraw()


def _duration(seconds: float) -> str:
    """`1h30m`, as a manifest writes it."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if amount]
    return "".join(parts) or "0s"


def _reap(pid: int) -> int:
    """The program's end as a shell tells it: 128 + the signal's number where a signal ended it."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return 255
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
