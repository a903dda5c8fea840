"""Running a function of ours in a forked child that has joined a sandbox, and getting its answer and descriptors.

The child must not outlive the call and never returns into the caller's code.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from app.errors import CarboyError

type Told = tuple[dict[str, Any], Sequence[int]]
_MAX_ANSWER = 1024 * 1024
_MAX_FDS = 4


def fork_and_ask(work: Callable[[], Told], *, seconds: float) -> tuple[dict[str, Any], list[int]]:
    """Run `work` in a child; returns its answer and the descriptors that it passed, which are the caller's to close.

    Raises CarboyError with the child's error, or when it takes longer than `seconds`.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _answer(work, theirs)
    theirs.close()
    try:
        message, fds = _receive(ours, seconds)
    finally:
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    answer = json.loads(message) if message else {"error": "it ended without an answer"}
    if "error" in answer:
        for fd in fds:
            os.close(fd)
        raise CarboyError(f"Inside the sandbox: {answer['error']}", "Run `carboy doctor`", "sandbox")
    return answer, fds


def _answer(work: Callable[[], Told], channel: socket.socket) -> NoReturn:
    try:
        answer, fds = work()
        socket.send_fds(channel, [json.dumps(answer).encode()], list(fds))
    except BaseException as error:
        with contextlib.suppress(OSError):
            channel.send(json.dumps({"error": f"{type(error).__name__}: {error}"[:2000]}).encode())
    finally:
        os._exit(0)


def _receive(channel: socket.socket, seconds: float) -> tuple[bytes, list[int]]:
    deadline = time.monotonic() + seconds
    readable, _, _ = select.select([channel], [], [], max(0.0, deadline - time.monotonic()))
    if not readable:
        raise CarboyError("A step inside the sandbox did not end in time", "Run `carboy doctor`", "sandbox")
    space = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
    message, ancillary, _, _ = channel.recvmsg(_MAX_ANSWER, space, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return message, list(fds)
