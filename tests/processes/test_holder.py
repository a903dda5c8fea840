"""The session holder with a real sandbox: its ops, attaching, the end of its agent, and its own."""

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.backends.base import BoxSpec, Command
from app.backends.local import wire
from app.core.schema import Limits
from app.paths import private_folder
from app.processes import stream
from app.processes.identity import identify, same
from sidecar.control import Channel, RemoteError, connect
from tests.conftest import until

pytestmark = pytest.mark.sandbox

TOKEN = "t" * 43
RUN = "import socket, sys; from app.processes.holder import run; run(socket.socket(fileno=int(sys.argv[1])))"


@dataclass
class Held:
    process: subprocess.Popen[bytes]
    channel: Channel
    spec: BoxSpec
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.spec.run / "holder.sock"

    async def build(self) -> dict[str, Any]:
        await self.channel.call("open", {"socket": str(self.socket), "token": TOKEN})
        answer, fds = await self.channel.call("build", wire.spec_to_json(self.spec), takes=1, timeout=20)
        with socket.socket(fileno=fds[0]) as listener:
            assert listener.getsockname() == ("127.0.0.1", self.spec.listen_port)
        return answer

    async def start(self, script: str, *, tty: bool = True) -> int:
        command = Command(("/bin/sh", "-c", script), self.spec.home, tty=tty)
        answer, _ = await self.channel.call("start", wire.command_to_json(command), timeout=20)
        return answer["pid"]

    async def exited(self) -> dict[str, Any]:
        await until(lambda: any(name == "exited" for name, _ in self.notes))
        return next(body for name, body in self.notes if name == "exited")


@asynccontextmanager
async def holding(folder: Path, **changes: Any) -> AsyncIterator[Held]:
    state, run = private_folder(folder / "state"), private_folder(folder / "run")
    spec = BoxSpec(slug="held", session_id="0123456789ab", state=state, run=run, project=None, **changes)
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[2]
        )
    held = Held(process, Channel(ours), spec)
    held.channel.notes = lambda name, body: held.notes.append((name, body))
    try:
        yield held
    finally:
        held.channel.close()
        process.kill()
        process.wait(10)


@pytest.fixture
async def held(carboy_home: Path) -> AsyncIterator[Held]:
    async with holding(carboy_home) as one:
        yield one


class Screen:
    """A client's end of an attachment."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        self._sock = sock
        self._decoder = stream.Decoder()
        self.output = b""
        self.exit: int | None = None
        self.dropped = False
        self._take(rest)

    @classmethod
    async def of(cls, channel: Channel, rows: int = 24, cols: int = 80) -> "Screen":
        _, sock, rest = await channel.upgrade("attach", {"rows": rows, "cols": cols}, timeout=10)
        return cls(sock, rest)

    def _take(self, data: bytes) -> None:
        for kind, body in self._decoder.feed(data):
            if kind == stream.OUTPUT:
                self.output += body
            elif kind == stream.EXIT:
                self.exit = int(body)
            elif kind == stream.DROPPED:
                self.dropped = True

    async def send(self, kind: bytes, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, stream.encode(kind, data))

    async def read_until(self, wanted: bytes, timeout: float = 10) -> None:
        async with asyncio.timeout(timeout):
            while wanted not in self.output:
                data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
                assert data, f"ended; got {self.output[-500:]!r}"
                self._take(data)

    async def read_to_end(self, timeout: float = 10) -> None:
        async with asyncio.timeout(timeout):
            while data := await asyncio.get_running_loop().sock_recv(self._sock, 65536):
                self._take(data)
        self._sock.close()

    def close(self) -> None:
        self._sock.close()


async def test_a_session_from_build_to_release(held: Held) -> None:
    answer = await held.build()
    assert answer["engine"]
    assert answer["ms"] < 5000
    status, _ = await held.channel.call("status")
    assert status["state"] == "built"
    await held.start("echo hello; read line; echo got $line; exit 7")
    screen = await Screen.of(await connect(held.socket, TOKEN))
    await screen.read_until(b"hello")
    await screen.send(stream.INPUT, b"abc\r")
    await screen.read_to_end()
    assert b"got abc" in screen.output
    assert screen.exit == 7
    assert (await held.exited())["code"] == 7
    written = json.loads((held.spec.state / "exit.json").read_text())
    assert written["code"] == 7
    assert "hello" in (held.spec.state / "transcript.cast").read_text()
    status, _ = await held.channel.call("status")
    assert status["state"] == "exited"
    assert status["exit"]["code"] == 7
    await held.channel.call("release")
    assert await asyncio.to_thread(held.process.wait, 10) == 0
    assert not held.socket.exists()


async def test_several_look_at_once_and_a_late_one_sees_the_screen(held: Held) -> None:
    await held.build()
    await held.start("printf 'first\\r\\n'; read x; echo second; read y")
    one = await Screen.of(await connect(held.socket, TOKEN))
    await one.read_until(b"first")
    await one.send(stream.INPUT, b"\r")
    await one.read_until(b"second")
    two = await Screen.of(await connect(held.socket, TOKEN))
    await two.read_until(b"second")
    assert b"first" in two.output
    two.close()
    await one.send(stream.INPUT, b"\r")
    await one.read_to_end()
    assert one.exit == 0


async def test_what_was_typed_before_leaving_arrives(held: Held) -> None:
    await held.build()
    await held.start("for i in 1 2 3 4 5 6 7 8 9 10; do echo much output of mine; read x; echo $x; done; exit 9")
    for _ in range(10):
        screen = await Screen.of(await connect(held.socket, TOKEN))
        await screen.send(stream.INPUT, b"typed\r")
        screen.close()  # with the redraw unread
    assert (await held.exited())["code"] == 9


async def test_the_last_size_counts(held: Held) -> None:
    await held.build()
    await held.start("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    screen = await Screen.of(await connect(held.socket, TOKEN), 30, 100)
    await screen.read_until(b"ready")
    await screen.send(stream.RESIZE, b"41 137")
    await screen.read_until(b"41 137")
    screen.close()


async def test_a_stalled_reader_is_dropped_and_the_agent_goes_on(held: Held, tmp_path: Path) -> None:
    await held.build()
    await held.start(
        "read x; i=0; while [ $i -lt 60000 ]; do echo line $i of very many lines of output; i=$((i+1)); done;"
        " echo all-done; read y"
    )
    stalled = await Screen.of(await connect(held.socket, TOKEN))
    good = await Screen.of(await connect(held.socket, TOKEN))
    await good.send(stream.INPUT, b"\r")
    await good.read_until(b"all-done", timeout=60)
    await stalled.read_to_end(timeout=60)
    assert stalled.exit is None, "let go while the agent lives (and told so, where it read in time)"
    await good.send(stream.INPUT, b"\r")
    await good.read_to_end()
    assert good.exit == 0


async def test_without_a_terminal_the_output_is_raw(held: Held) -> None:
    await held.build()
    await held.start("echo out; echo err >&2; tty || echo none", tty=False)
    assert (await held.exited())["code"] == 0
    screen = await Screen.of(await connect(held.socket, TOKEN))
    await screen.read_to_end()
    assert screen.output.startswith(b"out\nerr\n")
    assert screen.exit == 0


async def test_exec_beside_the_agent(held: Held) -> None:
    await held.build()
    await held.start("sleep 60")
    answer, _ = await held.channel.call(
        "exec", {"argv": ["/bin/sh", "-c", "echo $X; exit 3"], "env": {"X": "y"}, "timeout": 5}
    )
    assert (answer["code"], base64.b64decode(answer["output"]), answer["timed_out"]) == (3, b"y\n", False)
    began = time.monotonic()
    answer, _ = await held.channel.call("exec", {"argv": ["/bin/sh", "-c", "sleep 50 & sleep 50"], "timeout": 0.3})
    assert answer["timed_out"]
    assert time.monotonic() - began < 45

    async def only_the_agent() -> bool:
        usage, _ = await held.channel.call("usage")
        return usage["pids"] <= 2

    await until(only_the_agent)


async def test_stop_asks_then_kills(held: Held) -> None:
    await held.build()
    await held.start("trap '' TERM HUP; echo deaf; while :; do sleep 0.1; done")
    screen = await Screen.of(await connect(held.socket, TOKEN))
    await screen.read_until(b"deaf")
    await held.channel.call("stop", {"grace": 0.3}, timeout=10)
    assert (await held.exited())["code"] == 137
    screen.close()


async def test_freeze_and_thaw(held: Held) -> None:
    await held.build()
    await held.start("i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done")
    screen = await Screen.of(await connect(held.socket, TOKEN))
    await screen.read_until(b"tick 3")
    await held.channel.call("pause")
    with pytest.raises(TimeoutError):
        await screen.read_until(b"never printed", timeout=0.5)
    seen = len(re.findall(rb"tick", screen.output))
    with pytest.raises(TimeoutError):
        await screen.read_until(b"never printed", timeout=0.5)
    assert len(re.findall(rb"tick", screen.output)) == seen
    await held.channel.call("unpause")
    await screen.read_until(f"tick {seen + 3}".encode())
    await held.channel.call("kill")
    assert (await held.exited())["code"] == 137
    screen.close()


async def test_what_is_left_running_ends_with_the_agent(held: Held) -> None:
    await held.build()
    pid = await held.start("(trap '' HUP; sleep 300) & echo started; exit 0")
    await held.exited()
    answer, _ = await held.channel.call("status")
    assert answer["exit"]["code"] == 0
    assert not Path(f"/proc/{pid}").exists()


async def test_values_are_kept_and_a_stranger_is_not_answered(held: Held) -> None:
    await held.build()
    await held.channel.call("keep", {"ca_key": "pem"})
    with pytest.raises(PermissionError):
        await connect(held.socket, "x" * 43)
    other = await connect(held.socket, TOKEN)
    answer, _ = await other.call("kept", {"name": "ca_key"})
    assert answer == {"value": "pem"}
    with pytest.raises(RemoteError):
        await other.call("kept", {"name": "nothing"})
    with pytest.raises(RemoteError):
        await other.call("no such op")
    other.close()


async def test_an_unfinished_launch_ends_with_its_controller(held: Held) -> None:
    answer = await held.build()
    init = identify(answer["init_pid"])
    assert init is not None
    held.channel.close()
    assert await asyncio.to_thread(held.process.wait, 10) == 0
    await until(lambda: not same(init))


async def test_a_running_agent_outlives_the_controller(held: Held) -> None:
    await held.build()
    pid = await held.start("echo alive; read x; exit 5")
    held.channel.close()
    again = await connect(held.socket, TOKEN)
    held.channel = again
    again.notes = lambda name, body: held.notes.append((name, body))
    status, _ = await again.call("status")
    assert (status["state"], status["pid"]) == ("running", pid)
    screen = await Screen.of(await connect(held.socket, TOKEN))
    await screen.read_until(b"alive")
    await screen.send(stream.INPUT, b"\r")
    assert (await held.exited())["code"] == 5
    screen.close()


async def test_the_sandbox_dies_with_its_holder(held: Held) -> None:
    answer = await held.build()
    agent = identify(await held.start("sleep 300"))
    init = identify(answer["init_pid"])
    assert agent is not None
    assert init is not None
    held.process.send_signal(signal.SIGKILL)
    await until(lambda: not same(init) and not same(agent))


async def test_a_failing_build_is_told_and_nothing_stays(carboy_home: Path) -> None:
    async with holding(carboy_home, engine="no-such-engine") as one:
        await one.channel.call("open", {"socket": str(one.socket), "token": TOKEN})
        with pytest.raises(RemoteError) as caught:
            await one.channel.call("build", wire.spec_to_json(one.spec), takes=1, timeout=10)
        assert caught.value.body["code"] == "engine"
        one.channel.close()
        assert await asyncio.to_thread(one.process.wait, 10) == 0
    assert os.listdir(one.spec.run) == []


async def test_the_wall_clock_holds_without_a_controller(carboy_home: Path) -> None:
    async with holding(carboy_home, limits=Limits(wall_clock=1)) as held:
        await held.build()
        await held.start("sleep 1000")
        held.channel.close()
        await until(lambda: (held.spec.state / "exit.json").exists())
        ended = json.loads((held.spec.state / "exit.json").read_text())
        assert (ended["code"], ended["reason"]) == (124, "its time is over: limits.wall_clock is 1s")
