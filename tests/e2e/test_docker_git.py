"""What the operator's git runs or reads out of the project is not an agent's to write in a container either."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.paths import Paths
from tests.e2e.docker_engine import BASE, engine, import_base
from tests.integration.launching import Rig, rig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.xdist_group("docker")]
PLANT = r"""
exec </dev/null
plant() {
  for file in .githooks/pre-commit deep/er/hooks/pre-commit; do
    mkdir -p "$(dirname $file)"; printf '#!/bin/sh\ntouch ran\n' > $file; chmod +x $file
  done
  for file in tools/clean.sh tools/strip; do printf '#!/bin/sh\ntouch ran; cat\n' > $file; done
  printf '[core]\n\thooksPath = evil\n' > config/included
}
mkdir evil; printf '#!/bin/sh\ntouch ran\n' > evil/pre-commit; chmod +x evil/pre-commit
plant
for path in .githooks deep deep/er deep/er/hooks tools tools/clean.sh config config/included; do
  mv -fT $path moved-$(echo $path | tr / -); rm -rf $path; ln -sfn ../evil $path; ln -f evil/pre-commit $path
  mv -fT evil/pre-commit $path; cp evil/pre-commit $path
done
plant
umount .githooks tools/clean.sh config/included; mount --bind evil .githooks; mount -o remount,rw,bind .githooks
unshare -rm sh -c 'umount -l .githooks; mount --bind evil .githooks; cp evil/pre-commit .githooks/'
plant; python3 -c 'import os; os.rename("deep", "other")'; plant; rm -rf tools .githooks deep config; plant
git config core.hooksPath evil; echo done-with-it
"""


@pytest.fixture(scope="module", params=["docker", "podman"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with engine(str(request.param)) as found:
        import_base(found)
        yield found


@pytest.fixture
async def bottles(url: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("DOCKER_HOST", url)
    monkeypatch.setenv("HOME", str(paths.config.parent))
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(f"image_base: {BASE}\n")
    async with rig(paths) as made:
        yield made


def git(folder: Path, *args: str) -> str:
    who = [part for each in ("user.name=a", "user.email=a@x", "safe.directory=*") for part in ("-c", each)]
    env = {**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    done = subprocess.run(["git", *who, *args], cwd=folder, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("place", "there", "hooks"),
    [("repository", True, "deep/er/hooks"), ("repository", False, ".githooks"), ("worktree", False, "deep/er/hooks")],
)
async def test_nothing_is_planted_for_the_operators_git(
    bottles: Rig, tmp_path: Path, place: str, there: bool, hooks: str
) -> None:
    project = bottles.project
    top = tmp_path / "main" if place == "worktree" else project
    top.mkdir(exist_ok=True)
    git(top, "init", "-q")
    git(top, "commit", "-q", "--allow-empty", "-m", "one")
    if place == "worktree":
        project.rmdir()
        git(top, "worktree", "add", "-q", str(project))
    for folder in ("tools", "config"):
        (project / folder).mkdir()
    (project / "tools/clean.sh").write_text("cat\n")
    (project / "config/included").touch()
    (project / ".gitattributes").write_text("*.txt filter=x\n")
    if there:
        (project / hooks).mkdir(parents=True)
        (project / hooks / "pre-push").write_text("#!/bin/sh\n")
    git(top, "config", "core.hooksPath", hooks)
    git(top, "config", "include.path", str(project / "config/included"))
    git(top, "config", "filter.x.clean", f"sh {project}/tools/clean.sh")
    if os.geteuid() == 0:
        for folder, names, files in os.walk(project):
            for name in (folder, *(os.path.join(folder, each) for each in (*names, *files))):
                os.chown(name, 60901, 60901, follow_symlinks=False)
    view = await bottles.launch(PLANT, backend="docker", headless=True)
    ended = await bottles.sessions.wait(view.slug)
    assert ended.state == "ended"
    assert (project / "evil").is_dir()  # it ran, and wrote
    (project / "a.txt").write_text("a\n")
    git(project, "add", "a.txt")
    git(project, "commit", "-q", "-m", "two")
    assert not (project / "ran").exists()
    assert not (top / "ran").exists()
    assert (project / "config/included").read_text() == ""
    assert (project / "tools/clean.sh").read_text() == "cat\n"
    assert git(project, "config", "core.hooksPath").strip() == hooks
