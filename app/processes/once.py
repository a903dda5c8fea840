"""One command beside the agent, without a terminal: runs it, collects its output, kills its group at the timeout."""

import asyncio
import base64
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from app.backends.base import Command

if TYPE_CHECKING:
    from app.processes.holder import Held

MAX_OUTPUT = 4 * 1024 * 1024
"""Bytes of output kept: the answer is one frame of at most 16 MiB, in base64."""
MAX_SECONDS = 3600.0


async def run_once(sandbox: "Held", body: dict[str, Any]) -> dict[str, Any]:
    """The `exec` op: `{argv, env, cwd, timeout}` → `{code, output (base64), timed_out}`."""
    argv = tuple(str(word) for word in body["argv"])
    env = {str(name): str(value) for name, value in (body.get("env") or {}).items()}
    timeout = min(float(body.get("timeout", 60.0)), MAX_SECONDS)
    child = sandbox.spawn(Command(argv, str(body.get("cwd") or "/"), env, tty=False))
    output = bytearray()
    timed_out = False
    try:
        async with asyncio.timeout(timeout):
            await _collect(child.output_fd, output)
            await _readable(child.pidfd)
    except TimeoutError:
        timed_out = True
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        os.close(child.output_fd)
    await _readable(child.pidfd)
    os.close(child.pidfd)
    _, status = os.waitpid(child.pid, 0)  # noqa: ASYNC222  # it has ended: nothing is waited for
    sandbox.reaped(child.pid)
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": 128 - code if code < 0 else code,
        "output": base64.b64encode(bytes(output)).decode(),
        "timed_out": timed_out,
    }


async def _collect(fd: int, output: bytearray) -> None:
    os.set_blocking(fd, False)
    while True:
        await _readable(fd)
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            continue
        if not data:
            return
        output += data[: MAX_OUTPUT - len(output)]


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)
