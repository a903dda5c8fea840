"""What git's config names in the project, as real git reads it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.backends import gitprograms, masks
from app.backends.base import BoxSpec
from app.core.schema import Mask
from app.errors import CarboyError
from tests.backends.conftest import Bottle


def git(project: Path, *args: str) -> str:
    env = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x"}
    env |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x"}
    done = subprocess.run(["git", "-C", str(project), *args], env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    project = tmp_path / "my project"
    git(tmp_path, "init", "-q", str(project))
    return project


def paths(project: Path) -> set[str]:
    return {mask.path for mask in gitprograms.named(project)}


def test_hooks_and_included_config_and_programs(project: Path) -> None:
    assert paths(project) == set()
    (project / "tools").mkdir()
    (project / "tools/strip.sh").touch()
    (project / "README").touch()
    (project / "strip it").touch()
    for key, value in (
        ("core.hooksPath", ".githooks"), ("user.name", "README"),
        ("filter.x.clean", "sh -c './tools/strip.sh; cat'"), ("diff.x.textconv", "'./strip it' --all"),
    ):  # fmt: skip
        git(project, "config", "--file", ".gitconfig", key, value)
    git(project, "config", "include.path", "../.gitconfig")
    assert paths(project) == {".gitconfig", ".githooks", "tools/strip.sh", "strip it"}


def test_a_word_of_gits_own_is_no_file_of_that_name(project: Path) -> None:
    """`log`, `store` and `merge` are what git calls its own by."""
    (project / "tools").mkdir()
    for name in ("log", "store", "merge", "tools/pager", "tools/check", "tools/helper"):
        (project / name).touch()
    for key, value in (
        ("alias.l", "log --oneline"), ("credential.helper", "store --timeout 9"), ("submodule.x.update", "merge"),
    ):  # fmt: skip
        git(project, "config", key, value)
    assert paths(project) == set()
    for key, value in (
        ("alias.p", "-c core.pager=./tools/pager log"), ("alias.run", "!log"), ("alias.check", "rebase -x tools/check"),
        ("credential.https://x.example.helper", f"'{project}/tools/helper'"), ("submodule.y.update", "!sh merge"),
    ):  # fmt: skip
        git(project, "config", key, value)
    assert paths(project) == {"tools/pager", "log", "tools/check", "tools/helper", "merge"}


@pytest.mark.parametrize("value", ["", "/dev/null", ".git/hooks", "../hooks"])
def test_hooks_that_are_elsewhere_or_nowhere_need_no_mask(project: Path, value: str) -> None:
    git(project, "config", "core.hooksPath", value)
    assert masks.complete((), gitprograms.named(project)) == masks.complete()


def test_config_under_a_condition_counts_whether_it_holds_or_not(project: Path) -> None:
    (project / "extra").touch()
    git(project, "config", "includeIf.onbranch:other.path", str(project / "extra"))
    assert paths(project) == {"extra"}


def test_the_users_own_config_counts(project: Path) -> None:
    (project.parent / "home/.gitconfig").write_text("[core]\n\thooksPath = hooks.d\n")
    assert paths(project) == {"hooks.d"}


def test_a_project_below_the_top_and_a_worktree(project: Path, tmp_path: Path) -> None:
    (project / "packages/web").mkdir(parents=True)
    git(project, "config", "core.hooksPath", "packages/web/.hooks")
    git(project, "commit", "-q", "--allow-empty", "-m", "x")
    git(project, "worktree", "add", "-q", str(tmp_path / "other"))
    assert paths(project / "packages/web") == {".hooks"}
    assert paths(tmp_path / "other") == {"packages/web/.hooks"}
    assert paths(tmp_path) == set()


def test_where_a_link_leads_to_is_masked_too(project: Path) -> None:
    (project / "tools/hooks").mkdir(parents=True)
    (project / ".githooks").symlink_to("tools/hooks")
    git(project, "config", "core.hooksPath", ".githooks")
    assert paths(project) == {".githooks", "tools/hooks"}


def test_what_cannot_be_masked_is_refused_at_the_launch_alone(project: Path) -> None:
    git(project, "config", "include.path", "../missing")
    with pytest.raises(CarboyError, match="missing"):
        gitprograms.named(project)
    assert [mask.path for mask in gitprograms.named(project, launch=False)] == ["missing"]
    git(project, "config", "--unset", "include.path")
    git(project, "config", "core.hooksPath", ".")
    with pytest.raises(CarboyError, match="the project itself"):
        gitprograms.named(project)
    (project / ".git/config").write_text("[core")
    with pytest.raises(CarboyError, match="bad config"):
        gitprograms.named(project)


def test_with_the_defaults_and_the_manifests_own() -> None:
    named = [Mask(path=path, mode="read-only") for path in (".husky/_", "tools/hooks/a", "tools/hooks", "x")]
    found = {mask.path: mask.mode for mask in masks.complete([Mask(path="x", mode="allow")], named)}
    assert not {".husky/_", "tools/hooks/a"} & found.keys()
    assert (found["tools/hooks"], found["x"]) == ("read-only", "allow")


def test_hooks_of_the_project_are_not_planted(spec: BoxSpec, build: Callable[..., Bottle]) -> None:
    assert spec.project is not None
    git(spec.project, "init", "-q")
    (spec.project / ".githooks").mkdir()
    (spec.project / ".githooks/pre-push").write_text("#!/bin/sh\n")
    git(spec.project, "config", "core.hooksPath", ".githooks")
    bottle = build(spec, masks=masks.complete((), gitprograms.named(spec.project)))
    bottle.run(
        "printf '#!/bin/sh\\ntouch ran' > .githooks/pre-commit; chmod +x .githooks/pre-commit; rm -rf .githooks;"
        "mv .githooks old; mkdir .githooks"
    )
    bottle.sandbox.close()
    git(spec.project, "commit", "-q", "--allow-empty", "-m", "x")
    assert not (spec.project / "ran").exists()
    assert os.listdir(spec.project / ".githooks") == ["pre-push"]
