"""A copy of the project compared with it, and brought back: content counts, no link is followed, masks stay."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends import changes as compared
from app.backends import masks
from app.backends.changes import changes, pull, text_diff
from app.core.changed import Changes
from app.errors import CarboyError, NotFound


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    project, copy = tmp_path / "project", tmp_path / "copy"
    for tree in (project, copy):
        (tree / "src").mkdir(parents=True)
        (tree / ".git/hooks").mkdir(parents=True)
        (tree / "same").write_text("same")
        (tree / "src/code.py").write_text("one\n")
        (tree / "gone").write_text("x")
    (copy / "gone").unlink()
    (copy / "src/code.py").write_text("two\n")
    (copy / "new/folder").mkdir(parents=True)
    (copy / "new/folder/file").write_text("new")
    (copy / ".git/hooks/pre-commit").write_text("evil")
    (copy / "link").symlink_to("/etc/passwd")
    return project, copy


def test_what_changed(trees: tuple[Path, Path]) -> None:
    found = {change.path: change.kind for change in changes(*trees)}
    assert found == {"gone": "removed", "src/code.py": "changed", "new/folder/file": "added", "link": "link"}


def test_times_prove_nothing(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    (copy / "same").write_text("eman")
    info = (project / "same").stat()
    os.utime(copy / "same", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert "same" in {change.path for change in changes(project, copy)}


def test_one_file_as_text(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    assert "-one\n+two\n" in text_diff(project, copy, "src/code.py")
    (copy / "src/code.py").write_bytes(b"\x1b[31mred\n")
    assert "\x1b" not in text_diff(project, copy, "src/code.py")
    (copy / "src/code.py").unlink()
    (copy / "src/code.py").symlink_to("/etc/passwd")
    assert "root" not in text_diff(project, copy, "src/code.py")
    with pytest.raises(CarboyError):
        text_diff(project, copy, "../copy/same")


def test_a_path_that_neither_tree_has_is_no_empty_difference(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    for path in ("nosuch", "same/below", "src/nosuch.py"):
        with pytest.raises(NotFound, match=f"There is no {path}, neither before nor after") as failed:
            text_diff(project, copy, path)
        assert failed.value.code == "no_such_file"
    for path in ("same", "src", "link", "gone", "link/below", ".git"):
        text_diff(project, copy, path)


def test_bringing_back(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    done = pull(project, copy, (), masks.complete(), delete=False)
    assert set(done.written) == {"src/code.py", "new/folder/file"}
    assert (project / "src/code.py").read_text() == "two\n"
    assert (project / "gone").exists()
    assert not (project / "link").exists()
    assert not (project / ".git/hooks/pre-commit").exists()
    assert pull(project, copy, ("gone",), masks.complete(), delete=True).removed == ("gone",)


def test_masked_files_stay(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    (copy / ".vscode").mkdir()
    (copy / ".vscode/tasks.json").write_text("evil")
    (copy / ".Envrc").write_text("evil")
    done = pull(project, copy, (), masks.complete(), delete=False)
    assert not (project / ".vscode").exists()
    assert not (project / ".Envrc").exists()
    assert len([reason for reason in done.left if "masked" in reason]) == 2


def test_a_repository_further_down_is_not_brought_back(trees: tuple[Path, Path]) -> None:
    """Editors run git in each that they find: its config would name what runs. What is trusted may be put back."""
    project, copy = trees
    for name in ("vendor/x/.git", "vendor/y/.GIT"):
        (copy / name).mkdir(parents=True)
        (copy / name / "config").write_text("[core]\n\tfsmonitor = ./evil\n")
    (copy / "vendor/x/code.py").write_text("x")
    (copy / "vendor/z").mkdir()
    (copy / "vendor/z/.git").write_text("gitdir: ../evil\n")
    done = pull(project, copy, ("vendor",), masks.complete(), delete=False)
    assert done.written == ("vendor/x/code.py",)
    assert len(done.left) == 3
    assert len(pull(project, copy, ("vendor",), (), delete=False, trusted=True).written) == 3


def test_a_link_in_the_project_is_not_written_through(trees: tuple[Path, Path], tmp_path: Path) -> None:
    project, copy = trees
    outside = tmp_path / "outside"
    outside.mkdir()
    (project / "new").symlink_to(outside)
    done = pull(project, copy, ("new",), (), delete=False)
    assert list(outside.iterdir()) == []
    assert done.written == ()


def test_a_path_at_which_nothing_differs_is_said_and_nothing_is_changed(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    with pytest.raises(CarboyError) as failed:
        pull(project, copy, ("src", "scr/code.py"), masks.complete(), delete=False)
    assert failed.value.render() == (
        "Nothing differs at scr/code.py. Changed: gone, link, new/folder/file, src/code.py"
    )
    assert (project / "src/code.py").read_text() == "one\n"
    with pytest.raises(CarboyError, match="Nothing differs at same"):
        pull(project, project, ("same",), masks.complete(), delete=False)


@contextlib.contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    yield
    signal.signal(number, before)


def deep_folder(root: Path, levels: int) -> None:
    """Deeper than a path can say."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


@pytest.mark.usefixtures("permissions_hold")
def test_one_entry_that_cannot_be_compared_hides_nothing_beside_it(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    (copy / "same").chmod(0)
    (copy / "shut").mkdir(mode=0)
    os.mkfifo(copy / "pipe")
    (project / "leased").write_text("a")
    (copy / "leased").write_text("b")
    os.close(os.open(os.fsencode(copy) + b"/\xff", os.O_CREAT))
    deep_folder(copy, 300)
    lease = os.open(copy / "leased", os.O_RDWR)
    fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    with ignored(signal.SIGIO):  # it comes when somebody opens the file
        found = {change.path: change.kind for change in changes(*trees)}
        done = pull(project, copy, ("src", "leased", "pipe", "\\xff"), (), delete=False)
    os.close(lease)
    (copy / "shut").chmod(0o700)
    others = {path for path, kind in found.items() if kind == "other"}
    assert others - {path for path in others if path.endswith("/d")} == {"same", "shut", "pipe", "leased", "\\xff"}
    assert found["src/code.py"] == "changed"
    assert Changes(workspace="copy", changes=tuple(changes(*trees))).model_dump_json()
    assert done.written == ("src/code.py",)
    assert len(done.left) == 3


@pytest.mark.usefixtures("permissions_hold")
def test_what_no_copy_can_hold_is_not_told_as_removed_and_stays(trees: tuple[Path, Path]) -> None:
    project, copy = trees
    os.mkfifo(project / "src/pipe")
    (project / "src/shut").touch(mode=0)
    (copy / "new/shut").touch(mode=0)
    found = {change.path: change.kind for change in changes(project, copy)}
    assert (found["src/pipe"], found["src/shut"], found["new/shut"]) == ("other", "other", "other")
    done = pull(project, copy, ("src", "gone"), (), delete=True, trusted=True)
    assert (done.removed, done.written) == (("gone",), ("src/code.py",))
    assert (project / "src/pipe").is_fifo()
    assert (project / "src/shut").exists()


def test_a_crowd_of_new_files_ends_the_comparison_early(
    trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "MAX_CHANGES", 50)
    for number in range(500):
        (trees[1] / str(number)).touch()
    looked: list[str] = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda name, **more: (looked.append(name), real(name, **more))[1])
    with pytest.raises(CarboyError, match="too many"):
        changes(*trees)
    assert len(looked) < 100
