"""Docker bottles with a real engine: launch, walls, state, faults. Real sidecars, no stand-in."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.docker import facts
from app.backends.docker.backend import DockerBackend
from app.controller import saved
from app.core.model import BottleView
from app.errors import CarboyError
from app.paths import Paths
from app.selftest import findings, runner
from tests.conftest import until
from tests.e2e.docker_engine import BASE, engine, import_base
from tests.integration.launching import Rig, asking, rig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.xdist_group("docker")]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["docker", "podman"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def url(kind: str) -> Iterator[str]:
    with engine(kind) as found:
        import_base(found)
        yield found


@pytest.fixture
async def bottles(url: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("DOCKER_HOST", url)
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(f"image_base: {BASE}\n")
    async with rig(paths) as made:
        yield made


def client(url: str) -> Any:
    import docker

    return docker.DockerClient(base_url=url)


def ours(url: str, paths: Paths) -> list[Any]:
    """Containers of this test's sessions."""
    home = facts.home_of(paths.session_state("any"))
    return client(url).containers.list(all=True, filters={"label": f"{facts.HOME}={home}"})


def controls(url: str) -> bool:
    """Whether the engine can bound and pause what runs in it."""
    from app.backends.docker.engine import Engine

    engine = Engine(url)
    engine._connected()
    return engine.controls


async def launch(on: Rig, script: str, **changes: object) -> BottleView:
    return await on.launch(script, backend="docker", **changes)


async def printed(bottles: Rig, slug: str, wanted: str) -> str:
    """What the agent prints, until `wanted` is in it."""
    terminal, seen = await bottles.sessions.terminal(slug, 24, 80), ""
    try:
        async with asyncio.timeout(90):
            async for piece in terminal.output():
                seen += piece.decode(errors="replace")
                if wanted in seen:
                    break
    finally:
        await terminal.close()
    return seen


async def test_an_agent_works_in_its_project_behind_its_sidecar(bottles: Rig, url: str, paths: Paths) -> None:
    owner = 60901 if os.geteuid() == 0 else os.getuid()
    os.chown(bottles.project, owner, -1)
    ask = asking("http://elsewhere.example/")
    script = f"{ask} | head -1; touch made; id -u; grep -E 'Cap(Eff|Bnd)' /proc/self/status; sleep 60"
    view = await launch(bottles, script)
    assert (view.backend, view.isolation, view.state) == ("docker", "container", "running")
    seen = await printed(bottles, view.slug, "CapBnd")
    assert "HTTP/1.1 403" in seen
    assert seen.count("0000000000000000") == 2
    assert (bottles.project / "made").stat().st_uid == owner  # files keep the owner of the project
    await until(lambda: len(ours(url, paths)) == 1)  # an ordinary user's helper takes itself away
    (container,) = ours(url, paths)
    host = container.attrs["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    if controls(url):
        assert host["PidsLimit"] == 1024
        assert host["Memory"] == 4 * 1024**3
    assert not container.attrs["Config"]["User"].startswith("0")
    assert not any("SECRET" in line or "proxy" in line for line in container.attrs["Config"]["Env"] or ())
    await bottles.sessions.kill(view.slug)


async def test_one_that_ends_well_leaves_nothing(bottles: Rig, url: str, paths: Paths) -> None:
    view = await launch(bottles, "exit 0")
    ended = await bottles.sessions.wait(view.slug)
    assert (ended.state, ended.exit_code) == ("ended", 0)
    assert ours(url, paths) == []


async def test_exit_codes_and_memory_limits_are_told(bottles: Rig, paths: Paths, url: str) -> None:
    (paths.bottles / "small.md").write_text("---\nagent_provider: {template: shell}\nlimits: {memory: 64MiB}\n---\n")
    script = "python3 -c 'b = bytearray(200 * 2**20); print(len(b))'"
    view = await launch(bottles, f"exec {script}", bottles=("small",), headless=True)
    ended = await bottles.sessions.wait(view.slug)
    if not controls(url):  # the one process may not have so much
        assert ended.exit_code == 1
        return
    assert ended.exit_code == 137
    assert "out of memory" in ended.error


async def test_one_killed_by_hand_is_not_said_to_be_out_of_memory(bottles: Rig, paths: Paths, url: str) -> None:
    view = await launch(bottles, "sleep 600")
    (container,) = ours(url, paths)
    container.kill()
    ended = await bottles.sessions.wait(view.slug)
    assert (ended.state, ended.exit_code) == ("failed", 137)
    assert ended.error.startswith("killed, and not by carboy: by hand")


async def stands_still(bottles: Rig, slug: str) -> None:
    """Nothing is printed any more, once what was on its way has come."""
    transcript = bottles.paths.session_state(slug) / "transcript.cast"
    await asyncio.sleep(0.5)
    before = transcript.stat().st_size
    await asyncio.sleep(0.5)
    assert transcript.stat().st_size == before


async def test_freeze_exec_and_stop(bottles: Rig) -> None:
    view = await launch(bottles, "while :; do date +%N; sleep 0.1; done")
    result = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", "echo beside; id -un"), 20)
    assert (result.code, result.output) == (0, b"beside\nagent\n")
    hung = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", "sleep 600 & sleep 601"), 2)
    assert hung.timed_out
    left = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", "ps -eo args | grep -c '^sleep 60'"), 20)
    assert (left.timed_out, left.output.strip()) == (False, b"0")
    assert (await bottles.sessions.freeze(view.slug)).state == "frozen"
    await stands_still(bottles, view.slug)
    assert (await bottles.sessions.thaw(view.slug)).state == "running"
    await bottles.sessions.freeze(view.slug)
    assert (await bottles.sessions.stop(view.slug)).state == "stopped"  # by a signal; also out of a freeze


async def test_snapshot_resume_and_fork_keep_files_and_the_image_layer(bottles: Rig, url: str, paths: Paths) -> None:
    script = "if [ -e ~/kept ]; then echo again; else echo first; echo x > ~/kept; fi; sleep 600"
    view = await launch(bottles, script)
    await printed(bottles, view.slug, "first")
    assert (await bottles.sessions.keeping.commit(view.slug)).saved_at
    fork = await bottles.sessions.launch(bottles.request("", fork=view.slug, label="two"), bottles.steps.append)
    assert "again" in await printed(bottles, fork.slug, "again")
    await bottles.sessions.kill(view.slug)
    resumed = await bottles.sessions.launch(bottles.request("", resume=view.slug), bottles.steps.append)
    assert (resumed.slug, resumed.label) == (view.slug, view.label)
    assert resumed.session_id != view.session_id
    assert "again" in await printed(bottles, view.slug, "again")
    for slug in (view.slug, fork.slug):
        await bottles.sessions.kill(slug)
        await bottles.sessions.keeping.purge(slug)
    assert ours(url, paths) == []
    assert client(url).images.list(filters={"label": f"{facts.HOME}={facts.home_of(paths.session_state('any'))}"}) == []


async def test_a_snapshot_goes_to_another_machine(bottles: Rig, url: str, tmp_path: Path) -> None:
    """As docs/cli.md says it: the archived folder, and the image by save and load."""
    script = "if [ -e ~/kept ]; then echo again; else echo first; echo x > ~/kept; fi; sleep 600"
    view = await launch(bottles, script)
    await printed(bottles, view.slug, "first")
    archived = await bottles.sessions.keeping.archive(view.slug)
    engine = client(url)
    image = tmp_path / "one.image"
    image.write_bytes(b"".join(engine.images.get(archived.saved_as).save(named=True)))
    (folder,) = (bottles.paths.state / saved.ARCHIVE).iterdir()
    shutil.move(folder, tmp_path / folder.name)
    for one in engine.containers.list(all=True, filters={"label": f"{facts.SESSION}={archived.session_id}"}):
        one.remove(force=True)
    engine.images.remove(archived.saved_as, force=True)
    with tempfile.TemporaryDirectory(prefix="cb-") as home:
        other = Paths.resolve({"CARBOY_HOME": home})
        other.config.mkdir(parents=True)
        other.settings.write_text(f"image_base: {BASE}\n")
        engine.images.load(image.read_bytes())
        (other.state / saved.ARCHIVE).mkdir(parents=True)
        shutil.move(tmp_path / folder.name, other.state / saved.ARCHIVE / folder.name)
        async with rig(other) as there:
            (other.bottles / "plain.md").write_text((bottles.paths.bottles / "plain.md").read_text())
            await there.sessions.keeping.restore(view.slug, None)
            resumed = await there.sessions.launch(there.request("", resume=view.slug), there.steps.append)
            assert not any("gone" in note for note in resumed.notes)
            assert "again" in await printed(there, view.slug, "again")
            await there.sessions.kill(view.slug)
            await there.sessions.keeping.purge(view.slug)


async def test_the_next_controller_finds_it_running(bottles: Rig, paths: Paths) -> None:
    from app.controller.events import Bus
    from app.controller.ingest import Ingest
    from app.controller.sessions import Sessions

    view = await launch(bottles, "echo up; read line; echo got $line; sleep 600")
    await printed(bottles, view.slug, "up")
    gone = bottles.sessions
    await gone.close()
    gone.drop(view.slug)
    bottles.sessions = Sessions(paths, on_change=bottles.views.append, spools=Ingest(Bus(bottles.store)))
    await bottles.sessions.adopt()
    await bottles.sessions.cleanup()
    assert bottles.sessions.named(view.slug).view.state == "running"
    terminal = await bottles.sessions.terminal(view.slug, 24, 80)
    await terminal.write(b"word\r")
    await terminal.close()
    assert "got word" in await printed(bottles, view.slug, "got word")
    await bottles.sessions.kill(view.slug)
    await bottles.sessions.close()


async def test_twenty_launches_of_one_name_make_one_container(bottles: Rig, url: str, paths: Paths) -> None:
    results = await asyncio.gather(*(launch(bottles, "sleep 600") for _ in range(20)), return_exceptions=True)
    made = [one for one in results if isinstance(one, BottleView)]
    assert len(made) == 1
    assert {one.code for one in results if isinstance(one, CarboyError)} == {"name_in_use"}
    await until(lambda: len(ours(url, paths)) == 1)  # an ordinary user's helper takes itself away


@pytest.mark.parametrize("step", ["_run", "_help", "remove_after"])
async def test_what_fails_on_the_way_is_undone(
    bottles: Rig, url: str, paths: Paths, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise CarboyError("broken on purpose", "", "broken")

    name = "app.backends.held.build" if step == "remove_after" else f"{DockerBackend.__module__}.DockerBackend.{step}"
    monkeypatch.setattr(name, broken)
    with pytest.raises(CarboyError, match="broken on purpose"):
        await launch(bottles, "sleep 600")
    assert ours(url, paths) == []
    assert bottles.sessions.views() == []


async def test_a_dockerfile_of_ones_own_and_a_broken_one(bottles: Rig, paths: Paths, url: str) -> None:
    (paths.bottles / "Dockerfile").write_text(f"FROM {BASE}\nENV FROM_IMAGE=yes\nCOPY word /word\n")
    (paths.bottles / "word").write_text("copied")
    text = "---\nagent_provider: {template: shell, dockerfile: Dockerfile}\n---\n"
    (paths.bottles / "own.md").write_text(text)
    view = await launch(bottles, "echo $FROM_IMAGE $(cat /word); sleep 60", bottles=("own",))
    assert "yes copied" in await printed(bottles, view.slug, "copied")
    assert any("step 2" in step.detail.lower() for step in bottles.steps)
    (paths.bottles / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo nearly there && false\n")
    with pytest.raises(CarboyError) as failed:
        await launch(bottles, "true", bottles=("own",), label="other")
    assert failed.value.code == "image_build"
    assert "nearly there" in failed.value.message


def test_nothing_gets_out(url: str, tmp_path: Path) -> None:
    """The conformance suite, as a user runs it."""
    home = tmp_path / "home/config"
    home.mkdir(parents=True)
    (home / "settings.yml").write_text(f"image_base: {BASE}\n")
    environment = {**os.environ, "CARBOY_HOME": str(home.parent), "DOCKER_HOST": url}
    ran = subprocess.run(
        [sys.executable, "-m", "app", "selftest", "--backend", "docker", "--json"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    found = json.loads(ran.stdout)
    assert found["backend"] == "docker"
    assert found["counts"]["escaped"] == 0
    assert found["counts"]["held"] >= 140


async def test_an_engine_that_is_gone_is_said(bottles: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(CarboyError) as failed:
        await launch(bottles, "true")
    assert failed.value.code == "no_backend"
    assert "No engine answers" in failed.value.message
    await until(lambda: not bottles.sessions.views())


async def test_a_running_bottle_holds_against_what_is_started_beside_its_agent(bottles: Rig) -> None:
    """The same attacks by `exec`, which enters the container another way than its agent did."""
    view = await launch(bottles, "sleep 600")
    folder = Path(tempfile.mkdtemp(prefix="cb-victims-"))
    folder.chmod(0o755)
    (folder / "victims").mkdir()
    runner.give(folder / "victims")
    with runner.victims(folder / "victims") as facts:
        more = {"project": str(bottles.project), "beside_project": folder.name, "facts": "facts.json"}
        facts |= more | {"limits": {"memory": 0, "pids": 0}, "repository": False}
        command = findings.command(facts, findings.LEFT_OUT)
        result = await bottles.sessions.exec(view.slug, command, 120)
    shutil.rmtree(folder)
    found, ended = findings.parse(result.output)
    assert ended, result.output[-500:]
    assert [one for one in found if one.verdict == "escaped"] == []
    assert sum(one.verdict == "held" for one in found) >= 120
    await bottles.sessions.kill(view.slug)


@pytest.mark.usefixtures("permissions_hold")
async def test_a_socket_that_one_may_not_use_is_said(
    bottles: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Path(tempfile.mkdtemp(dir="/tmp")) / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(closed))
        listening.listen()
        closed.chmod(0)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{closed}")
        with pytest.raises(CarboyError) as failed:
            await launch(bottles, "true")
    shutil.rmtree(closed.parent)
    assert "may not be used by this user" in failed.value.message
    assert "usermod -aG docker" in failed.value.hint
