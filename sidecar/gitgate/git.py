"""git as the sidecar calls it: by way of the runner, with settings that no repository and no user's file can change.

A call is bounded in time (idle and in all) and in what it may answer. Arguments carry no secret: credentials come over
the agent's socket or an inherited descriptor (`credentials`).
"""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.channel import Channel, ChannelClosed, RemoteError
from sidecar.gitgate import limits
from sidecar.gitgate.output import Output
from sidecar.tasks import spawn

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Known to every git without being there."""
PIPE = 1024 * 1024
"""Room in the pipe of git's output: a clone is some hundred pieces instead of some thousand."""
MAX_STDERR = 64 * 1024
SAFE = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false",
    "fetch.recurseSubmodules=false", "push.recurseSubmodules=no", "submodule.recurse=false", "protocol.version=2",
    "core.logAllRefUpdates=false", "diff.external=", "safe.directory=*", "core.attributesFile=/dev/null",
    "core.bigFileThreshold=16m", "core.packedGitLimit=256m", "core.packedGitWindowSize=32m", "pack.threads=1",
    "pack.windowMemory=64m", "advice.pushNonFFCurrent=false",
)  # fmt: skip
"""Given on the command line, which wins over every file. Memory and threads are bounded for whoever asks for a pack."""
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "none", "LC_ALL": "C",
    "GIT_NO_LAZY_FETCH": "1", "GIT_FLUSH": "1",
    # attributes would come from HEAD's files (2.43 and later), and hide changes from the operator's diff
    "GIT_ATTR_SOURCE": EMPTY_TREE,
}  # fmt: skip


AS_IT_IS = ("-c", "pack.window=0")
"""Deltas that are there are passed on, and no others looked for: who packed it first has looked already."""


class GitFailed(Exception):
    """git ended with an error, or was ended. `said` is its stderr, bounded; it may hold what a bottle or an upstream
    chose."""

    def __init__(self, what: str, said: str = "", code: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.said = said
        self.code = code


@dataclass
class Running:
    """One git at work. Leaving `Git.start` ends it."""

    pid: int
    ended: asyncio.Future[int]
    output: Output
    errors: asyncio.BaseTransport
    stderr: bytearray = field(default_factory=bytearray)
    moved: float = field(default_factory=time.monotonic)
    on_line: Callable[[bytes], None] | None = None
    complaints: asyncio.Task[None] | None = None
    over: bool = False

    def touch(self) -> None:
        self.moved = time.monotonic()


class Git:
    """Runs git in one folder tree. `program` is another one of the runner's list."""

    def __init__(self, channel: Channel, folder: Path, programs: dict[str, str]) -> None:
        self._channel = channel
        self._channel.notes = self._heard
        self._channel.on_close = self._gone
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._early: dict[int, int] = {}
        self.folder = folder
        self.programs = programs

    @classmethod
    async def set_up(cls, channel: Channel, folder: Path) -> tuple["Git", list[str]]:
        """Have the runner enclose itself. Returns it with what its confinement lacks."""
        for name in ("home", "tmp"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        answer, _ = await channel.call("setup", {"folder": str(folder)}, timeout=30)
        return cls(channel, folder, dict(answer["programs"])), list(answer["missing"])

    @property
    def alive(self) -> bool:
        return not self._channel.closed

    async def run(
        self,
        *args: str,
        cwd: Path,
        stdin: int | bytes | None = None,
        env: dict[str, str] | None = None,
        online: bool = False,
        extra: Sequence[int] = (),
        limit: int = 16 * 1024 * 1024,
        ok: Sequence[int] = (0,),
        on_line: Callable[[bytes], None] | None = None,
        program: str = "git",
        idle: float = limits.IDLE_SECONDS,
    ) -> bytes:
        """What it prints, at most `limit` bytes. Raises GitFailed."""
        async with self.start(
            *args,
            cwd=cwd,
            stdin=stdin,
            env=env,
            online=online,
            extra=extra,
            on_line=on_line,
            program=program,
            idle=idle,
        ) as running:
            data = bytearray()
            async for piece in pieces(running):
                data += piece
                if len(data) > limit:
                    raise GitFailed(f"{args[0]}: an answer of more than {limit} bytes")
            code = await finished(running)
        if code not in ok:
            raise GitFailed(f"git {args[0]} failed", bytes(running.stderr).decode(errors="replace"), code)
        return bytes(data)

    @contextlib.asynccontextmanager
    async def start(
        self,
        *args: str,
        cwd: Path,
        stdin: int | bytes | None = None,
        env: dict[str, str] | None = None,
        online: bool = False,
        extra: Sequence[int] = (),
        on_line: Callable[[bytes], None] | None = None,
        program: str = "git",
        idle: float = limits.IDLE_SECONDS,
    ) -> AsyncGenerator[Running]:
        """A git whose output is read as it comes. `stdin` is a descriptor (the caller's to close) or bytes."""
        if isinstance(stdin, bytes):
            with scratch() as given:
                await asyncio.to_thread(_fill, given, stdin)
                async with self.start(
                    *args, cwd=cwd, stdin=given, env=env, online=online, extra=extra, on_line=on_line,
                    program=program, idle=idle,
                ) as running:  # fmt: skip
                    yield running
            return
        running = await self._begin(list(args), cwd, stdin, env or {}, online, extra, program)
        running.on_line = on_line
        self._look(
            running, time.monotonic(), limits.FETCH_SECONDS if online else limits.LOCAL_SECONDS, idle if online else 0
        )
        try:
            yield running
        finally:
            self._over(running)

    async def _begin(
        self,
        args: list[str],
        cwd: Path,
        stdin: int | None,
        env: dict[str, str],
        online: bool,
        extra: Sequence[int],
        program: str,
    ) -> Running:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        with contextlib.suppress(OSError, AttributeError):  # Linux, and below the user's limit for pipes
            fcntl.fcntl(out_write, fcntl.F_SETPIPE_SZ, PIPE)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            fds = [null if stdin is None else stdin, out_write, err_write, *extra]
            settings = [part for setting in SAFE for part in ("-c", setting)] if program == "git" else []
            body: dict[str, Any] = {
                "program": program,
                "args": settings + args,
                "env": ENVIRONMENT | env,
                "cwd": str(cwd),
                "online": online,
            }
            answer, _ = await self._channel.call("run", body, fds, timeout=30)
        except (ChannelClosed, RemoteError, TimeoutError) as error:
            os.close(out_read)
            os.close(err_read)
            raise GitFailed(f"git could not be started: {error}") from None
        finally:
            for fd in (out_write, err_write, null):
                os.close(fd)
        pid = int(answer["pid"])
        ended = self._ended[pid] = asyncio.get_running_loop().create_future()
        if pid in self._early:
            ended.set_result(self._early.pop(pid))
        complaints, errors = await _reader(err_read)
        running = Running(pid, ended, Output(out_read), errors)
        running.complaints = spawn(_listen(running, complaints), name="git-stderr")
        return running

    def _heard(self, note: str, body: dict[str, Any]) -> None:
        if note != "ended":
            return
        pid, code = int(body["pid"]), int(body["code"])
        waiting = self._ended.pop(pid, None)
        if waiting is None:
            self._early[pid] = code
            while len(self._early) > 64:
                del self._early[next(iter(self._early))]
        elif not waiting.done():
            waiting.set_result(code)

    def _gone(self) -> None:
        """The runner has ended, and all it started with it."""
        for waiting in self._ended.values():
            if not waiting.done():
                waiting.set_result(-9)
        self._ended.clear()

    def _look(self, running: Running, began: float, whole: float, idle: float) -> None:
        """End one that takes too long. What works offline is busy with what it has: only its time in all counts."""
        now = time.monotonic()
        if running.ended.done() or running.over:
            return
        if now - began > whole or (idle and now - running.moved > idle):
            running.stderr += b"\nit did not move for too long, and was ended"
            self._kill(running)
            return
        wait = min(1.0, idle / 4) if idle else 10.0
        asyncio.get_running_loop().call_later(wait, self._look, running, began, whole, idle)

    def _kill(self, running: Running) -> None:
        async def kill() -> None:
            with contextlib.suppress(ChannelClosed, RemoteError, TimeoutError):
                await self._channel.call("kill", {"pid": running.pid}, timeout=10)

        spawn(kill(), name="git-kill")

    def _over(self, running: Running) -> None:
        running.over = True
        if not running.ended.done():
            self._kill(running)
        if running.complaints is not None and not running.complaints.done():
            running.complaints.cancel()
        running.output.close()
        running.errors.close()


async def pieces(running: Running) -> AsyncIterator[bytes]:
    """Its output as it comes."""
    while data := await running.output.read():
        running.touch()
        yield data


async def finished(running: Running) -> int:
    """Its exit code, with all it complained about read."""
    code = await running.ended
    if running.complaints is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(running.complaints), 5)
    return code


async def _listen(running: Running, reader: asyncio.StreamReader) -> None:
    line = bytearray()
    while data := await reader.read(4096):
        running.touch()
        room = MAX_STDERR - len(running.stderr)
        running.stderr += data[: max(0, room)]
        if running.on_line is None:
            continue
        line += data
        *whole, rest = line.replace(b"\r", b"\n").split(b"\n")
        line = bytearray(rest[-4096:])
        for each in whole:
            if each:
                running.on_line(bytes(each))
    if running.on_line is not None and line:
        running.on_line(bytes(line))


async def _reader(fd: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


@contextlib.contextmanager
def scratch() -> Generator[int]:
    """A descriptor of memory that any number of processes can read from its beginning."""
    fd = os.memfd_create("carboy", os.MFD_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _fill(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
