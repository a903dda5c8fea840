"""A newer git than the machine's, as the agent's, as the gate's own and as upstream's: each with the machine's own on
the other side, and all three newer."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gitgate.kit import GitRepo, SmartHttp, World, bare, git, secret, spawn, tips, url, world
from tests.gitgate.newer import newer
from tests.gitgate.openssh import ssh_key, sshd

pytestmark = pytest.mark.e2e
KEY = "AKIA" + "QWERTYUIOPASDFG2"


def version(program: Path | str) -> tuple[int, ...]:
    words = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()
    return tuple(int(part) for part in words[2].split(".")[:2])


@pytest.fixture(scope="session")
def ahead() -> str:
    folder = newer("git")
    assert version(folder / "git") >= (2, 47)
    return str(folder)


@pytest.fixture(params=["client", "gate and upstream", "all"])
async def one(
    request: pytest.FixtureRequest, ahead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    bare(tmp_path / "app.git")
    own = str(Path(shutil.which("git") or "").parent)
    if request.param != "client":
        monkeypatch.setenv("PATH", f"{ahead}:{os.environ['PATH']}")
    with SmartHttp(tmp_path).run() as http:
        repo = GitRepo(name="app", url=http.url("app"))
        forced = repo.model_copy(update={"name": "forced", "force_push": True})
        reviewed = repo.model_copy(update={"name": "reviewed", "review": True})
        async with world(repo, forced, reviewed) as running:
            running.ahead = own if request.param == "gate and upstream" else ahead
            running.upstream = tmp_path / "app.git"
            yield running


@pytest.mark.parametrize("options", [(), ("--depth=1",), ("--filter=blob:none",), ("-c", "protocol.version=0")])
async def test_clones_and_fetches(one: World, options: tuple[str, ...]) -> None:
    work = one.folder / "seed"
    git("clone", "-q", str(one.upstream), str(work))
    for number in range(5):
        (work / "file.txt").write_text(f"{number}\n" * 2000)
        git("add", ".", cwd=work)
        git("commit", "-q", "-m", f"n{number}", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    target = one.folder / "clone"
    await one.git("clone", "-q", *options, url("app"), str(target))
    if "--depth=1" in options:
        await one.git("fetch", "-q", "--unshallow", cwd=target)
    assert int((await one.git("rev-list", "--count", "HEAD", cwd=target))[1]) == 6
    assert (await one.git("show", "HEAD~3:file.txt", cwd=target))[1].startswith("1\n")
    await one.commit(target, {"b.txt": "b\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=target)


async def test_pushes(one: World) -> None:
    clone = await one.clone()
    mine = await one.commit(clone, {"a.txt": "a\n"})
    await one.git("tag", "-a", "v1", "-m", "mine", cwd=clone)
    await one.git("push", "-q", "--atomic", "origin", "HEAD:main", "HEAD:refs/heads/topic/x", "v1", cwd=clone)
    assert tips(one.upstream)["refs/heads/main"] == mine
    await one.git("push", "-q", "origin", ":topic/x", ":refs/tags/v1", cwd=clone)
    assert set(tips(one.upstream)) == {"refs/heads/main"}
    # what is refused says why
    await one.commit(clone, {"src/config.py": f"key = '{KEY}'\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert (code, "src/config.py:1: aws-access-key-id" in said) == (1, True), said
    await one.git("reset", "-q", "--hard", "HEAD~2", cwd=clone)
    other = await one.commit(clone, {"c.txt": "c\n"})
    code, said = await one.git("push", "--force", "origin", "HEAD:main", cwd=clone, check=False)
    assert (code, "force_push" in said) == (1, True), said
    await one.git("push", "-q", "--force", url("forced"), "HEAD:main", cwd=clone)
    assert tips(one.upstream)["refs/heads/main"] == other
    # and one that waits for the operator
    await one.commit(clone, {"d.txt": "d\n"})
    push = spawn(one.git("push", url("reviewed"), "HEAD:main", cwd=clone, check=False), name="push")
    asked = await one.decide("approved")
    code, said = await push
    assert (code, "+d" in asked["report"]["text"]) == (0, True), said


async def test_over_ssh(ahead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{ahead}:{os.environ['PATH']}")
    bare(tmp_path / "app.git")
    private, public = ssh_key()
    with sshd(tmp_path / "ssh", public) as server:
        address = f"ssh://{server.user}@127.0.0.1:{server.port}{tmp_path}/app.git"
        repo = GitRepo(name="app", url=address, host_key=server.host_key, ssh_key=secret(private))
        async with world(repo) as running:
            clone = await running.clone()
            mine = await running.commit(clone, {"a.txt": "a\n"})
            await running.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            assert tips(tmp_path / "app.git")["refs/heads/main"] == mine
            assert server.logins == 1
