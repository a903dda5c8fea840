"""The session holder: owns one sandbox, its agent's terminal and what a restarted sidecar needs, beyond the controller.

Forked from the zygote, it builds the sandbox only when told to, answers on its inherited channel and then on
`holder.sock`, and writes how the agent ended by itself. It never opens a network connection and reads nothing that
the agent wrote but its terminal output. Single-threaded: the sandbox forks from it.
"""

import asyncio
import hmac
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from app.backends.base import BoxSpec, Command
from app.backends.docker.carried import Carried
from app.backends.docker.entered import Container, Place
from app.backends.local import wire
from app.backends.local.sandbox import Sandbox
from app.errors import CarboyError
from app.processes.agent import Agent
from app.processes.once import run_once
from app.processes.watchdog import Watchdog
from sidecar.control import Answer, Channel, Handler, HandOver, Listener, serve
from sidecar.secret import Secret

log = logging.getLogger(__name__)

UNADOPTED_SECONDS = 24 * 3600.0
"""How long a holder whose agent has ended waits for a controller to collect it."""
MAX_KEPT = 1024 * 1024
"""Bytes of all values that are kept for a restarted sidecar; a key and a canary are below 1 kB."""

type Held = Sandbox | Container
type Op = Callable[[dict[str, Any]], Awaitable[Answer]]


def run(sock: socket.socket) -> None:
    """The holder's whole life, from its first message to its release. The zygote has logs written already."""
    asyncio.run(_run(sock))


async def _run(sock: socket.socket) -> None:
    holder = Holder()
    channel = Channel(sock)
    channel.serve(holder.welcome(channel))
    await holder.released.wait()
    await holder.close()


class Holder:
    """Answers the ops of docs/architecture.md, on every channel alike."""

    def __init__(self) -> None:
        self._sandbox: Held | None = None
        self._spec: BoxSpec | None = None
        self._agent: Agent | None = None
        self._listening: socket.socket | None = None
        self._watchdog: Watchdog | None = None
        self._server: Listener | None = None
        self._values: dict[str, Secret] = {}
        self._channels: set[Channel] = set()
        self._orphaned: asyncio.TimerHandle | None = None
        self.released = asyncio.Event()
        self._ops: dict[str, Op] = {
            name: getattr(self, f"_{name}")
            for name in (
                "open", "build", "keep", "kept", "listener", "check", "start", "attach", "exec",
                "pause", "unpause", "usage", "unlinked", "stop", "kill", "status", "release",
            )
        }  # fmt: skip

    def welcome(self, channel: Channel) -> Handler:
        """What answers a channel that has proved itself (the inherited one has by being inherited)."""
        self._channels.add(channel)
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None
        channel.on_close = lambda: self._left(channel)

        async def answer(op: str, body: dict[str, Any], fds: list[int]) -> Answer:
            for fd in fds:
                os.close(fd)  # no op of the holder takes one
            if op not in self._ops:
                raise CarboyError(f"The session holder knows no {op[:40]!r}", "", "holder")
            answered = await self._ops[op](body)
            if isinstance(answered, HandOver):
                self._channels.discard(channel)
            return answered

        return answer

    async def close(self) -> None:
        """Everything ends: the sandbox first, then the ways in."""
        if self._watchdog is not None:
            self._watchdog.close()
        if self._sandbox is not None:
            self._sandbox.kill()
            if self._agent is not None:
                await self._agent.wait(2.0)
            self._sandbox.close()
        if self._listening is not None:
            self._listening.close()
        if self._server is not None:
            await self._server.close()
        for channel in list(self._channels):
            await channel.drain()
            channel.close()

    def _left(self, channel: Channel) -> None:
        self._channels.discard(channel)
        if self._channels:
            return
        if self._agent is None:
            # a launch that nobody finishes: the controller was killed in the middle of it
            self.released.set()
        elif self._agent.exit is not None:
            self._wait_for_adoption()

    def _wait_for_adoption(self) -> None:
        self._orphaned = asyncio.get_running_loop().call_later(UNADOPTED_SECONDS, self.released.set)

    def _notify(self, name: str, body: dict[str, Any]) -> None:
        for channel in self._channels:
            channel.note(name, body)
        if name == "exited":
            if self._watchdog is not None:
                self._watchdog.close()
            if not self._channels:
                self._wait_for_adoption()

    @property
    def _built(self) -> Held:
        if self._sandbox is None:
            raise CarboyError("This session has no sandbox yet", "", "holder")
        return self._sandbox

    @property
    def _running(self) -> Agent:
        if self._agent is None:
            raise CarboyError("The agent of this session has not been started", "", "holder")
        return self._agent

    # --- ops --------------------------------------------------------------------------------------------------------

    async def _open(self, body: dict[str, Any]) -> Answer:
        """Answer on a socket of our own from now on: how the next controller finds this session."""
        token = Secret(str(body["token"]))
        if self._server is not None or len(token) < 32:
            raise CarboyError("The session's socket is open already, or its token is too short", "", "holder")
        self._server = await serve(
            str(body["socket"]),
            lambda given: hmac.compare_digest(given.encode(), token.reveal().encode()),
            self.welcome,
        )
        return {}

    async def _build(self, body: dict[str, Any]) -> Answer:
        if self._sandbox is not None:
            raise CarboyError("This session has its sandbox already", "", "holder")
        began = time.monotonic()
        spec, place = wire.spec_from_json(body), body.get("container")
        if body.get("again"):
            return self._take_over(spec, Place.from_json(body["container"]))
        sandbox = (
            Sandbox.build(spec)
            if place is None
            else _contained(Place.from_json(place)).build(spec, Place.from_json(place))
        )
        try:
            self._listening = sandbox.listen(spec.listen_port)
        except BaseException:
            sandbox.kill()
            sandbox.close()
            raise
        self._sandbox, self._spec = sandbox, spec
        ms = (time.monotonic() - began) * 1000
        answer = {"engine": sandbox.engine, "init_pid": sandbox.init_pid, "ms": ms, "notes": list(sandbox.notes)}
        return answer, [os.dup(self._listening.fileno())]

    def _take_over(self, spec: BoxSpec, place: Place) -> Answer:
        """A container that outlived its former holder: its agent is attached to, and what it printed is read again. Its
        listening socket is the sidecar's until that one ends."""
        self._sandbox, self._spec = _contained(place).find(spec, place), spec
        transcript = spec.state / "transcript.cast"
        if transcript.exists():
            transcript.rename(spec.state / f"transcript-{time.time_ns()}.cast")
        self._run(Command(("again",), "/", tty=spec.tty))
        return {"engine": self._sandbox.engine, "init_pid": place.pid, "ms": 0.0, "notes": []}

    async def _keep(self, body: dict[str, Any]) -> Answer:
        values = {str(name): Secret(str(value)) for name, value in body.items()}
        if sum(len(value) for value in (self._values | values).values()) > MAX_KEPT:
            raise CarboyError("Too much to keep", "", "holder")
        self._values |= values
        return {}

    async def _kept(self, body: dict[str, Any]) -> Answer:
        value = self._values.get(str(body["name"]))
        if value is None:
            raise CarboyError("Nothing of that name is kept", "", "not_found")
        return {"value": value.reveal()}

    async def _listener(self, body: dict[str, Any]) -> Answer:
        del body
        if self._listening is None:
            self._listening = self._built.listen(self._spec.listen_port if self._spec else 0)
        return {}, [os.dup(self._listening.fileno())]

    async def _check(self, body: dict[str, Any]) -> Answer:
        del body
        sandbox = self._built
        found = sandbox.check(self._spec.listen_port if self._spec else 0)
        return {"checks": [asdict(check) for check in found]}

    async def _start(self, body: dict[str, Any]) -> Answer:
        if self._agent is not None:
            raise CarboyError("The agent of this session was started already", "", "holder")
        return {"pid": self._run(wire.command_from_json(body)).pid}

    def _run(self, command: Command) -> Agent:
        sandbox, spec = self._built, self._spec
        assert spec is not None
        agent = self._agent = Agent(sandbox, command, spec.state, self._notify)
        if not sandbox.memory_is_held:
            self._watchdog = Watchdog(sandbox, spec.limits, self._over_limit)
        if spec.limits.wall_clock is not None:
            agent.end_after(spec.limits.wall_clock)
        return agent

    def _over_limit(self, reason: str) -> None:
        agent = self._running
        agent.reason = agent.reason or reason
        self._built.kill()

    async def _attach(self, body: dict[str, Any]) -> Answer:
        agent = self._running
        rows, cols = int(body.get("rows", 24)), int(body.get("cols", 80))
        if not (1 <= rows <= 1000 and 1 <= cols <= 1000):
            raise CarboyError("A terminal has 1 to 1000 rows and columns", "", "holder")
        return HandOver({}, lambda sock, rest: agent.attach(sock, rest, rows, cols))

    async def _exec(self, body: dict[str, Any]) -> Answer:
        return await run_once(self._built, body)

    async def _pause(self, body: dict[str, Any]) -> Answer:
        del body
        self._built.freeze()
        return {}

    async def _unpause(self, body: dict[str, Any]) -> Answer:
        del body
        self._built.thaw()
        return {}

    async def _usage(self, body: dict[str, Any]) -> Answer:
        del body
        return asdict(self._built.usage())

    async def _unlinked(self, body: dict[str, Any]) -> Answer:
        del body
        return {"bytes": self._built.unlinked()}

    async def _stop(self, body: dict[str, Any]) -> Answer:
        await self._running.stop(min(float(body.get("grace", 5.0)), 60.0))
        return {}

    async def _kill(self, body: dict[str, Any]) -> Answer:
        del body
        self._built.kill()
        return {}

    async def _status(self, body: dict[str, Any]) -> Answer:
        del body
        agent, sandbox = self._agent, self._sandbox
        state = "empty" if sandbox is None else "built" if agent is None else "exited" if agent.exit else "running"
        return {
            "state": state,
            "pid": agent.pid if agent else None,
            "exit": None if agent is None or agent.exit is None else asdict(agent.exit) | {"reason": agent.reason},
            "title": agent.title if agent else "",
            "engine": sandbox.engine if sandbox else "",
        }

    async def _release(self, body: dict[str, Any]) -> Answer:
        del body
        if self._sandbox is not None:
            self._sandbox.kill()
            if self._agent is not None:
                await self._agent.wait(2.0)
        asyncio.get_running_loop().call_soon(self.released.set)
        return {}


def _contained(place: Place) -> type[Container]:
    return Carried if place.carried else Container
