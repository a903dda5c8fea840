"""One container: what its holder does not do itself is asked of the engine, on threads."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.backends.base import BoxSpec, ExecResult, Exit, Usage
from app.backends.docker import walling
from app.backends.docker.engine import Engine
from app.backends.docker.facts import Facts
from app.backends.docker.watch import Watch
from app.backends.held import HeldBox
from app.errors import CarboyError, NotFound

MAX_OUTPUT = 4 * 1024 * 1024
"""Of an `exec`, as with the local backend."""
FREEZES = 5
_WITH_PID = 'printf "%s\\n" "$$"; exec "$@"'
"""The first line of its output is the group to kill at the timeout."""


class DockerBox(HeldBox):
    """Made by the backend, which says with `at` where it is."""

    container_engine: Engine
    facts: Facts
    spec: BoxSpec | None = None

    watch: Watch
    helping: Callable[[], Awaitable[None]] | None = None
    """Of one whose holder is its second: what lets that holder into the container again, once."""

    def at(self, engine: Engine, watch: Watch, facts: Facts, spec: BoxSpec | None) -> None:
        self.container_engine, self.watch, self.facts, self.spec = engine, watch, facts, spec

    async def listener(self) -> socket.socket:
        if self.helping is None:
            return await super().listener()
        found, _ = await asyncio.gather(super().listener(), self.helping())
        self.helping = None
        return found

    async def wait(self) -> Exit:
        def tell(answers: bool) -> None:
            self._heard("engine", {"answers": answers})

        self.watch.add(tell)
        try:
            return await super().wait()
        finally:
            self.watch.remove(tell)

    async def pause(self) -> None:
        if self.facts.bounds:  # its engine has no control groups: its holder stops every process
            await super().pause()
            return
        for left in reversed(range(FREEZES)):
            try:
                await self.container_engine.call(lambda client: client.api.pause(self.facts.id))
            except CarboyError as error:  # runc gives up on a busy machine, with version 1 of control groups
                if "unable to freeze" not in error.message or not left:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def unpause(self) -> None:
        if self.facts.bounds:
            await super().unpause()
            return
        await self.container_engine.call(lambda client: client.api.unpause(self.facts.id))

    async def stop(self, grace: float = 5.0) -> None:
        await self._let_go_on()
        await super().stop(grace)

    async def kill(self) -> None:
        await self._let_go_on()
        try:
            await super().kill()
        except CarboyError:  # the holder is gone
            with contextlib.suppress(NotFound):
                await self.container_engine.call(lambda client: client.api.kill(self.facts.id, "SIGKILL"))

    async def _let_go_on(self) -> None:
        """A frozen container takes no signal."""
        with contextlib.suppress(CarboyError):
            await self.container_engine.call(self._thaw)

    def _thaw(self, client: Any) -> None:
        if client.api.inspect_container(self.facts.id)["State"].get("Paused"):
            client.api.unpause(self.facts.id)

    async def usage(self) -> Usage:
        if self.facts.bounds:
            return await super().usage()
        found = await self.container_engine.call(
            lambda client: client.api.stats(self.facts.id, stream=False, one_shot=True)
        )
        memory, cpu = found.get("memory_stats") or {}, found.get("cpu_stats") or {}
        stats = memory.get("stats") or {}
        cached = stats.get("total_inactive_file") or stats.get("inactive_file") or 0  # version 1, version 2
        return Usage(
            memory=max(0, int(memory.get("usage", 0)) - int(cached)),
            pids=int((found.get("pids_stats") or {}).get("current", 0)),
            cpu_seconds=int((cpu.get("cpu_usage") or {}).get("total_usage", 0)) / 1e9,
        )

    async def exec(self, argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None) -> ExecResult:
        engine, output, started = self.container_engine, bytearray(), list[str]()
        bounded = f"{{ {self.facts.bounds}; }} || exit 126; " if self.facts.bounds else ""
        walls = walling.words(ptrace=self.facts.ptrace) if self.facts.own_kernel else ()
        command = [*walls, "/bin/sh", "-c", bounded + _WITH_PID, "sh", *argv]
        variables = {**(self.spec.env if self.spec else {}), **(env or {})}

        def run(client: Any) -> int:
            started.append(client.api.exec_create(self.facts.id, command, environment=variables)["Id"])
            for piece in client.api.exec_start(started[0], stream=True):
                output.extend(piece[: MAX_OUTPUT + 32 - len(output)])
            return int(client.api.exec_inspect(started[0])["ExitCode"] or 0)

        running = asyncio.ensure_future(engine.call(run))  # noqa: TID251
        done, _ = await asyncio.wait({running}, timeout=timeout)
        timed_out = not done
        if timed_out:
            await self._kill_group(bytes(output))
        code = await running
        _, _, rest = bytes(output).partition(b"\n")
        return ExecResult(code, rest, timed_out)

    async def _kill_group(self, output: bytes) -> None:
        pid, _, _ = output.partition(b"\n")
        if not pid.isdigit():
            return
        kill = ["/bin/sh", "-c", f"kill -9 -{int(pid)} || kill -9 {int(pid)}"]
        await self.container_engine.call(
            lambda client: client.api.exec_start(client.api.exec_create(self.facts.id, kill)["Id"])
        )
