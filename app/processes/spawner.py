"""The controller's side of the zygote: starts it, orders children from it, starts it anew when it dies.

Holds no sandbox knowledge. Must never import mitmproxy, the sidecar's program or the holder: those are what the
zygote is for.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.errors import CarboyError
from app.processes.identity import ProcessId, identify
from app.tasks import spawn
from sidecar.control import Channel
from sidecar.prepared import COMPILE_SECONDS, COMPILING, VARIABLE, known

READY_SECONDS = 2 * COMPILE_SECONDS + 60
"""Imports take half a second. The first one of a version compiles the scan's rules: beside it, and where that takes too
long, once more in itself. Killed before, it would have nothing to show for it, and no launch could ever succeed."""
FORK_SECONDS = 10.0
_HEADER = struct.Struct(">I")
_SOURCE = Path(__file__).resolve().parents[2]


class ZygoteGone(Exception):
    """It ended before it answered: the order may be given again."""


@dataclass
class Child:
    """A forked process that waits for its first message on `channel`. Whoever holds this closes it."""

    kind: str
    pid: int
    start_time: str
    pidfd: int
    channel: Channel
    log: Path

    @property
    def process(self) -> ProcessId:
        return ProcessId(self.pid, self.start_time)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Let go of it; it lives on."""
        self.channel.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


@dataclass
class _Running:
    process: asyncio.subprocess.Process
    sock: socket.socket
    ready: asyncio.Future[int]
    waiting: dict[int, asyncio.Future[tuple[int, int]]] = field(
        default_factory=dict[int, "asyncio.Future[tuple[int, int]]"]
    )
    data: bytearray = field(default_factory=bytearray)
    fds: list[int] = field(default_factory=list[int])
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_id: int = 0
    gone: bool = False


class Zygote:
    """`await start()`, then `await fork(kind, name)` any number of times, side by side."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._running: _Running | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self.exit_codes: dict[int, int] = {}
        """How children of the present zygote ended: pid → exit code, or minus the signal. Bounded."""

    @property
    def pid(self) -> int | None:
        """Of the process, where it runs."""
        return None if self._running is None or self._running.gone else self._running.process.pid

    @property
    def slow(self) -> str:
        """Why the next child takes seconds, in words; empty where it does not."""
        running = self._running
        if running is not None and not running.gone and running.ready.done():
            return ""
        return "" if known(Path(environment(self._log_folder)[VARIABLE])) else COMPILING

    async def start(self) -> None:
        """Have it running and imported. Starting it early hides its half second behind the client's first screens."""
        await self._ready()

    async def fork(self, kind: Literal["sidecar", "holder"], name: str, log: Path | None = None) -> Child:
        """A new process of that kind. `log` (else the zygote's own log) takes its stderr."""
        for _ in range(3):
            running = await self._ready()
            with contextlib.suppress(ZygoteGone):
                return await self._order(running, kind, name, log)
        raise CarboyError("The process that starts bottles keeps ending", f"See {self._log_path}", "zygote")

    async def close(self) -> None:
        """End the zygote. Its children live on."""
        self._closed = True
        running, self._running = self._running, None
        if running is not None:
            self._drop(running)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.process.wait(), 5)
            if running.process.returncode is None:
                running.process.kill()
                await running.process.wait()

    @property
    def _log_path(self) -> Path:
        return self._log_folder / "zygote.log"

    async def _ready(self) -> _Running:
        async with self._starting:
            if self._closed:
                raise CarboyError("The controller is ending", "Try again", "closing")
            if self._running is None or self._running.gone:
                self._running = await self._launch()
            running = self._running
        try:
            await asyncio.wait_for(asyncio.shield(running.ready), READY_SECONDS)
        except TimeoutError:
            late = CarboyError("The process that starts bottles did not get ready", f"See {self._log_path}", "zygote")
            if not running.ready.done():
                running.ready.set_exception(late)  # for whoever else waits: it does not end by itself
            running.process.kill()
            raise late from None
        except ZygoteGone:
            said = last_line(self._log_path)
            raise CarboyError(
                f"The process that starts bottles ended at once: {said or 'it said nothing'}",
                f"See {self._log_path}",
                "zygote",
            ) from None
        return running

    async def _launch(self) -> _Running:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, _open_log(self._log_path) as log:
            process = await self._execute(theirs, log)
        loop = asyncio.get_running_loop()
        running = _Running(process, ours, loop.create_future())
        running.ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        loop.add_reader(ours, self._read, running)
        spawn(self._watch(running), name="zygote-watch")
        return running

    async def _execute(self, control: socket.socket, log: Any) -> asyncio.subprocess.Process:
        """The program, on `control`."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.processes.zygote", str(control.fileno()),
            pass_fds=(control.fileno(),), cwd=_SOURCE, start_new_session=True, env=environment(self._log_folder),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    async def _watch(self, running: _Running) -> None:
        await running.process.wait()
        self._drop(running)

    async def _order(self, running: _Running, kind: str, name: str, log: Path | None) -> Child:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        running.next_id += 1
        order = running.next_id
        path = log or self._log_path
        answer = running.waiting[order] = asyncio.get_running_loop().create_future()
        try:
            with theirs, _open_log(path) as log_file:
                body = json.dumps({"id": order, "kind": kind, "name": name}).encode()
                async with running.sending:
                    await _send(running.sock, _HEADER.pack(len(body)) + body, [theirs.fileno(), log_file.fileno()])
            pid, pidfd = await asyncio.wait_for(answer, FORK_SECONDS)
        except (OSError, TimeoutError):
            ours.close()
            self._drop(running)
            raise ZygoteGone from None
        except BaseException:  # cancelled: the child sees the end of its channel and goes
            ours.close()
            raise
        finally:
            running.waiting.pop(order, None)
        identity = identify(pid)
        return Child(kind, pid, identity.start if identity else "", pidfd, Channel(ours), path)

    def _read(self, running: _Running) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(running.sock, 65536, 16)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._drop(running)
            return
        running.data += data
        running.fds += fds
        while len(running.data) >= _HEADER.size:
            size = _HEADER.unpack_from(running.data)[0] + _HEADER.size
            if len(running.data) < size:
                return
            message = json.loads(running.data[_HEADER.size : size])
            del running.data[:size]
            self._take(running, message)

    def _take(self, running: _Running, message: dict[str, Any]) -> None:
        if "ready" in message:
            if not running.ready.done():
                running.ready.set_result(message["ready"])
        elif "ended" in message:
            self.exit_codes[message["ended"]] = message["status"]
            while len(self.exit_codes) > 256:
                self.exit_codes.pop(next(iter(self.exit_codes)))
        else:
            pidfd = running.fds.pop(0)
            answer = running.waiting.get(message["id"])
            if answer is None or answer.done():
                os.close(pidfd)  # nobody waits any more; its channel is closed, so the child ends
            else:
                answer.set_result((message["pid"], pidfd))

    def _drop(self, running: _Running) -> None:
        if running.gone:
            return
        running.gone = True
        asyncio.get_running_loop().remove_reader(running.sock)
        running.sock.close()
        while running.fds:
            os.close(running.fds.pop())
        for answer in (running.ready, *running.waiting.values()):
            if not answer.done():
                answer.set_exception(ZygoteGone())


def environment(folder: Path) -> dict[str, str]:
    """What the zygote and so every child gets: no variable of the operator's, since any may be a credential."""
    scans = {VARIABLE: os.environ.get(VARIABLE) or str(folder / "scans")}
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | scans | {"PYTHONUNBUFFERED": "1"}


def last_line(path: Path) -> str:
    """The last line of a process's log, bounded: what it said before it ended."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _open_log(path: Path) -> Any:
    """Append to a private log; a symlink in its place is refused."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return os.fdopen(fd, "ab", buffering=0)


async def _send(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    """Send a small frame with its descriptors; waits where the zygote is busy."""
    loop = asyncio.get_running_loop()
    sent = 0
    while sent < len(data):
        try:
            sent += socket.send_fds(sock, [data[sent:]], fds if sent == 0 else [])
        except BlockingIOError:
            writable = asyncio.Event()
            loop.add_writer(sock, writable.set)
            try:
                await writable.wait()
            finally:
                loop.remove_writer(sock)
