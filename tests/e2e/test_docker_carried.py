"""Docker bottles that cannot be entered: under gVisor, and in an engine whose processes are not this host's, as Docker
Desktop's. The same that others are asked for, by the way that a carried bottle goes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.docker import covering, facts
from app.controller import holding
from app.core.model import BottleView
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.e2e.docker_engine import BASE, engine, import_base
from tests.integration.launching import Rig, asking, rig
from tests.integration.test_kill import only, recorded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.xdist_group("docker")]
ROOT = Path(__file__).parents[2]
OWNER = 60901
EACH = 'for p in /proc/[0-9]*; do n=${p#/proc/}; case "$(tr "\\0" " " <$p/cmdline)" in python3*relay*)'
BOTTLE = "---\nagent_provider: {{template: shell}}\n{runtime}egress:\n  routes:\n    - host: allowed.example\n---\n"


@pytest.fixture(scope="module", params=["runsc", "elsewhere"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def url(kind: str) -> Iterator[str]:
    with engine("docker", apart=kind == "elsewhere", gvisor=kind == "runsc") as found:
        import_base(found)
        yield found


@pytest.fixture
def home(url: str, kind: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("DOCKER_HOST", url)
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(f"image_base: {BASE}\n")
    return paths


@pytest.fixture
async def bottles(home: Paths, kind: str) -> AsyncIterator[Rig]:
    async with rig(home) as made:
        runtime = "runtime: runsc\n" if kind == "runsc" else ""
        (home.bottles / "plain.md").write_text(BOTTLE.format(runtime=runtime))
        if os.geteuid() == 0:
            os.chown(made.project, OWNER, OWNER)
        yield made


def client(url: str) -> Any:
    import docker

    return docker.DockerClient(base_url=url)


def ours(url: str, paths: Paths) -> list[Any]:
    mine = f"{facts.HOME}={facts.home_of(paths.session_state('any'))}"
    found = client(url)
    return [*found.containers.list(all=True, filters={"label": mine}), *found.images.list(filters={"label": mine})]


async def see(bottles: Rig, wanted: bytes) -> bytes:
    """What the agent printed, up to `wanted`."""
    terminal, seen = await bottles.sessions.terminal("one", 24, 80), b""
    try:
        async with asyncio.timeout(90):
            async for piece in terminal.output():
                seen += piece
                if wanted in seen:
                    break
    finally:
        await terminal.close()
    return seen


async def launch(on: Rig, script: str, **changes: object) -> BottleView:
    return await on.launch(script, backend="docker", **changes)


async def test_an_agent_works_in_its_project_behind_its_sidecar(bottles: Rig, url: str, kind: str) -> None:
    refused, own = asking("http://elsewhere.example/"), asking("http://carboy.internal/allowlist")
    script = (
        f"{refused} | head -1; {own} | grep -o allowed.example; touch made; grep CapEff /proc/self/status; echo end"
    )
    view = await launch(bottles, f"{script}; sleep 99")
    assert (view.backend, view.isolation, view.state) == ("docker", "container", "running")
    assert view.engine == ("docker/runsc" if kind == "runsc" else "docker")
    seen = (await see(bottles, b"end")).decode()
    assert "HTTP/1.1 403" in seen
    assert "allowed.example" in seen
    assert "0000000000000000" in seen
    assert (bottles.project / "made").stat().st_uid == bottles.project.stat().st_uid
    (container,) = ours(url, bottles.paths)
    assert container.attrs["HostConfig"]["NetworkMode"] == "none"
    await bottles.sessions.kill(view.slug)
    await bottles.sessions.keeping.purge(view.slug)
    assert ours(url, bottles.paths) == []
    assert sorted(os.listdir(bottles.project)) == ["made"]  # nothing that stood for a mask is left


async def test_masks_hold_in_a_repository_and_outlive_a_rename(bottles: Rig) -> None:
    subprocess.run(["git", "init", "-q", str(bottles.project)], check=True)
    (bottles.project / ".claude").mkdir()
    (bottles.project / ".claude/settings.json").write_text("kept")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", str(bottles.project)], check=True)
    config = (bottles.project / ".git/config").read_text()
    script = (
        "mv .git .other; mkdir .git; echo x > .git/hooks/post-commit; echo x >> .git/config;"
        "echo x > .claude/settings.json;"
        "rm -rf .claude; mkdir .vscode; echo x > .vscode/tasks.json; cat .claude/settings.json; echo word > file;"
        "git add file; git -c user.name=a -c user.email=b commit -qm one; git log --oneline | wc -l; echo end; sleep 99"
    )
    await launch(bottles, script)
    seen = await see(bottles, b"end")
    assert b"kept" in seen
    assert b"kept1\r\n" in seen
    await bottles.sessions.kill("one")
    assert (bottles.project / ".git/config").read_text() == config
    assert not (bottles.project / ".git/hooks/post-commit").exists()
    assert os.listdir(bottles.project / ".claude") == ["settings.json"]
    assert not (bottles.project / ".vscode").exists()
    assert not (bottles.project / ".other").exists()


async def test_worktrees_cannot_be_pointed_to_another_config(bottles: Rig, tmp_path: Path) -> None:
    def git(*args: str, at: Path = bottles.project) -> str:
        command = ["git", "-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=b", "-C", str(at), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    planted, before, later = tmp_path / "planted", tmp_path / "before", tmp_path / "later"
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    git("worktree", "add", "-q", str(before))
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", str(bottles.project)], check=True)
    script = (
        f"cp -r .git evil; printf '[core]\n\tfsmonitor = touch {planted}; false\n' > evil/config;"
        "git worktree add -q own; git -C own status --short && echo own; while ! [ -e go ]; do sleep 0.1; done;"
        "cd .git/worktrees; mv before away; for each in before later; do mkdir -p $each; rm -f $each/commondir;"
        "echo $PWD/../../evil > $each/commondir; done; rm -rf ../worktrees; echo attacked; sleep 99"
    )
    await launch(bottles, script)
    assert b"own" in await see(bottles, b"own\r\n")
    git("worktree", "add", "-q", "--detach", str(later))
    (bottles.project / "go").touch()
    await see(bottles, b"attacked")
    git("status", at=later)
    git("worktree", "remove", "--force", str(later))
    git("worktree", "prune")
    assert not planted.exists()
    await bottles.sessions.kill("one")
    assert {path.name for path in (bottles.project / ".git/worktrees").iterdir()} <= {"before"}


async def test_the_agent_can_neither_end_nor_replace_its_relay(bottles: Rig) -> None:
    view = await launch(bottles, "sleep 600")
    script = (
        f"{EACH} kill -9 $n && echo KILLED; ls $p/fd/ | grep -q . && echo READ; echo seen;; esac; done;"
        "id -u; echo x >/run/carboy/start && echo WROTE"
    )
    result = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", script), 30)
    assert b"seen" in result.output
    assert not {b"KILLED", b"READ", b"WROTE"} & set(result.output.split())
    asked = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", asking("http://elsewhere.example/")), 30)
    assert b"403" in asked.output


async def test_a_relay_that_ends_is_started_again(bottles: Rig, url: str) -> None:
    await launch(bottles, "sleep 600")
    (container,) = ours(url, bottles.paths)
    find = (
        'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline | grep -q "^python3 .*relay" && kill -9 ${p#/proc/}; done'
    )
    container.exec_run(["/bin/sh", "-c", find], user="0:0")

    async def answered() -> bool:
        asked = await bottles.sessions.exec("one", ("/bin/sh", "-c", asking("http://elsewhere.example/")), 30)
        return b"403" in asked.output

    await until(answered, 30)


async def test_freeze_exec_and_stop(bottles: Rig) -> None:
    view = await launch(bottles, "while :; do date +%N; sleep 0.1; done")
    result = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", "echo beside; id -un"), 20)
    assert (result.code, result.output) == (0, b"beside\nagent\n")
    hung = await bottles.sessions.exec(view.slug, ("/bin/sh", "-c", "sleep 600 & sleep 601"), 2)
    assert hung.timed_out
    transcript = bottles.paths.session_state(view.slug) / "transcript.cast"
    assert (await bottles.sessions.freeze(view.slug)).state == "frozen"
    await asyncio.sleep(0.5)
    before = transcript.stat().st_size
    await asyncio.sleep(0.5)
    assert transcript.stat().st_size == before
    assert (await bottles.sessions.thaw(view.slug)).state == "running"
    await until(lambda: transcript.stat().st_size > before)
    assert (await bottles.sessions.named(view.slug).box.usage()).memory > 0
    await bottles.sessions.freeze(view.slug)
    assert (await bottles.sessions.stop(view.slug)).state == "stopped"  # also out of a freeze


async def test_snapshot_resume_and_fork_keep_files_and_the_image_layer(bottles: Rig, url: str, paths: Paths) -> None:
    script = "if [ -e ~/kept ]; then echo again $(cat /var/layer); else echo first; echo x > ~/kept; fi; sleep 600"
    view = await launch(bottles, script)
    await see(bottles, b"first")
    (container,) = ours(url, paths)
    container.exec_run(["/bin/sh", "-c", "echo layer > /var/layer"], user="0:0")
    assert (await bottles.sessions.keeping.commit(view.slug)).saved_at
    fork = await bottles.sessions.launch(bottles.request("", fork=view.slug, label="two"), bottles.steps.append)
    await until(lambda: b"again layer" in (paths.session_state("two") / "transcript.cast").read_bytes(), 20)
    await bottles.sessions.kill(view.slug)
    resumed = await bottles.sessions.launch(bottles.request("", resume=view.slug), bottles.steps.append)
    assert resumed.session_id != view.session_id
    await see(bottles, b"again layer")
    for slug in (view.slug, fork.slug):
        await bottles.sessions.kill(slug)
        await bottles.sessions.keeping.purge(slug)
    assert ours(url, paths) == []


@pytest.mark.parametrize("workspace", ["read-only", "copy", "none"])
async def test_the_other_workspaces(bottles: Rig, workspace: str) -> None:
    (bottles.project / "there").write_text("word")
    if os.geteuid() == 0 and workspace == "copy":
        os.chown(bottles.project, 0, 0)  # root's own: a copy can be given to the agent
    view = await launch(bottles, "pwd; cat there; echo x > new; echo end; sleep 99", workspace=workspace)
    seen = await see(bottles, b"end")
    assert (b"word" in seen) == (workspace != "none")
    assert not (bottles.project / "new").exists()
    if workspace == "copy":
        assert (bottles.paths.session_state(view.slug) / "workspace/new").read_text() == "x\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="another's project")
async def test_a_project_of_roots_is_refused_with_the_way_round(bottles: Rig, url: str) -> None:
    os.chown(bottles.project, 0, 0)
    with pytest.raises(CarboyError, match="belongs to root") as refused:
        await launch(bottles, "true")
    assert "workspace: copy" in refused.value.hint
    assert ours(url, bottles.paths) == []


async def test_a_folder_that_was_swapped_for_a_link_is_found_out(
    bottles: Rig, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`.git` is mounted by its path: what the engine found there must be what lies here."""
    subprocess.run(["git", "init", "-q", str(bottles.project)], check=True)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", str(bottles.project)], check=True)
    victim = bottles.paths.state / "victim"
    (victim / "hooks").mkdir(parents=True)
    (victim / "config").touch()
    real, git = covering.prepare, bottles.project / ".git"

    def swapped(*args: Any) -> covering.Shown:
        shown = real(*args)
        shown.binds = [
            covering.Bound(str(victim), one.target, one.writable) if one.target == str(git) else one
            for one in shown.binds
        ]
        return shown

    monkeypatch.setattr(covering, "prepare", swapped)
    with pytest.raises(CarboyError, match="something else than this host's folders"):
        await launch(bottles, "true")
    assert ours(url, bottles.paths) == []
    assert not [name for name in os.listdir(git) if name.startswith(".carboy")]


async def test_a_masked_link_is_refused_with_the_way_round(bottles: Rig, url: str) -> None:
    (bottles.project / ".vscode").symlink_to("/etc")
    with pytest.raises(CarboyError, match=r"\.vscode is a link"):
        await launch(bottles, "true")
    assert ours(url, bottles.paths) == []


async def test_an_image_without_python_is_refused_by_name(bottles: Rig, paths: Paths, kind: str, url: str) -> None:
    (paths.bottles / "Dockerfile").write_text(f"FROM {BASE}\nRUN rm -f /usr/bin/python3*\n")
    runtime = "runtime: runsc\n" if kind == "runsc" else ""
    text = f"---\nagent_provider: {{template: shell, dockerfile: Dockerfile}}\n{runtime}---\n"
    (paths.bottles / "own.md").write_text(text)
    with pytest.raises(CarboyError) as refused:
        await launch(bottles, "true", bottles=("own",))
    assert refused.value.code == "image_python"


LISTENS = "echo up; while read line; do echo got $line; done"


async def typed(bottles: Rig, word: str) -> None:
    terminal = await bottles.sessions.terminal("one", 24, 80)
    await terminal.write(word.encode() + b"\r")
    await terminal.close()
    await see(bottles, f"got {word}".encode())


async def test_the_next_controller_finds_it_running(bottles: Rig, home: Paths) -> None:
    await launch(bottles, LISTENS)
    await see(bottles, b"up")
    gone = bottles.sessions
    await gone.close()
    gone.drop("one")
    async with rig(home) as real:
        await real.sessions.adopt()
        await real.sessions.cleanup()
        assert only(real).state == "running"
        await typed(real, "word")
        asked = await real.sessions.exec("one", ("/bin/sh", "-c", asking("http://elsewhere.example/")), 30)
        assert b"403" in asked.output
        await real.sessions.kill("one")


async def test_a_killed_holder_is_replaced_and_the_agent_goes_on(bottles: Rig, url: str) -> None:
    await launch(bottles, LISTENS)
    await see(bottles, b"up")
    await typed(bottles, "before")
    first = recorded(bottles, "holder").pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: recorded(bottles, "holder").pid != first, 30)
    await until(lambda: only(bottles).notes[-1:] == (holding.NOTE,), 30)
    await see(bottles, b"got before")  # read again from the engine
    await typed(bottles, "after")

    async def answered() -> bool:
        asked = await bottles.sessions.exec("one", ("/bin/sh", "-c", asking("http://elsewhere.example/")), 30)
        return b"403" in asked.output

    await until(answered, 30)  # by a relay of the new holder's
    os.kill(recorded(bottles, "sidecar").pid, signal.SIGKILL)
    await until(lambda: only(bottles).sidecar.state != "healthy", 30)
    await until(lambda: only(bottles).sidecar.state == "healthy", 60)
    await until(answered, 30)
    assert (await bottles.sessions.kill("one")).state == "stopped"


def test_nothing_gets_out(url: str, kind: str, tmp_path: Path) -> None:
    """The conformance suite, as a user runs it."""
    home = tmp_path / "home/config"
    home.mkdir(parents=True)
    (home / "settings.yml").write_text(f"image_base: {BASE}\n")
    environment = {**os.environ, "CARBOY_HOME": str(home.parent), "DOCKER_HOST": url}
    runtime = ["--runtime", "runsc"] if kind == "runsc" else []
    ran = subprocess.run(
        [sys.executable, "-m", "app", "selftest", "--backend", "docker", *runtime, "--json"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=230, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    found = json.loads(ran.stdout)
    assert found["counts"]["escaped"] == 0
    assert found["counts"]["held"] >= 140
