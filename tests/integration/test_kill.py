"""kill -9 of each process at any moment of a launch and of a run: nothing leaks, running agents survive."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil
import pytest

from app.core.model import BottleView
from app.paths import Paths
from app.processes.identity import ProcessId, identify, same
from tests.conftest import until
from tests.fork_server import Forked, fork
from tests.integration.launching import Rig, asking, processes_of, rig

pytestmark = pytest.mark.sandbox


@pytest.fixture
async def real(paths: Paths) -> AsyncIterator[Rig]:
    async with rig(paths) as one:
        yield one


@dataclass
class StandIn:
    process: Forked
    said: asyncio.StreamReader
    """What it prints, errors too."""

    async def killed(self) -> None:
        self.process.kill()
        await self.process.ended()


@asynccontextmanager
async def controller(paths: Paths, script: str, *more: str) -> AsyncIterator[StandIn]:
    """A process that launches one bottle with `script` (`stand_in`); killed at the end, if it still lives."""
    read, write = os.pipe()
    said = asyncio.StreamReader()
    pipe = os.fdopen(read, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), pipe)
    program, arguments = "tests.integration.stand_in", [str(paths.config.parent), script, *more]
    try:
        forked = await asyncio.to_thread(fork, program, arguments, write, write, dict(os.environ))
    finally:
        os.close(write)
    try:
        yield StandIn(forked, said)
    finally:
        forked.kill()
        await forked.ended()
        forked.close()
        transport.close()


async def line(process: StandIn, wanted: str) -> None:
    heard: list[str] = []
    async with asyncio.timeout(90):
        while (got := (await process.said.readline()).decode().strip()) != wanted:
            heard.append(got)
            assert got or not process.said.at_eof(), f"ended before {wanted!r}: {heard}"


async def see(real: Rig, wanted: bytes, slug: str = "one") -> None:
    held = await real.sessions.terminal(slug, 24, 80)
    data = b""
    async with asyncio.timeout(60):
        async for piece in held.output():
            data += piece
            if wanted in data:
                break
        else:
            raise AssertionError(f"ended with {data!r}")
    await held.close()


async def type_in(real: Rig, data: bytes, slug: str = "one") -> None:
    held = await real.sessions.terminal(slug, 24, 80)
    await held.write(data)
    await held.close()


def only(real: Rig) -> BottleView:
    (view,) = real.sessions.views()
    return view


def recorded(real: Rig, which: str) -> ProcessId:
    from app.controller import record

    kept = record.load(real.paths.session_state("one"))
    assert kept is not None
    process = getattr(kept, which)
    assert process is not None
    return process.identity


async def nothing_left(real: Rig) -> None:
    await until(lambda: processes_of(real.paths) == [])
    assert list(real.paths.run.glob("????????????")) == []


async def test_agents_survive_a_killed_controller(paths: Paths) -> None:
    async with controller(paths, "echo alive; read x; echo heard $x; exit 0") as process:
        await line(process, "running")
    async with rig(paths) as real:
        sidecar = recorded(real, "sidecar")
        await real.sessions.adopt()
        view = only(real)
        assert (view.state, view.sidecar.state) == ("running", "healthy")
        assert same(sidecar)
        await see(real, b"alive")
        await type_in(real, b"again\r")
        ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
        assert (ended.state, ended.exit_code) == ("ended", 0)
        await see(real, b"heard again")
        await nothing_left(real)


async def test_an_agent_that_ended_meanwhile_is_finished(paths: Paths) -> None:
    async with controller(paths, "sleep 0.5; exit 4") as process:
        await line(process, "running")
    async with rig(paths) as real:
        await until(lambda: (paths.session_state("one") / "exit.json").exists())
        await real.sessions.adopt()
        ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
        assert (ended.state, ended.exit_code) == ("failed", 4)
        await nothing_left(real)


async def test_a_sidecar_that_died_meanwhile_is_restarted(paths: Paths) -> None:
    async with controller(paths, "read x") as process:
        await line(process, "running")
    async with rig(paths) as real:
        first = recorded(real, "sidecar")
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: not same(first))
        await real.sessions.adopt()
        await until(lambda: only(real).sidecar.state == "healthy")
        assert recorded(real, "sidecar") != first


async def test_everything_died_meanwhile(paths: Paths) -> None:
    async with controller(paths, "echo x > $HOME/work; read x") as process:
        await line(process, "running")
        await until(lambda: (paths.session_state("one") / "home" / "work").exists())
    async with rig(paths) as real:
        for which in ("holder", "sidecar"):
            os.kill(recorded(real, which).pid, signal.SIGKILL)
        await until(lambda: processes_of(real.paths) == [])
        await real.sessions.adopt()
        assert only(real).state == "lost"
        assert (paths.session_state("one") / "home" / "work").exists()
        await nothing_left(real)


@pytest.mark.parametrize("step", ["state", "authority", "sandbox", "sidecar", "listener", "self-test", "agent"])
@pytest.mark.parametrize("end", ["running", "done"])
async def test_a_controller_killed_at_each_step_of_a_launch(paths: Paths, step: str, end: str) -> None:
    async with controller(paths, "read x") as process:
        await line(process, f"{step} {end}")
        await process.killed()
    await _picked_up(paths)


@pytest.mark.parametrize("seed", range(6))
async def test_a_controller_killed_at_a_random_moment_of_a_launch(paths: Paths, seed: int) -> None:
    async with controller(paths, "read x") as process:
        await line(process, "ready")
        await asyncio.sleep(random.Random(seed).random() * 0.5)  # the moment is the test
        await process.killed()
    await _picked_up(paths)


async def _picked_up(paths: Paths) -> None:
    """Either the agent runs and is found again, or nothing of it stays."""
    async with rig(paths) as real:
        await real.sessions.adopt()
        await real.sessions.cleanup()
        if real.sessions.views():
            view = only(real)
            assert view.state == "running", view
            await until(lambda: only(real).sidecar.state == "healthy")
            await real.sessions.kill("one")
        else:
            assert not paths.session_state("one").exists()
        await nothing_left(real)
        assert not list((real.project).iterdir())


async def test_a_killed_sidecar_is_restarted_with_its_policy(real: Rig) -> None:
    await real.launch(f"while read x; do {asking('http://refused.example/')} | head -1; done")
    await type_in(real, b"\r")
    await see(real, b"403")
    first = recorded(real, "sidecar")
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: only(real).sidecar.state == "restarting")
    assert only(real).sidecar.next_retry == 1.0
    await until(lambda: only(real).sidecar.state == "healthy")
    assert recorded(real, "sidecar") != first
    await type_in(real, b"\x0c\r")
    held = await real.sessions.terminal("one", 24, 80)
    data = b""
    async with asyncio.timeout(60):
        async for piece in held.output():
            data += piece
            if data.count(b"403") >= 2:
                break
    await held.close()


async def test_the_operator_restarts_a_sidecar_at_once(real: Rig) -> None:
    await real.launch("read x")
    first = recorded(real, "sidecar")
    await real.sessions.restart_sidecar("one")
    await until(lambda: recorded(real, "sidecar") != first and only(real).sidecar.state == "healthy", 5)
    assert not same(first)
    assert only(real).sidecar.attempt == 0


async def test_a_killed_holder_takes_its_sandbox_and_the_session_is_lost(real: Rig) -> None:
    await real.launch("echo up; read x")
    await see(real, b"up")
    sidecar = recorded(real, "sidecar")
    os.kill(recorded(real, "holder").pid, signal.SIGKILL)
    ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
    assert ended.state == "lost"
    assert not same(sidecar)
    assert (real.paths.session_state("one") / "home").exists()
    await nothing_left(real)


async def test_a_killed_agent_is_a_failed_session(real: Rig) -> None:
    await real.launch("echo up; exec sleep 1234.5")
    await see(real, b"up")
    agents = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "1234.5"]]
    assert len(agents) == 1
    agents[0].kill()
    ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
    assert (ended.state, ended.exit_code) == ("failed", 137)
    await nothing_left(real)


async def test_a_killed_zygote_is_not_noticed(real: Rig) -> None:
    await real.launch("echo up; read x; exit 0")
    assert real.sessions.zygote.pid is not None
    zygote = identify(real.sessions.zygote.pid)
    assert zygote is not None
    os.kill(zygote.pid, signal.SIGKILL)
    await until(lambda: not same(zygote))
    view = await real.launch("read x", label="two")
    assert view.state == "running"
    await see(real, b"up")
    await type_in(real, b"\r")
    assert (await asyncio.wait_for(real.sessions.wait("one"), 20)).state == "ended"


async def test_a_zygote_killed_during_launches(real: Rig) -> None:
    """Every launch either succeeds or is undone whole."""
    await real.sessions.zygote.start()
    launches = [asyncio.ensure_future(real.launch("read x", label=f"n{number}")) for number in range(4)]  # noqa: TID251
    for delay in (0.05, 0.1, 0.15):
        await asyncio.sleep(delay)  # the moment is the test
        if real.sessions.zygote.pid is not None:
            os.kill(real.sessions.zygote.pid, signal.SIGKILL)
    results = await asyncio.gather(*launches, return_exceptions=True)
    running = {view.slug for view in real.sessions.views()}
    for number, result in enumerate(results):
        if isinstance(result, BaseException):
            assert not real.paths.session_state(f"n{number}").exists()
        else:
            assert result.slug in running
