"""Docker bottles whose controller, engine or session holder is killed: nothing stays behind, nothing is lost."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.docker import facts, watch
from app.controller import holding, session
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.e2e.docker_engine import BASE, again, engine, import_base, running
from tests.integration import walks
from tests.integration.launching import Rig, asking, rig
from tests.integration.test_kill import only, recorded, see

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.xdist_group("docker")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with engine("docker") as found:
        import_base(found)
        yield found


@pytest.fixture
def home(url: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("DOCKER_HOST", url)
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(f"image_base: {BASE}\n")
    return paths


@pytest.fixture
async def bottles(home: Paths) -> AsyncIterator[Rig]:
    async with rig(home) as made:
        yield made


def ours(url: str, paths: Paths) -> list[Any]:
    """Containers and images of this test's sessions."""
    import docker

    client = docker.DockerClient(base_url=url)
    mine = f"{facts.HOME}={facts.home_of(paths.session_state('any'))}"
    containers = client.containers.list(all=True, filters={"label": mine})
    return [*containers, *client.images.list(filters={"label": mine})]


@pytest.mark.parametrize("step", walks.LAUNCH)
async def test_controller_killed_in_a_launch(home: Paths, url: str, step: str) -> None:
    await walks.killed_in(home, "docker", "", f"{step} done")
    await walks.after_a_launch(home)
    running_ones = [one for one in ours(url, home) if one.attrs.get("State", {}).get("Running")]
    assert running_ones == []


@pytest.mark.parametrize("step", ["image running", "image done", *walks.COMMIT])
async def test_controller_killed_in_a_snapshot(home: Paths, url: str, step: str) -> None:
    await walks.killed_in(home, "docker", "commit", step)
    await walks.after_a_commit(home)
    assert ours(url, home) == []


@pytest.mark.parametrize("step", walks.RESUME)
async def test_controller_killed_in_a_resume(home: Paths, url: str, step: str) -> None:
    await walks.killed_in(home, "docker", "resume", f"{step} done")
    await walks.after_a_resume(home)
    assert ours(url, home) == []


async def test_an_engine_that_is_killed_is_lost_and_found(
    bottles: Rig, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.Watch.__init__, "__defaults__", (0.2,))
    await bottles.launch("echo up; while read line; do echo got $line; done", backend="docker")
    await see(bottles, b"up")
    process = running(Path(url.removeprefix("unix://")).parent)
    process.kill()
    process.wait()
    await until(lambda: only(bottles).engine_gone)
    assert only(bottles).state == "running"
    again(url, "docker")
    await until(lambda: not only(bottles).engine_gone)

    async def answered() -> bool:
        terminal = await bottles.sessions.terminal("one", 24, 80)
        await terminal.write(b"word\r")
        await terminal.close()
        try:
            async with asyncio.timeout(2):
                await see(bottles, b"got word")
        except TimeoutError:
            return False
        return True

    await until(answered, 60)


async def test_one_that_is_stopped_while_its_engine_is_away_is_over_once_that_is_back(
    bottles: Rig, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.Watch.__init__, "__defaults__", (0.2,))
    monkeypatch.setattr(session, "LOST_SECONDS", 1.0)
    await bottles.launch("echo up; sleep 1000", backend="docker")
    await see(bottles, b"up")
    process = running(Path(url.removeprefix("unix://")).parent)
    process.kill()
    process.wait()
    await until(lambda: only(bottles).engine_gone)
    with pytest.raises(CarboyError, match="shows once its container engine answers again") as caught:
        await bottles.sessions.stop("one", 0.5)
    assert caught.value.code == "not_over"
    again(url, "docker")
    view = await bottles.sessions.wait("one")
    assert view.state == "stopped"


LISTENS = "echo up; while read line; do echo got $line; done"


async def typed(bottles: Rig, word: str) -> None:
    terminal = await bottles.sessions.terminal("one", 24, 80)
    await terminal.write(word.encode() + b"\r")
    await terminal.close()
    await see(bottles, f"got {word}".encode())


async def test_a_killed_holder_is_replaced_and_the_agent_goes_on(bottles: Rig, url: str) -> None:
    await bottles.launch(LISTENS, backend="docker")
    await see(bottles, b"up")
    await typed(bottles, "before")
    (container,) = ours(url, bottles.paths)
    first = recorded(bottles, "holder").pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: recorded(bottles, "holder").pid != first, 60)
    await until(lambda: only(bottles).notes[-1:] == (holding.NOTE,), 60)
    await see(bottles, b"got before")  # read again from the engine
    await typed(bottles, "after")
    container.reload()
    assert (container.status, only(bottles).state) == ("running", "running")
    # its sidecar ends as well: the listening socket is made anew, in the container
    os.kill(recorded(bottles, "sidecar").pid, signal.SIGKILL)
    await until(lambda: only(bottles).sidecar.state != "healthy", 60)
    await until(lambda: only(bottles).sidecar.state == "healthy", 60)
    asked = await bottles.sessions.exec("one", ("/bin/sh", "-c", asking("http://elsewhere.example/")), 60)
    assert b"403" in asked.output
    assert (await bottles.sessions.kill("one")).state == "stopped"


async def test_a_holder_that_was_killed_while_no_controller_was_there(bottles: Rig, url: str, home: Paths) -> None:
    await bottles.launch(LISTENS, backend="docker")
    await see(bottles, b"up")
    process = recorded(bottles, "holder")
    gone = bottles.sessions
    await gone.close()
    gone.drop("one")
    os.kill(process.pid, signal.SIGKILL)
    async with rig(home) as real:
        await real.sessions.adopt()
        assert only(real).state == "running"
        await see(real, b"up")
        await typed(real, "word")
        await real.sessions.kill("one")


async def test_a_holder_and_container_that_are_both_killed_lose_nothing(bottles: Rig, url: str, home: Paths) -> None:
    await bottles.launch("echo x > ~/kept; echo up; sleep 600", backend="docker")
    await see(bottles, b"up")
    (container,) = ours(url, home)
    pid = container.attrs["State"]["Pid"]
    for target in (recorded(bottles, "holder").pid, pid):
        os.kill(target, signal.SIGKILL)
    ended = await asyncio.wait_for(bottles.sessions.wait("one"), 60)
    assert (ended.state, ended.kept) == ("lost", "preserved")
    assert [one.status for one in ours(url, home)] == ["exited"]
    view = await bottles.sessions.launch(bottles.request("", resume="one"), bottles.steps.append)
    assert view.state == "running"
    assert (home.session_state("one") / "home/kept").exists()


async def test_a_power_cut_loses_nothing_and_cleanup_touches_none_of_it(bottles: Rig, url: str, home: Paths) -> None:
    """All of it ends at once, and what lay in memory (the runtime folder) is gone."""
    await bottles.launch("echo x > ~/kept; echo up; sleep 600", backend="docker")
    await see(bottles, b"up")
    (container,) = ours(url, home)
    pids = [recorded(bottles, name).pid for name in ("holder", "sidecar")]
    gone = bottles.sessions
    await gone.close()
    gone.drop("one")
    for pid in (*pids, container.attrs["State"]["Pid"]):
        os.kill(pid, signal.SIGKILL)
    process = running(Path(url.removeprefix("unix://")).parent)
    process.kill()
    process.wait()
    shutil.rmtree(home.run)
    again(url, "docker")
    async with rig(home) as real:
        await real.sessions.adopt()
        await real.sessions.cleanup()
        assert (only(real).state, only(real).kept) == ("lost", "preserved")
        assert [one.id for one in ours(url, home)] == [container.id]
        view = await real.sessions.launch(real.request("", resume="one"), real.steps.append)
        assert view.state == "running"
        assert (home.session_state("one") / "home/kept").exists()
        await real.sessions.kill("one")
        await real.sessions.keeping.purge("one")
    assert ours(url, home) == []
