"""A night without anyone: an agent that crashes twice goes on, what it was refused is learned, the report tells it."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.controller import record
from app.controller.wiring import wire
from app.core.model import LaunchRequest
from app.paths import Paths, private_folder
from app.processes.identity import same
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


async def test_one_that_crashes_while_no_controller_lives_is_told_of_and_goes_on_once(
    run: Run, project: Path, paths: Paths
) -> None:
    script = "echo run >> runs; test $(wc -l < runs) -ge 2 && exit 0; until [ -e go ]; do sleep 0.1; done; exit 3"
    begun = run("start", "--bottle", "night", "--label", "one", "--detach", "--", "/bin/sh", "-c", script)
    assert begun.returncode == 0, begun.stderr
    await without_controller(paths)
    (project / "go").touch()
    await until((paths.session_state("one") / "exit.json").exists, 60)
    assert run("list").returncode == 0  # starts one
    await until(lambda: "done" in [item["about"] for item in told(run)], 60)
    assert (project / "runs").read_text() == "run\nrun\n"
    assert {item["title"] for item in told(run)} == {
        "one has failed", "one ended badly and goes on (start 1)", "one is done"
    }  # fmt: skip
    assert acts(run).count("resumed") == 1


async def test_the_controller_stays_for_one_that_is_to_be_started_again(
    project: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a provider's limit, hours later, when nothing else keeps it."""
    monkeypatch.setattr("app.controller.unattended.pause_before_resume", lambda _: 600.0)
    private_folder(paths.state)
    async with AsyncExitStack() as stack:
        wired = await wire(paths, stack, lambda: None)
        request = LaunchRequest(bottles=("night",), command=("false",), cwd=str(project), label="one", headless=True)
        await wired.sessions.launch(request, lambda _: None)
        assert (await wired.sessions.wait("one")).state == "failed"
        assert wired.busy()


async def test_one_that_is_lost_while_no_controller_lives_is_told_of_and_left_as_it_is(run: Run, paths: Paths) -> None:
    begun = run("start", "--bottle", "night", "--label", "one", "--detach", "--", "/bin/sh", "-c", "sleep 600")
    assert begun.returncode == 0, begun.stderr
    await without_controller(paths)
    kept = record.load(paths.session_state("one"))
    assert kept is not None
    assert kept.holder is not None
    holder = kept.holder
    os.kill(holder.identity.pid, signal.SIGKILL)
    await until(lambda: not same(holder.identity))
    assert run("list").returncode == 0  # starts one
    await until(lambda: len(told(run)) >= 2)
    assert [item["title"] for item in reversed(told(run))] == [
        "one was lost",
        "one ended while no controller ran, and is left as it is: `carboy resume` goes on",
    ]
    await asyncio.sleep(3)  # its first start would come after two
    assert "resumed" not in acts(run)


async def without_controller(paths: Paths) -> None:
    """It is gone: while it ends it would still notice what ends."""
    pid = int((paths.state / "controller.lock").read_text())
    await asyncio.to_thread(stopped, paths)
    await until(lambda: not psutil.pid_exists(pid))


def told(run: Run) -> list[dict[str, Any]]:
    return json.loads(run("notices", "--json").stdout)


def acts(run: Run) -> list[str]:
    return [row["action"] for row in json.loads(run("audit", "--json").stdout)["rows"]]
