"""A launch with everything real: to a running agent and its end, or to nothing at all."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest

from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.integration.launching import Rig, asking, processes_of, rig

pytestmark = pytest.mark.sandbox


@pytest.fixture
async def real(paths: Paths) -> AsyncIterator[Rig]:
    async with rig(paths) as one:
        yield one


async def _output(real: Rig, slug: str = "one") -> bytes:
    held = await real.sessions.terminal(slug, 24, 80)
    data = b""
    async with asyncio.timeout(60):
        async for piece in held.output():
            data += piece
    await held.close()
    return data


async def test_an_agent_runs_to_its_end_and_leaves_only_its_record_and_restore_point(real: Rig) -> None:
    view = await real.launch("echo hello from $HOME; read x; exit 0")
    assert view.state == "running"
    assert view.sidecar.state == "healthy"
    done = [step.step for step in real.steps if step.state == "done"]
    steps = {"state", "authority", "sandbox", "sidecar", "restore point", "listener", "self-test", "agent"}
    assert set(done) == steps
    assert done[-1] == "agent"
    held = await real.sessions.terminal("one", 24, 80)
    await held.write(b"\r")
    await held.close()
    ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
    assert (ended.state, ended.exit_code) == ("ended", 0)
    assert b"hello from /home/agent" in await _output(real)
    assert sorted(path.name for path in real.paths.session_state("one").iterdir()) == [
        "exit.json", "restore", "restore.json", "session.json", "transcript.cast",
    ]  # fmt: skip
    assert not real.paths.session_run(view.session_id).exists()
    await until(lambda: processes_of(real.paths) == [])


async def test_what_ends_badly_is_preserved(real: Rig) -> None:
    await real.launch("echo kept > $HOME/file; exit 3")
    ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
    assert (ended.state, ended.exit_code) == ("failed", 3)
    assert (real.paths.session_state("one") / "home" / "file").read_text() == "kept\n"
    await until(lambda: processes_of(real.paths) == [])
    await real.sessions.cleanup()
    assert (real.paths.session_state("one") / "home" / "file").exists()


async def test_a_refused_request_is_in_the_store(real: Rig) -> None:
    await real.launch(f"{asking('http://refused.example/x')}; exit 0")
    await asyncio.wait_for(real.sessions.wait("one"), 30)
    from app.store.base import EventQuery

    events = await real.store.events(EventQuery(slug="one"))
    assert [event.data["host"] for event in events if event.kind == "egress"] == ["refused.example"], (
        await _output(real)
    ).decode()


async def test_no_secret_lies_anywhere(real: Rig) -> None:
    (real.paths.bottles / "plain.md").write_text(
        "---\nagent_provider: {template: shell}\nenv: {KEY: {secret: MY_KEY}}\negress:\n  routes:\n"
        "    - {host: api.example, auth: {token_ref: MY_KEY}}\n---\n"
    )
    secret = "the-real-value-of-the-secret"
    await real.launch("env; read x", secrets={"MY_KEY": secret})
    kept = (real.paths.session_state("one") / "session.json").read_text()
    assert secret not in kept
    assert "PRIVATE KEY" not in kept
    assert json.loads(kept)["secrets"] == {"MY_KEY": "request"}
    held = await real.sessions.terminal("one", 24, 80)
    await held.write(b"\r")
    await held.close()
    await real.sessions.wait("one")
    shown = (await _output(real)).decode()
    assert secret not in shown
    assert "KEY=carboy-one-" in shown


async def test_freeze_thaw_stop(real: Rig) -> None:
    await real.launch("trap 'exit 0' TERM; while :; do sleep 0.05; done")
    assert (await real.sessions.freeze("one")).state == "frozen"
    with pytest.raises(CarboyError) as caught:
        await real.sessions.freeze("one")
    assert caught.value.code == "wrong_state"
    assert (await real.sessions.thaw("one")).state == "running"
    assert (await real.sessions.stop("one")).state == "stopped"
    with pytest.raises(CarboyError):
        await real.sessions.stop("one")


async def test_the_preflight_makes_nothing(real: Rig) -> None:
    shown = await real.sessions.preflight(real.request("true"))
    assert shown.problems == ()
    assert shown.slug == "one"
    assert shown.engine
    assert any("sandbox" in line for line in shown.creates)
    assert not (real.paths.state / "bottles").exists() or not list((real.paths.state / "bottles").iterdir())
    await until(lambda: processes_of(real.paths) == [])


async def test_a_name_is_given_once(real: Rig) -> None:
    await real.launch("read x")
    with pytest.raises(CarboyError) as caught:
        await real.launch("read x")
    assert caught.value.code == "name_in_use"
    assert "one-2" in caught.value.render()
    second = await real.launch("read x", headless=True)
    assert second.slug == "one-2"


async def test_many_at_once(real: Rig) -> None:
    views = await asyncio.gather(*(real.launch("sleep 60", label="same", headless=True) for _ in range(4)))
    assert {view.slug for view in views} == {"same", "same-2", "same-3", "same-4"}
    assert all(view.state == "running" for view in views)


@pytest.mark.parametrize("command", [("/no/such/program",), ("/etc/passwd",)])
async def test_a_program_that_cannot_run_undoes_everything(real: Rig, command: tuple[str, ...]) -> None:
    with pytest.raises(CarboyError) as caught:
        await real.launch("", command=command)
    assert command[0] in caught.value.message
    assert not real.paths.session_state("one").exists()
    assert list((real.paths.run).glob("????????????")) == []
    await until(lambda: processes_of(real.paths) == [])
    assert real.sessions.views() == []
    assert real.views[-1].state == "failed"


@pytest.mark.parametrize("step", ["state", "authority", "sandbox", "sidecar", "listener", "self-test", "agent"])
async def test_cancelled_at_any_step_nothing_stays(real: Rig, step: str) -> None:
    await real.sessions.zygote.start()
    reached = asyncio.Event()
    steps: list[tuple[str, str]] = []

    def watch(told) -> None:
        steps.append((told.step, told.state))
        if told.step == step:
            reached.set()

    launch = asyncio.get_running_loop().create_task(real.sessions.launch(real.request("read x"), watch))
    await asyncio.wait_for(reached.wait(), 20)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert not real.paths.session_state("one").exists()
    await until(lambda: processes_of(real.paths) == [])
    undone = [name for name, state in steps if state == "undone"]
    assert undone[-1:] == (["state"] if undone else [])


async def test_a_viewers_size_is_the_only_one_that_the_agent_sees(real: Rig) -> None:
    await real.launch("stty size; read x; stty size; read x", rows=30, cols=100)
    held = await real.sessions.terminal("one", 50, 132)
    await held.write(b"\r")
    data = b""
    async with asyncio.timeout(10):
        async for piece in held.output():
            data += piece
            if b"50 132" in data:
                break
    await held.close()
    record = (real.paths.session_state("one") / "transcript.cast").read_text()
    sizes = [json.loads(line)[2] for line in record.splitlines()[1:] if json.loads(line)[1] == "r"]
    assert sizes == ["132x50"]


async def test_time_that_is_over_ends_the_agent(real: Rig) -> None:
    (real.paths.bottles / "plain.md").write_text(
        "---\nagent_provider: {template: shell}\nlimits: {wall_clock: 1s}\n---\n"
    )
    await real.launch("trap 'echo asked; exit 0' TERM; while :; do sleep 0.1; done")
    ended = await asyncio.wait_for(real.sessions.wait("one"), 20)
    assert (ended.state, ended.exit_code) == ("failed", 124)
    assert "wall_clock is 1s" in ended.error
    assert b"asked" in await _output(real)


async def test_a_copy_of_the_project_is_worked_on(real: Rig) -> None:
    (real.project / "sub").mkdir()
    (real.project / "sub" / "old").write_text("old")
    if os.geteuid() == 0:
        for path in (real.project, real.project / "sub", real.project / "sub" / "old"):
            os.chown(path, 1234, 1234)
    shown = (await real.sessions.preflight(real.request("true", workspace="copy"))).creates
    assert any("a copy in" in text for text in shown)
    script = "pwd; stat -c %U sub/old; echo new > sub/old; echo x > made; mkdir -p .git/hooks; touch .vscode/x; exit 0"
    await real.launch(script, workspace="copy")
    assert (await asyncio.wait_for(real.sessions.wait("one"), 20)).state == "ended"
    output = await _output(real)
    assert str(real.project).encode() in output
    assert b"agent" in output
    assert (real.project / "sub" / "old").read_text() == "old"
    assert [path.name for path in real.project.iterdir()] == ["sub"]
    copied = real.paths.session_state("one") / "workspace"
    assert sorted(path.name for path in copied.iterdir()) == ["made", "sub"]
    assert (copied / "sub" / "old").read_text() == "new\n"
    assert (copied / "made").stat().st_uid == real.project.stat().st_uid


async def test_cancelled_while_copying_nothing_stays(real: Rig) -> None:
    for number in range(3000):
        (real.project / str(number)).touch()
    launch = asyncio.ensure_future(real.launch("sleep 60", workspace="copy"))  # noqa: TID251
    await until(lambda: any(step.step == "workspace" for step in real.steps))
    launch.cancel()
    await asyncio.wait([launch])
    assert launch.cancelled()
    assert not real.paths.session_state("one").exists()
    await until(lambda: processes_of(real.paths) == [])
