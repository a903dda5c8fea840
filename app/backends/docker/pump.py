"""Between a container's main process and the session holder: a small process that looks to the holder like the agent.

It attaches, opens the gate, carries bytes both ways, passes resizes and signals on, outlives a restart of the engine,
and ends with the container's own exit code. Forked from the holder; blocking by nature, so that the holder is not.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from app.backends.docker import hijack
from app.backends.docker.hijack import EngineGone
from sidecar.kernel import libc

CHUNK = 65536
GATE_SECONDS = 30.0
AGAIN_SECONDS = 1.0
OUT_OF_MEMORY = "out of memory: the kernel ended it at limits.memory"
KILLED_OUTSIDE = "killed, and not by carboy: by hand (`docker kill`), or by the system, out of memory (limits.memory)"
"""The engine says nothing of memory: it was none, or Podman on version 1 of control groups, which never says."""
NOT_STARTED, UNKNOWN = 125, 255
KILLED = 137
"""128 and SIGKILL."""
_SIGNALS = (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
KILL = signal.SIGUSR1
"""What the holder sends for a kill at once: SIGKILL would end this process, not the container."""


@dataclass(frozen=True)
class Target:
    """The container, and the end of the terminal (or pipe) that the holder reads."""

    engine: str
    id: str
    tty: bool
    end: int
    open_gate: Callable[[], bool]
    report: int
    """A pipe that takes the reason of an end that needs one."""


def run(target: Target) -> NoReturn:
    """The whole life of the process."""
    code = UNKNOWN
    try:
        code = Pump(target).run()
    except EngineGone as error:
        with contextlib.suppress(OSError):
            os.write(target.end, f"carboy: the engine: {error}\r\n".encode())
        code = NOT_STARTED
    finally:
        os._exit(code)


class Pump:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._ordered = False
        """Whether a kill was asked for."""
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the holder's end is ours; the container's it is not
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        if target.tty:
            os.setsid()
            fcntl.ioctl(target.end, termios.TIOCSCTTY, 0)
            tty.setraw(target.end)

    def run(self) -> int:
        # a snapshot may have paused it already: the session counts as running
        sock = hijack.attach(self._target.engine, self._target.id, patience=GATE_SECONDS)
        self._resize()
        self._pass_gate()
        while True:
            self._carry(sock)
            sock.close()
            code = self._ended()
            if code is not None:
                return code
            sock = self._again()

    def _pass_gate(self) -> None:
        deadline = time.monotonic() + GATE_SECONDS
        while not self._target.open_gate():
            status, _ = hijack.ask(self._target.engine, "GET", hijack.container(self._target.id, "json"))
            if time.monotonic() > deadline or status != 200:
                raise EngineGone("nobody waits at the container's gate")
            time.sleep(0.01)

    def _carry(self, sock: socket.socket) -> None:
        """Until the engine closes the stream."""
        demultiplexer = None if self._target.tty else hijack.Demultiplexer()
        reading = [sock, self._wake, *([self._target.end] if self._target.tty else [])]
        while True:
            ready, _, _ = select.select(reading, [], [])
            if self._wake in ready:
                self._signalled()
            if self._target.end in ready and not self._typed(sock):
                reading.remove(self._target.end)
            if sock in ready:
                try:
                    data = sock.recv(CHUNK)
                except OSError:
                    return
                if not data:
                    return
                self._print(demultiplexer.feed(data) if demultiplexer else data)

    def _typed(self, sock: socket.socket) -> bool:
        try:
            data = os.read(self._target.end, CHUNK)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            sock.sendall(data)
        return bool(data)

    def _print(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._target.end, rest) :]
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno in (errno.EIO, errno.EPIPE):  # the holder has gone: nobody reads any more
                    os._exit(UNKNOWN)
                raise

    def _signalled(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in set(os.read(self._wake, 256)):
                if number == signal.SIGWINCH:
                    self._resize()
                elif number == signal.SIGHUP and self._target.tty and self._hung_up():
                    os._exit(UNKNOWN)  # not an order: the holder was killed, and the terminal went with it
                else:
                    self._ordered = self._ordered or number == KILL
                    self._send("SIGKILL" if number == KILL else signal.Signals(number).name)

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._target.end, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def _send(self, name: str) -> None:
        """A frozen container takes no signal."""
        for action in ("unpause", f"kill?signal={name}"):
            with contextlib.suppress(EngineGone):
                hijack.ask(self._target.engine, "POST", hijack.container(self._target.id, action))

    def _resize(self) -> None:
        if not self._target.tty:
            return
        size = fcntl.ioctl(self._target.end, termios.TIOCGWINSZ, b"\0" * 8)
        rows, cols, _, _ = struct.unpack("HHHH", size)
        with contextlib.suppress(EngineGone):
            target = hijack.container(self._target.id, f"resize?h={rows}&w={cols}")
            hijack.ask(self._target.engine, "POST", target)

    def _ended(self) -> int | None:
        """The exit code; None where it runs on, or nobody can say now."""
        try:
            status, found = hijack.ask(self._target.engine, "GET", hijack.container(self._target.id, "json"))
            if status == 404:
                self._tell("its container was removed")
                return UNKNOWN
            state = found.get("State") or {}
            if status != 200 or state.get("Running"):
                # the stream ends a moment before the engine has noted the end
                target = hijack.container(self._target.id, "wait")
                status, waited = hijack.ask(self._target.engine, "POST", target, seconds=2.0)
                if status != 200:
                    return None
                _, found = hijack.ask(self._target.engine, "GET", hijack.container(self._target.id, "json"))
                state = found.get("State") or {"ExitCode": waited.get("StatusCode", UNKNOWN)}
        except EngineGone:
            return None
        code = int(state.get("ExitCode", UNKNOWN)) & 0xFF
        if code == KILLED and not self._ordered:
            self._tell(OUT_OF_MEMORY if state.get("OOMKilled") else KILLED_OUTSIDE)
        return code

    def _again(self) -> socket.socket:
        """Attach once more: the engine was restarted, or its connection lost."""
        while True:
            ready, _, _ = select.select([self._wake], [], [], AGAIN_SECONDS)
            if ready:
                self._signalled()
            try:
                sock = hijack.attach(self._target.engine, self._target.id, since=False)
            except EngineGone:
                sock = None
            # one that ended meanwhile can be attached to as well, and its stream never ends
            if (sock is None or not self._runs()) and (code := self._ended()) is not None:
                os._exit(code)
            if sock is not None:
                self._resize()
                return sock

    def _runs(self) -> bool:
        try:
            _, found = hijack.ask(self._target.engine, "GET", hijack.container(self._target.id, "json"))
        except EngineGone:
            return False
        return bool((found.get("State") or {}).get("Running"))

    def _tell(self, reason: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._target.report, reason.encode())
