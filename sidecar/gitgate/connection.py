"""One SSH connection to an upstream, for all gits that call it within a short time: a push looks what is there, fetches
and pushes, and a handshake each would take longer than the rest.

An `ssh` of its own that the runner starts makes it, with the pinned host key and the key's agent, and is ended when
nobody has used it for a while. What cannot be shared is no failure: each git then connects by itself, and says why.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from sidecar.gitgate import limits
from sidecar.gitgate.git import Git, GitFailed, Running
from sidecar.tasks import spawn

POLL_SECONDS = 0.005
START_SECONDS = 12.0
"""A little more than ssh's own limit for connecting."""


@dataclass
class _Master:
    running: Running
    stack: contextlib.AsyncExitStack
    began: float


class Connection:
    """Of one repository. `socket` is its name in the gate's folder: short, since the whole path of a socket may have
    some hundred characters; gits of ours work in folders directly below."""

    def __init__(self, git: Git, socket: str) -> None:
        self._git = git
        self._path = git.folder / socket
        self._name = socket
        self._lock = asyncio.Lock()
        self._master: _Master | None = None
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def open(self, ssh: list[str]) -> AsyncGenerator[str]:
        """For one git: what its ControlPath is to be. `ssh` is the command line, to the server, that connects."""
        async with self._lock:
            await self._have(ssh)
            self._users += 1
        try:
            yield str(Path("..") / self._name)
        finally:
            self._users -= 1
            self._later()

    async def close(self) -> None:
        async with self._lock:
            await self._end()

    async def _have(self, ssh: list[str]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._master is not None and not self._master.running.ended.done():
            young = time.monotonic() - self._master.began < limits.SHARED_SECONDS
            if self._users or young:
                return
        await self._end()
        await self._begin(ssh)

    async def _begin(self, ssh: list[str]) -> None:
        self._path.unlink(missing_ok=True)
        stack = contextlib.AsyncExitStack()
        began = time.monotonic()
        args = [*ssh[1:-1], "-M", "-N", "-o", f"ControlPath={self._name}", ssh[-1]]
        try:
            running = await stack.enter_async_context(
                self._git.start(*args, cwd=self._git.folder, program="ssh", online=True, idle=0)
            )
        except (GitFailed, KeyError):
            return
        while not self._path.exists():
            if running.ended.done() or time.monotonic() - began > START_SECONDS:
                await stack.aclose()
                return
            await asyncio.sleep(POLL_SECONDS)
        self._master = _Master(running, stack, began)

    def _later(self) -> None:
        if not self._users and self._timer is None and self._master is not None:
            self._timer = asyncio.get_running_loop().call_later(limits.SHARED_IDLE_SECONDS, self._unused)

    def _unused(self) -> None:
        self._timer = None
        if not self._users:
            self._closing = spawn(self._close_unused(), name="git-ssh")

    async def _close_unused(self) -> None:
        async with self._lock:
            if not self._users:
                await self._end()

    async def _end(self) -> None:
        master, self._master = self._master, None
        if master is not None:
            await master.stack.aclose()
            self._path.unlink(missing_ok=True)
