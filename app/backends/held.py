"""A sandbox that a session holder holds, seen from the controller: a thin client of that holder. Makes nothing.

What a holder answers is data of a less trusted part and is validated here before anyone uses it.
"""

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from app.backends.base import Box, BoxSpec, Check, Command, ExecResult, Exit, Terminal, Usage
from app.backends.local import wire
from app.errors import CarboyError, NotFound, from_dict
from app.processes import stream
from app.tasks import cancel_and_wait, spawn
from sidecar.control import Channel, ChannelClosed, RemoteError, connect
from sidecar.secret import Secret

BUILD_SECONDS = 60.0
CALL_SECONDS = 30.0
SOCKET = "holder.sock"
_CHUNK = 65536
_GONE = "The session holder is gone, and its sandbox with it"


class Forked(Protocol):
    """A session holder, freshly forked, waiting for its first message on `channel`."""

    pid: int
    channel: Channel

    def kill(self) -> None: ...
    def close(self) -> None: ...


type ForkHolder = Callable[[str], Awaitable[Forked]]
type TokenOf = Callable[[str], str]
type Dial = Callable[[], Awaitable[Channel]]


def dialler(session_id: str, run: Path, token: TokenOf) -> Dial:
    return lambda: connect(run / SOCKET, token(session_id))


async def build(holder: Forked, spec: BoxSpec, **more: Any) -> dict[str, Any]:
    """Let a fresh holder build `spec`; it is killed where it cannot. `more` is what only some backends say."""
    try:
        answer, fds = await call(
            holder.channel, "build", wire.spec_to_json(spec) | more, takes=1, seconds=BUILD_SECONDS
        )
        for fd in fds:
            os.close(fd)
    except BaseException:
        holder.kill()
        holder.close()
        raise
    return answer


async def find(dial: Dial) -> tuple[Channel, dict[str, Any]] | None:
    """The channel to a holder that has its sandbox, with its status; None where there is none."""
    try:
        channel = await dial()
    except (OSError, TimeoutError):
        return None
    status, _ = await call(channel, "status")
    if status.get("state") == "empty":
        channel.close()
        return None
    return channel, status


async def call(
    channel: Channel,
    op: str,
    body: dict[str, Any] | None = None,
    *,
    takes: int = 0,
    seconds: float | None = CALL_SECONDS,
) -> tuple[dict[str, Any], list[int]]:
    """Ask a holder. Raises the CarboyError that it answered with, or one that says that it is gone."""
    try:
        return await channel.call(op, body, takes=takes, timeout=seconds)
    except RemoteError as error:
        raise from_dict(error.body) if error.body else CarboyError(str(error), "", "holder") from None
    except ChannelClosed:
        raise CarboyError(_GONE, "Start the bottle again", "holder") from None
    except TimeoutError:
        raise CarboyError(f"The session holder did not answer ({op})", "Kill the bottle", "holder") from None


class HeldBox(Box):
    """One session holder's sandbox."""

    def __init__(self, session_id: str, channel: Channel, dial: Dial, engine: str) -> None:
        self.session_id = session_id
        self.engine = engine
        self.notes = None
        self._channel = channel
        self._dial = dial
        self.forked: Forked | None = None
        self._ended = asyncio.Event()
        channel.notes = self._heard

    def _heard(self, name: str, body: dict[str, Any]) -> None:
        if name == "exited":
            self._ended.set()
        if self.notes is not None:
            self.notes(name, body)

    async def listener(self) -> socket.socket:
        _, fds = await call(self._channel, "listener", takes=1)
        if not fds:
            raise CarboyError("The session holder gave no listening socket", "Kill the bottle", "holder")
        return socket.socket(fileno=fds[0])

    async def check(self) -> list[Check]:
        answer, _ = await call(self._channel, "check")
        return [Check(str(one["name"]), one["ok"] is True, str(one["detail"])[:200]) for one in answer["checks"]]

    async def start(self, command: Command) -> None:
        await call(self._channel, "start", wire.command_to_json(command))

    async def attach(self, rows: int = 24, cols: int = 80) -> Terminal:
        own: Channel | None = None
        try:
            own = await self._dial()
            _, sock, rest = await own.upgrade("attach", {"rows": rows, "cols": cols}, timeout=CALL_SECONDS)
            own = None  # its socket is the terminal's now
        except RemoteError as error:
            raise from_dict(error.body) if error.body else CarboyError(str(error), "", "holder") from None
        except (ChannelClosed, OSError, TimeoutError):
            raise CarboyError(_GONE, "Start the bottle again", "holder") from None
        finally:
            if own is not None:
                own.close()
        return HeldTerminal(sock, rest)

    async def wait(self) -> Exit:
        closed = spawn(self._channel.wait_closed(), name="holder-closed")
        ended = spawn(self._ended.wait(), name="agent-ended")
        try:
            while (found := await self._exit()) is None:
                await asyncio.wait({closed, ended}, return_when=asyncio.FIRST_COMPLETED)
                if closed.done():
                    raise CarboyError(_GONE, "Start the bottle again", "holder")
            return found
        finally:
            await cancel_and_wait(closed, ended)

    async def _exit(self) -> Exit | None:
        status, _ = await call(self._channel, "status")
        found = status.get("exit")
        return None if found is None else Exit(int(found["code"]), float(found["at"]))

    async def exec(self, argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None) -> ExecResult:
        body = {"argv": list(argv), "timeout": timeout, "env": env or {}}
        answer, _ = await call(self._channel, "exec", body, seconds=timeout + CALL_SECONDS)
        output = base64.b64decode(str(answer["output"]))
        return ExecResult(int(answer["code"]), output, bool(answer["timed_out"]))

    async def stop(self, grace: float = 5.0) -> None:
        await call(self._channel, "stop", {"grace": grace}, seconds=grace + CALL_SECONDS)

    async def kill(self) -> None:
        await call(self._channel, "kill")

    async def pause(self) -> None:
        await call(self._channel, "pause")

    async def unpause(self) -> None:
        await call(self._channel, "unpause")

    async def usage(self) -> Usage:
        answer, _ = await call(self._channel, "usage")
        return Usage(int(answer["memory"]), int(answer["pids"]), float(answer["cpu_seconds"]))

    async def unlinked(self) -> int:
        answer, _ = await call(self._channel, "unlinked")
        return int(answer["bytes"])

    async def keep(self, values: dict[str, Secret]) -> None:
        await call(self._channel, "keep", {name: value.reveal() for name, value in values.items()})

    async def kept(self, name: str) -> Secret:
        try:
            answer, _ = await call(self._channel, "kept", {"name": name})
        except CarboyError as error:
            raise NotFound(error.message) if error.code == "not_found" else error from None
        return Secret(str(answer["value"]))

    async def release(self) -> None:
        with contextlib.suppress(CarboyError):
            await call(self._channel, "release")
            # it closes its channels as the very last thing
            async with asyncio.timeout(CALL_SECONDS):
                await self._channel.wait_closed()
        if self.forked is not None:
            self.forked.kill()
            self.forked.close()
            self.forked = None
        self._channel.close()


class HeldTerminal(Terminal):
    """One attachment: frames of `app.processes.stream` on a socket of its own."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        self._sock = sock
        self._rest = rest
        self._sending = asyncio.Lock()

    async def output(self) -> AsyncIterator[bytes]:
        loop, decoder = asyncio.get_running_loop(), stream.Decoder()
        data, self._rest = self._rest, b""
        while True:
            try:
                frames = list(decoder.feed(data))
            except stream.BadStream:
                raise CarboyError("The session holder sent something else than a terminal", "", "holder") from None
            for kind, body in frames:
                if kind == stream.OUTPUT:
                    yield body
                elif kind == stream.EXIT:
                    return
                elif kind == stream.DROPPED:
                    raise CarboyError("This view of the terminal was too slow", "Attach again", "dropped")
            try:
                data = await loop.sock_recv(self._sock, _CHUNK)
            except OSError:
                return
            if not data:
                return

    async def write(self, data: bytes) -> None:
        await self._send(stream.encode(stream.INPUT, data))

    async def resize(self, rows: int, cols: int) -> None:
        await self._send(stream.encode(stream.RESIZE, f"{rows} {cols}".encode()))

    async def _send(self, frames: bytes) -> None:
        async with self._sending:
            with contextlib.suppress(OSError):  # it has ended: `output` says so
                await asyncio.get_running_loop().sock_sendall(self._sock, frames)

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
