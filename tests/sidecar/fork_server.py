"""Sidecars for tests, forked from a process that has everything imported, as the product's zygote does it.

A fresh interpreter spends 1.6 s of CPU on imports; a fork of this one a few hundredths. Each child runs a program's
`__main__` as `python -m` would. One server for each process of tests; it ends with it.
"""

import contextlib
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
_ORDER_BYTES = 1 << 20
_ASKING = threading.Lock()


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

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        os.close(self._pidfd)


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        process = subprocess.Popen([sys.executable, "-m", __name__, str(number)], pass_fds=[number], cwd=ROOT)
    return ours, process


def _ask(order: dict[str, object], fds: list[int]) -> tuple[str, list[int]]:
    server, _ = _server()
    with _ASKING:
        socket.send_fds(server, [json.dumps(order).encode()], fds)
        answer, fds, _, _ = socket.recv_fds(server, 100, 1)
    if not answer:
        raise RuntimeError("the server of test sidecars has ended")
    return answer.decode(), fds


def fork(program: str, channel: socket.socket, log: int, environ: dict[str, str]) -> Forked:
    """Run `python -m program --fd N` with `channel` as its N, stderr in `log` and `environ` added to this process's."""
    order = {"program": program, "environ": {**os.environ, **environ}}
    pid, fds = _ask(order, [channel.fileno(), log])
    return Forked(int(pid), fds[0])


def _serve(control: socket.socket) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(control, _ORDER_BYTES, 2)
        if not message:
            return
        order = json.loads(message)
        if "ended" in order:
            code = os.waitstatus_to_exitcode(os.waitpid(order["ended"], 0)[1])
            control.send(str(code).encode())
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            _become(order, *fds)
        pidfd = os.pidfd_open(pid)
        socket.send_fds(control, [str(pid).encode()], [pidfd])
        for fd in (*fds, pidfd):
            os.close(fd)


def _become(order: dict[str, object], channel: int, log: int) -> NoReturn:
    code = 1
    try:
        os.dup2(log, 2)
        os.close(log)
        os.environ.clear()
        os.environ.update(order["environ"])  # type: ignore[arg-type]
        program = str(order["program"])
        sys.argv = [program, "--fd", str(channel)]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    from sidecar import prepared

    prepared.prepare()
    import sidecar.__main__

    sidecar.__main__.preload()
    prepared.prepare = lambda: None  # done, for all children
    gc.collect()
    gc.freeze()
    _serve(control)


if __name__ == "__main__":
    main()
