"""Sidecars, zygotes, controllers and commands for tests, forked from a process that has everything imported, as the
product's zygote does it.

A fresh interpreter spends 1.6 s of CPU on a sidecar's imports, 1 on a controller's, 2.6 on a zygote's and half a
second on a command's; a fork of this one a few hundredths. Each child runs a program's `__main__` as `python -m`
would. One server for each process of tests, and those that it starts in its own namespaces; it ends with it. Linux
only.
"""

import asyncio
import contextlib
import fcntl
import functools
import gc
import importlib
import json
import os
import runpy
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from app.processes.spawner import Zygote, environment

ROOT = Path(__file__).parents[1]
CHANNEL_FD = 3
"""Where a child finds its socket; above it nothing is open."""
_SERVER = "CARBOY_TEST_FORK_SERVER"
"""The abstract socket of a server that serves this process too, and the `_here` for which that is so."""
_ORDER_BYTES = 1 << 20
_ASKING = threading.Lock()
_STARTING = threading.Lock()


class Forked:
    """A child of the server, by a descriptor that means this process alone: what the tests use of `Popen`."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code once it has ended: the server's to know, which keeps it until it is asked."""
        if self._code is None and select.select([self._pidfd], [], [], 0)[0]:
            answer, _ = _ask({"ended": self.pid}, [])
            self._code = int(answer)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self._code is None:
            select.select([self._pidfd], [], [], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("sidecar", timeout or 0)
        return code

    async def ended(self) -> int:
        """As `wait`, without a thread."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        own = os.dup(self._pidfd)  # a loop has one reader for a descriptor
        loop.add_reader(own, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_reader(own)
            os.close(own)
        return self.wait()

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class _Process:
    """What the spawner uses of `asyncio.subprocess.Process`."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked
        self.pid = forked.pid
        self.kill = forked.kill

    @property
    def returncode(self) -> int | None:
        return self._forked.poll()

    async def wait(self) -> int:
        return await self._forked.ended()


class ForkedZygote(Zygote):
    """A zygote that need not import: `tests/processes/test_zygote.py` and every controller that is not forked itself
    start real ones."""

    async def _execute(self, control: socket.socket, log: Any) -> Any:
        if sys.platform != "linux":
            return await super()._execute(control, log)
        environ = environment(self._log_folder)
        arguments = [str(CHANNEL_FD)]
        forked = await asyncio.to_thread(
            fork, "app.processes.zygote", arguments, control.fileno(), log.fileno(), environ
        )
        return _Process(forked)


def fork_sidecar(channel: socket.socket, log: int, environ: dict[str, str], program: str = "sidecar") -> Forked:
    """Run `program` as a sidecar with `channel`, stderr in `log` and `environ` added to this process's."""
    return fork(program, ["--fd", str(CHANNEL_FD)], channel.fileno(), log, {**os.environ, **environ})


def fork(program: str, arguments: list[str], channel: int, log: int, environ: dict[str, str]) -> Forked:
    """Run `python -m PROGRAM ARGUMENTS` with `channel` as its descriptor 3 and what it prints in `log`."""
    with open(os.devnull) as null:
        return _fork(program, arguments, [null.fileno(), log, log, channel], environ, ROOT)


def carboy(
    *arguments: str, cwd: Path, environ: dict[str, str], stdin: str = "", timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """One command, and what came of it: as `subprocess.run` has it. Raises subprocess.TimeoutExpired."""
    if sys.platform != "linux":
        command, environ = [sys.executable, "-P", "-m", "app", *arguments], environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, cwd=cwd, env=environ, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        forked = _fork("app", list(arguments), [file.fileno() for file in files], environ, cwd)
        stack.callback(forked.close)
        stack.callback(forked.kill)
        code = forked.wait(timeout)
        for file in files[1:]:
            file.seek(0)
        return subprocess.CompletedProcess(arguments, code, files[1].read(), files[2].read())


def _fork(program: str, arguments: list[str], fds: list[int], environ: dict[str, str], cwd: Path) -> Forked:
    """With `fds` as its descriptors from 0 on, and no other."""
    _server()  # whose name is in the environment then
    given = {name: value for name, value in os.environ.items() if name == _SERVER}
    order = {"program": program, "arguments": arguments, "environ": environ | given, "cwd": str(cwd)}
    pid, fds = _ask(order, fds)
    return Forked(int(pid), fds[0])


def _ask(order: dict[str, object], fds: list[int]) -> tuple[str, list[int]]:
    server = _server()
    with _ASKING:
        socket.send_fds(server, [json.dumps(order).encode()], fds)
        answer, fds, _, _ = socket.recv_fds(server, 100, 1)
    if not answer:
        raise RuntimeError("the server of forked processes has ended")
    return answer.decode(), fds


def _server() -> socket.socket:
    with _STARTING:  # threads that need it first at the same time must not each start one
        return _connected()


@functools.cache
def _connected() -> socket.socket:
    name, _, where = os.environ.get(_SERVER, "").partition(" ")
    if where != _here():
        name, where = f"carboy-test-{os.getpid()}-{secrets.token_hex(8)}", _here()
        _start(name)
        os.environ[_SERVER] = f"{name} {where}"
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect("\0" + name)
    return client


def _here() -> str:
    """The same for processes of one user that see the same files, network and processes."""
    return " ".join([str(os.geteuid()), *(os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net", "pid"))])


@functools.cache
def _start(name: str) -> tuple[subprocess.Popen[bytes], int]:
    """A server and the end of a pipe: it lives until that is closed, which is when this process ends."""
    theirs, ours = os.pipe()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("\0" + name)
    listener.listen(64)
    with listener:
        command = [sys.executable, "-m", __name__, str(listener.fileno())]
        process = subprocess.Popen(command, stdin=theirs, pass_fds=[listener.fileno()], cwd=ROOT)
    os.close(theirs)
    return process, ours


def _serve(listener: socket.socket) -> None:
    """Orders of all who connect, until the pipe on stdin ends."""
    clients: dict[int, socket.socket] = {}
    ended: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([0, listener, *clients], [], [])
        if 0 in ready:
            return
        if listener in ready:
            client, _ = listener.accept()
            clients[client.fileno()] = client
        for number in ready:
            if number in clients and not _one(clients[number], ended):
                clients.pop(number).close()


def _one(client: socket.socket, ended: dict[int, int]) -> bool:
    try:
        _reap(ended)
        message, fds, _, _ = socket.recv_fds(client, _ORDER_BYTES, CHANNEL_FD + 1)
        if not message:
            return False
        order = json.loads(message)
        if "ended" in order:
            client.send(str(ended.pop(order["ended"])).encode())
            return True
        pid = os.fork()
        if pid == 0:
            _become(order, fds)
        pidfd = os.pidfd_open(pid)
        for fd in fds:
            os.close(fd)
        try:
            socket.send_fds(client, [str(pid).encode()], [pidfd])
        finally:
            os.close(pidfd)
    except OSError:  # it was killed
        return False
    return True


def _reap(ended: dict[int, int]) -> None:
    """Exit codes of children that have ended, for those who will ask."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])


def _become(order: dict[str, Any], fds: list[int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.chdir(order["cwd"])
        for target, source in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, CHANNEL_FD + 1) for fd in fds]):
            os.dup2(source, target, inheritable=True)
        os.closerange(len(fds), os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(order["environ"])
        time.tzset()
        if shown := os.environ.get("PYTHONWARNINGS"):
            warnings.simplefilter(shown)  # pyright: ignore[reportArgumentType]
        program = str(order["program"])
        sys.argv = [program, *order["arguments"]]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.set_inheritable(False)
    from app.cli import COMMANDS
    from app.client import start
    from sidecar import lean, prepared
    from tests.controllers import spawned

    lean.leave_out()
    prepared.prepare()
    commands = {where.partition(":")[0] for where, _ in COMMANDS.values()}
    for name in ("sidecar.__main__", "app.processes.holder", "app.controller.wiring", *sorted(commands)):
        importlib.import_module(name)
    sys.modules["sidecar.__main__"].preload()
    Zygote._execute = ForkedZygote._execute  # of controllers that are forked
    start._spawn = spawned  # of commands that are
    prepared.prepare = lambda: None  # done, for all children
    gc.collect()
    gc.freeze()
    _serve(listener)


if __name__ == "__main__":
    main()
