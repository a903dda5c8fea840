"""Empty folders that stand in a project for masked paths: two bottles at once, and a holder that was killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.backends.base import BoxSpec
from app.backends.local import placeholders, wire
from tests.backends.conftest import Bottle

ROOT = Path(__file__).parents[2]
LIVES = """
import json, os, sys
from dataclasses import replace
from app.backends.base import Command
from app.backends.local import wire
from app.backends.local.sandbox import Sandbox
spec = wire.spec_from_json(json.loads(sys.argv[1]))
for life in range(int(sys.argv[2])):
    sandbox = Sandbox.build(replace(spec, session_id=f"{spec.session_id}-{life}"))
    child = sandbox.spawn(Command(("/bin/sh", "-c", "touch .vscode/x .envrc/x; mkdir .claude.x; rmdir .claude.x; "
        "mv .claude .moved"), str(spec.project), tty=False))
    os.close(child.output_fd)
    os.close(child.pidfd)
    os.waitpid(child.pid, 0)
    sandbox.close()
"""


def lives(spec: BoxSpec, count: int) -> subprocess.Popen[bytes]:
    import json

    text = json.dumps(wire.spec_to_json(spec))
    return subprocess.Popen([sys.executable, "-c", LIVES, text, str(count)], cwd=ROOT, stderr=subprocess.PIPE)


@pytest.mark.sandbox
def test_bottles_that_come_and_go_in_one_project(spec: BoxSpec, build: Callable[..., Bottle]) -> None:
    build(spec).sandbox.close()  # skips where there are no sandboxes
    running: list[subprocess.Popen[bytes]] = []
    for name in ("one", "two", "three"):
        state = spec.state.parent / name
        state.mkdir(mode=0o700, exist_ok=True)
        running.append(lives(replace(spec, state=state, session_id=f"{spec.session_id}-{name}"), 12))
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert spec.project is not None
    assert list(spec.project.iterdir()) == []


@pytest.mark.sandbox
def test_a_holder_killed_while_it_covers_leaves_a_record(
    spec: BoxSpec, build: Callable[..., Bottle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the project is on record before it is made: whoever finds the session dead can remove it."""
    from app.backends.local.sandbox import Sandbox

    build(spec).sandbox.close()
    child = os.fork()
    if child == 0:
        real = Sandbox._ask

        def killed(self: Sandbox, work: object, *, confined: bool) -> object:
            real(self, work, confined=confined)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(Sandbox, "_ask", killed)
        try:
            Sandbox.build(spec)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    assert spec.project is not None
    assert (spec.project / ".envrc").is_dir()
    assert ".envrc" in placeholders.forget(spec.state)
    assert list(spec.project.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    state, project = tmp_path / "bottles" / "one", tmp_path / "project"
    state.mkdir(parents=True)
    (project / ".vscode").mkdir(parents=True)
    (project / ".vscode" / "settings.json").write_text("{}")
    (project / ".idea").symlink_to(tmp_path)
    placeholders.record(state, str(project), [".vscode", ".idea", "../bottles", ".missing"])
    assert placeholders.forget(state) == []
    assert (project / ".vscode" / "settings.json").exists()
    assert (project / ".idea").is_symlink()


def test_projects_do_not_wait_for_each_other(tmp_path: Path) -> None:
    state = tmp_path / "bottles" / "one"
    state.mkdir(parents=True)
    with placeholders.alone(state, "/a"):
        with placeholders.alone(state, "/b", seconds=1):
            pass
        with pytest.raises(TimeoutError), placeholders.alone(state, "/a", seconds=0.1):
            pass
    with placeholders.alone(state, "/a", seconds=1):
        pass
