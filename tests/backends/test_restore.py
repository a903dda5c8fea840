"""The restore point: how the project was before a bottle works in it, and putting files back."""

import threading
from functools import partial
from pathlib import Path

import pytest

from app.backends import masks, restore, workspace
from app.backends.changes import changes, pull


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    for folder in ("src", ".git", "web/node_modules/x", "target/debug"):
        (made / folder).mkdir(parents=True)
    (made / "src/code.py").write_text("one\n")
    (made / "gone").write_text("mine")
    (made / ".git/config").write_text("secret")
    (made / "web/node_modules/x/big.js").write_text("x")
    (made / "target/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    (made / "target/debug/out").write_text("x")
    (tmp_path / "state").mkdir()
    return made


def test_what_an_agent_does_is_seen_and_put_back(project: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert restore.take(project, state, threading.Event()) == ""
    point = restore.load(state)
    assert point is not None
    assert point.left_out == ("target",)
    assert not (state / restore.FOLDER / ".git").exists()
    (project / "src/code.py").write_text("two\n")
    (project / "gone").unlink()
    (project / "new").write_text("new")
    (project / "target/debug/out").write_text("built")
    (project / "src/CACHEDIR.TAG").write_text("hides nothing: it came later")
    skip = partial(restore.skips, point)
    found = {one.path: one.kind for one in changes(state / restore.FOLDER, project, skip)}
    assert found == {"src/code.py": "changed", "gone": "removed", "new": "added", "src/CACHEDIR.TAG": "added"}
    done = pull(project, state / restore.FOLDER, ("src/code.py", "gone"), masks.complete(), delete=True, skip=skip)
    assert set(done.written) == {"src/code.py", "gone"}
    assert (project / "src/code.py").read_text() == "one\n"
    assert (project / "gone").read_text() == "mine"
    assert (project / "new").exists()  # it was not named
    done = pull(project, state / restore.FOLDER, ("new",), masks.complete(), delete=True, skip=skip)
    assert done.removed == ("new",)
    assert (project / "target/debug/out").read_text() == "built"


def test_a_project_that_is_too_large_has_none_and_says_so(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "MOST", (1, 1 << 20))
    assert "no restore point" in restore.take(project, tmp_path / "state", threading.Event())
    assert restore.load(tmp_path / "state") is None


def test_a_project_that_is_too_deep_has_none_and_says_so(project: Path, tmp_path: Path) -> None:
    deepest = project
    for _ in range(workspace.MAX_DEPTH + 2):
        deepest /= "d"
    deepest.mkdir(parents=True)
    assert "more than 200 deep" in restore.take(project, tmp_path / "state", threading.Event())
