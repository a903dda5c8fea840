"""A night without anyone: an agent that crashes twice goes on, what it was refused is learned, the report tells it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.paths import Paths, private_folder
from tests.conftest import until
from tests.controllers import started, stopped
from tests.integration.launching import asking

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(sys.platform != "linux", reason="local bottles need Linux")]
ROOT = Path(__file__).parents[2]
BOTTLE = "---\nagent_provider: {template: shell}\nlearn: true\nunattended: {on_exit: {resume: 3}}\n---\n"

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(paths: Paths) -> Iterator[Path]:
    private_folder(paths.bottles)
    (paths.bottles / "night.md").write_text(BOTTLE)
    place = Path(tempfile.mkdtemp(prefix="cbp-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def run(project: Path, paths: Paths) -> Iterator[Run]:
    started(paths)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}

    def carboy(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "app", *arguments],
            cwd=project, env=env, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    yield carboy
    carboy("kill", "one")
    stopped(paths)


async def test_it_goes_on_is_learned_from_and_told(run: Run, project: Path, paths: Paths) -> None:
    script = f"echo run >> runs; {asking('http://refused.example/numbers')}; test $(wc -l < runs) -ge 3"
    started = run("start", "--bottle", "night", "--label", "one", "--detach", "--", "/bin/sh", "-c", script)
    assert started.returncode == 0, started.stderr
    runs = project / "runs"

    def ended() -> bool:
        return runs.exists() and len(runs.read_text().splitlines()) == 3 and report()["outcome"] == "done"

    def report() -> dict[str, object]:
        shown = run("report", "one", "--json")
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)

    await until(ended, 90)
    found = report()
    assert "runs" in found["changed"]["files"]  # type: ignore[index]
    refused = {"host": "refused.example", "code": "host_not_allowed", "times": 1, "failed": False}
    assert found["refusals"] == [refused]
    learned = run("learn", "one", "--save", "--name", "learned", "--json")
    assert learned.returncode == 0, learned.stderr
    assert "host: refused.example" in (paths.bottles / "learned.md").read_text()
    audit = json.loads(run("audit", "--json").stdout)
    assert audit["findings"] == []
    assert [row["action"] for row in audit["rows"]].count("resumed") == 2
    notices = json.loads(run("notices", "--json").stdout)
    assert [item["about"] for item in notices if item["about"] == "done"] == ["done"]
