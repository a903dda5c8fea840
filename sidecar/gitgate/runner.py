"""The process that starts git, and nothing but git: the sidecar itself may execute nothing.

It is forked off before the sidecar locks itself in, knows no secret, reads nothing of a bottle, and takes orders on one
socket: which of a fixed list of programs, with what arguments, on which descriptors. It encloses itself before the
first order (`walls`); when the sidecar is gone it kills what it started and ends. One thread, no event loop.
"""

import contextlib
import os
import select
import signal
import socket
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import orjson

from sidecar.contract import Note, Reply, Request
from sidecar.forked import close_all_but, forked
from sidecar.framing import BadFrame, Inbox, close_fds, pack
from sidecar.gitgate import walls

MAX_CHILDREN = 32
SPARES = 2
"""A scan starts as many at once."""
_FIRST_EXTRA = 3
_VARIABLES = ("GIT_", "LC_ALL", "SSH_AUTH_SOCK", "NO_PROXY", "GITLEAKS_")


def start() -> socket.socket:
    """Fork it; the caller has no threads. Its end of the socket pair; closing that ends the runner."""
    return forked("git runner", lambda sock: Runner(sock).serve())


@dataclass(frozen=True)
class Order:
    """One program to start: argv without the program, variables, where, and whether it may use the network."""

    program: str
    args: list[str]
    env: dict[str, str]
    cwd: str
    online: bool


@dataclass(frozen=True)
class Spare:
    """A child that was forked ahead and waits for what it is to become: a fork of a process of this size takes longer
    than most gits. Behind the same walls; it ends with its runner."""

    pid: int
    sock: socket.socket

    @classmethod
    def make(cls) -> "list[Spare]":
        """One, where the system has room for it."""
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return []
        if pid == 0:
            _wait_in_it(theirs)
        theirs.close()
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return [cls(pid, ours)]

    def take(self, order: Order, fds: list[int]) -> int:
        """Have it become that. Its number, or nothing where it is gone."""
        data = orjson.dumps(order)
        data = len(data).to_bytes(4, "big") + data
        with self.sock:
            try:
                sent = socket.send_fds(self.sock, [data], fds)
                if sent < len(data):  # else it is on its way, and has closed its end
                    self.sock.sendall(data[sent:])
            except OSError:
                return 0
        return self.pid


class Runner:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._inbox = Inbox()
        self._folder = ""
        self._programs: dict[str, str] = {}
        self._children: set[int] = set()
        self._spares: list[Spare] = []
        self._roomy = True
        self._wake, self._wake_in = os.pipe()

    def serve(self) -> None:
        """Until the sidecar is gone."""
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_in, False)
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while True:
                lacking = self._roomy and self._children and len(self._spares) < SPARES
                found = poll.poll(0 if lacking else None)
                for fd, _ in found:
                    if fd == self._wake:
                        self._reap()
                    elif not self._read():
                        return
                if lacking and not found:
                    made = Spare.make()
                    self._spares += made
                    self._roomy = bool(made)
        finally:
            for pid in self._children:
                _kill(pid)

    def _read(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 65536, 16)
        except ConnectionResetError:
            return False
        if not data:
            return False
        try:
            self._inbox.feed(data, fds)
            while (taken := self._inbox.take()) is not None:
                message, given = taken
                if isinstance(message, Request):
                    self._answer(message, given)
                close_fds(given)
        except (BadFrame, OSError):
            return False
        return True

    def _answer(self, request: Request, fds: list[int]) -> None:
        try:
            body = self._do(request.op, request.body, fds)
            reply = Reply(re=request.seq, ok=True, body=body)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reply = Reply(re=request.seq, ok=False, error=f"{type(error).__name__}: {error}"[:300])
        self._send(reply)

    def _do(self, op: str, body: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        match op:
            case "setup" if not self._folder:
                self._folder = os.path.realpath(str(body["folder"]))
                self._programs = walls.programs()
                missing = walls.enclose(self._folder)
                return {"missing": missing, "programs": self._programs}
            case "run" if self._folder:
                order = Order(
                    str(body["program"]),
                    [str(each) for each in body["args"]],
                    {str(name): str(value) for name, value in body["env"].items()},
                    str(body["cwd"]),
                    bool(body["online"]),
                )
                return {"pid": self._start(order, fds)}
            case "kill":
                pid = int(body["pid"])
                if pid in self._children:
                    _kill(pid)
                return {}
            case _:
                raise ValueError("not an order of its time")

    def _start(self, order: Order, fds: list[int]) -> int:
        program = self._programs[order.program]
        inside = os.path.realpath(order.cwd)
        if inside != self._folder and not inside.startswith(self._folder + "/"):
            raise ValueError("outside of the gate's folder")
        if len(self._children) >= MAX_CHILDREN:
            raise ValueError("too many programs at once")
        if len(fds) < _FIRST_EXTRA:
            raise ValueError("without its descriptors")
        env = {name: value for name, value in order.env.items() if name.startswith(_VARIABLES)}
        own = self._folder
        env |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": f"{own}/home", "TMPDIR": f"{own}/tmp"}  # noqa: S108
        order = replace(order, program=program, args=[order.program, *order.args], env=env, cwd=inside)
        self._roomy = True
        pid = self._spares.pop().take(order, fds) if self._spares else 0
        if not pid and (pid := os.fork()) == 0:
            _become(order, fds)
        self._children.add(pid)
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] not in self._children:  # a spare
                    continue
                self._children.discard(found[0])
                # helpers of its own that it left behind
                _kill(found[0])
                self._send(Note(note="ended", body={"pid": found[0], "code": os.waitstatus_to_exitcode(found[1])}))

    def _send(self, message: Reply | Note) -> None:
        self._sock.sendall(pack(message))


def _wake_up(number: int, frame: object) -> None:
    """The number comes over the wake-up descriptor."""


def _kill(pid: int) -> None:
    """The program and all it started: each leads a process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _wait_in_it(sock: socket.socket) -> NoReturn:
    """In the spare child: until there is an order for it, or nobody who could give one."""
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        close_all_but(sock)
        data, fds, _, _ = socket.recv_fds(sock, 65536, 16)
        size = 4 + int.from_bytes(data[:4], "big")
        while data and len(data) < size:
            more = sock.recv(size - len(data))
            data = data + more if more else b""
        if data:
            _become(Order(**orjson.loads(data[4:])), fds)
    finally:
        os._exit(127)


def _become(order: Order, fds: list[int]) -> NoReturn:
    """In the child: the given descriptors as 0, 1, 2 and so on, nothing else, and the program."""
    code = 127
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(order.cwd)
        parked = [os.dup(fd) for fd in fds]
        while min(parked) < len(fds):
            parked = [os.dup(fd) for fd in parked]
        for target, source in enumerate(parked):
            os.dup2(source, target, inheritable=True)
        os.closerange(len(fds), os.sysconf("SC_OPEN_MAX"))
        walls.before_exec(online=order.online, ssh=order.args[0] == "ssh" or "GIT_SSH_COMMAND" in order.env)
        os.execve(order.program, order.args, order.env)  # noqa: S606
    except BaseException as error:
        os.write(2, f"{order.args[0]} could not be started: {type(error).__name__}\n".encode())
    finally:
        os._exit(code)
