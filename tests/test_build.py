"""Which code a process is: read from real repositories, in all the ways that git keeps a commit."""

import subprocess
from pathlib import Path

import pytest

from app import __version__
from app.build import _commit, build


def git(folder: Path, *arguments: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def test_of_a_branch_packed_or_not(tree: Path) -> None:
    head = git(tree, "rev-parse", "HEAD")
    assert _commit(tree) == head
    git(tree, "pack-refs", "--all")
    assert not (tree / ".git" / "refs" / "heads" / "main").exists()
    assert _commit(tree) == head


def test_of_a_commit_by_itself(tree: Path) -> None:
    git(tree, "checkout", "-q", "--detach")
    assert _commit(tree) == git(tree, "rev-parse", "HEAD")


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_second_working_tree(tree: Path, packed: bool) -> None:
    second = tree.parent / "second"
    git(tree, "worktree", "add", "-q", "-b", "other", str(second))
    git(second, "commit", "-q", "--allow-empty", "-m", "two")
    if packed:
        git(tree, "pack-refs", "--all")
    assert _commit(second) == git(second, "rev-parse", "HEAD") != _commit(tree)


@pytest.mark.parametrize(
    "head", [b"", b"\xff\xfe", b"ref: refs/heads/none", b"ref: ../../../secret", b"no commit\x1b[2J"]
)
def test_what_is_no_commit_is_none(tree: Path, head: bytes) -> None:
    (tree / "secret").write_text("secret")
    (tree / ".git" / "HEAD").write_bytes(head)
    assert _commit(tree) == ""


def test_without_a_repository_it_is_the_version(tmp_path: Path) -> None:
    assert _commit(tmp_path) == ""
    assert build().startswith(__version__)
