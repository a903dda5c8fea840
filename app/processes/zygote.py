"""The zygote: imports everything heavy once and forks sidecars and session holders from it.

It holds no secret, thread, listener or file of a bottle, reads nothing but fork orders on the socket it was started
with, and ends when its controller does; its children live on. It must never be imported by anything else: it is a
program, `python -m app.processes.zygote FD` (its client is `app.processes.spawner`).
"""

import array
import contextlib
import fcntl
import gc
import json
import os
import random
import select
import signal
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from sidecar.kernel import libc

Entry = Callable[[socket.socket], object]

CHANNEL_FD = 3
"""Where a child finds its socket pair; above it nothing is open."""

_HEADER = struct.Struct(">I")


def load() -> dict[str, Entry]:
    """Import what the children run. Costs a second and 90 MB once, instead of once for each bottle."""
    from sidecar import lean, prepared

    gc.disable()  # what is imported stays: an eighth of the start went into looking at it again and again
    lean.leave_out()
    prepared.prepare()  # first: what is imported after it fills the holes that the work leaves
    import sidecar.__main__
    from app.processes import holder

    sidecar.__main__.preload()
    sidecar.__main__.write_logs()
    gc.enable()
    gc.collect()
    lean.let_go()
    return {"sidecar": sidecar.__main__.run, "holder": holder.run}


def main(fd: int) -> None:
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl+c is meant for the program in the terminal
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    entries = load()
    if len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("an import started a thread; a forked child would hold its locks")
    gc.freeze()  # else the collector writes to every page and nothing stays shared
    _send(control, {"ready": os.getpid()})
    Orders(control, entries).serve()


class Orders:
    """Takes fork orders one at a time and tells of children that ended."""

    def __init__(self, control: socket.socket, entries: dict[str, Entry]) -> None:
        self._control = control
        self._entries = entries
        self._wake, wake_in = os.pipe()
        self._wake_in = wake_in
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_in, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_in)

    def serve(self) -> None:
        """Until the controller is gone."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake:
                    self._reap()
                elif not self._one():
                    return

    def _one(self) -> bool:
        order, fds = _receive(self._control)
        if order is None:
            return False
        channel, log = fds
        pid = os.fork()
        if pid == 0:
            _become_child(self._entries[order["kind"]], order["name"], channel, log)
        pidfd = os.pidfd_open(pid)  # not reaped yet: the number still means this child
        os.close(channel)
        os.close(log)
        _send(self._control, {"id": order["id"], "pid": pid}, [pidfd])
        os.close(pidfd)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                _send(self._control, {"ended": found[0], "status": os.waitstatus_to_exitcode(found[1])})


def _become_child(entry: Entry, name: str, channel: int, log: int) -> NoReturn:
    """In the child: let go of all that was inherited, become a process of its own, run `entry`."""
    code = 1
    try:
        _forget(name, channel, log)
        entry(socket.socket(fileno=CHANNEL_FD))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)  # never back into the zygote's loop, never its atexit handlers


def _forget(name: str, channel: int, log: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal it was started from may close
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    # parked higher up first: the sources may lie on the numbers that are written
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (null, log, log, channel)]
    for target, source in enumerate(sources):
        os.dup2(source, target, inheritable=target < CHANNEL_FD)
    os.closerange(CHANNEL_FD + 1, os.sysconf("SC_OPEN_MAX"))
    _reseed()
    libc.set_name(name)
    libc.set_dumpable(False)


def _reseed() -> None:
    """Siblings must not share a random stream. OpenSSL reseeds by itself after a fork; it is stirred all the same."""
    random.seed(int.from_bytes(os.urandom(32)))  # of bytes it would take a hash, and load a library for that
    ssl.RAND_add(os.urandom(32), 32.0)
    # numpy loads its random numbers when they are first asked for: asking here would cost each child 5 MB
    if (numbers := sys.modules.get("numpy.random")) is not None:
        numbers.seed(int.from_bytes(os.urandom(4)))


def _send(control: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    body = json.dumps(message).encode()
    try:
        socket.send_fds(control, [_HEADER.pack(len(body)) + body], fds or [])
    except (BrokenPipeError, ConnectionResetError):
        raise SystemExit(0) from None


def _receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """One order with its descriptors; None at the end. A half-read one (the controller was killed) is the end too."""
    fds: array.array[int] = array.array("i")
    data = b""
    size = _HEADER.size
    while len(data) < size:
        try:
            chunk, ancillary, _, _ = control.recvmsg(size - len(data), socket.CMSG_SPACE(16))
        except ConnectionResetError:
            return None, []
        if not chunk:
            return None, []
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        data += chunk
        if size == _HEADER.size and len(data) == size:
            size += _HEADER.unpack(data)[0]
    return json.loads(data[_HEADER.size :]), list(fds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
