"""gitleaks beside our own detectors, where it is installed; what its versions can, and its reports, everywhere."""

import json
import os
import shutil
from pathlib import Path

import pytest

from sidecar.gitgate.git import GitFailed
from sidecar.gitgate.gitleaks import Abilities, abilities, read_report
from tests.gitgate.kit import GitRepo, SmartHttp, bare, spawn, tips, world
from tests.gitgate.newer import newer

OLD = b"Available Commands:\n  completion  x\n  detect      in git repositories\n\nFlags:\n  -s, --source"
NEW = b"Available Commands:\n  dir         x\n  git         scan git\n\nFlags:\n      --ignore-gitleaks-allow   x"
ONLY_GITLEAKS = 'clojars = "CLOJARS_' + "3f7d9a1c5b8e2f6047a9c1d3e5b7f90213456789abcdef0123456789ab" + '02"\n'


@pytest.mark.parametrize(
    ("text", "expected"), [(OLD, Abilities("detect", False)), (NEW, Abilities("git", True)), (b"", Abilities())]
)
def test_what_a_version_can(text: bytes, expected: Abilities) -> None:
    assert abilities(text) == expected


def test_reports() -> None:
    row = {
        "RuleID": "aws",
        "Description": "AWS",
        "Commit": "c" * 40,
        "File": "a.py",
        "StartLine": 7,
        "Secret": "S3CRET",
    }
    (found,) = read_report(json.dumps([row]).encode())
    assert (found.rule, found.path, found.line, found.by) == ("aws", "a.py", 7, "gitleaks")
    assert "S3CRET" not in repr(found)
    assert read_report(b"") == read_report(b"null") == read_report(b"[]") == []
    for wrong in (b"{", b"[1]", b'["x"]', b'{"a": 1}', b'[{"StartLine": "x"}]'):
        with pytest.raises(GitFailed):
            read_report(wrong)


async def push(root: Path, text: str) -> tuple[int, str]:
    with SmartHttp(root).run() as http:
        async with world(GitRepo(name="app", url=http.url("app")), supervise=False) as one:
            clone = await one.clone()
            await one.commit(clone, {"a.py": text})
            return await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)


@pytest.fixture
def leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real gitleaks: the machine's, else one of a newer distribution."""
    if shutil.which("gitleaks") is None:
        monkeypatch.setenv("PATH", f"{newer('gitleaks')}:{os.environ['PATH']}")


@pytest.mark.e2e
@pytest.mark.usefixtures("leaks")
async def test_its_findings_refuse_a_push(tmp_path: Path) -> None:
    before = tips(bare(tmp_path / "app.git"))
    code, said = await push(tmp_path, ONLY_GITLEAKS)
    assert (code, "a.py:1: gitleaks clojars" in said) == (1, True), said
    assert ONLY_GITLEAKS.split('"')[1] not in said
    assert tips(tmp_path / "app.git") == before


@pytest.mark.e2e
@pytest.mark.usefixtures("leaks")
async def test_a_clean_push_passes_it(tmp_path: Path) -> None:
    bare(tmp_path / "app.git")
    code, said = await push(tmp_path, "print('hello')\n")
    assert code == 0, said


@pytest.mark.e2e
@pytest.mark.usefixtures("leaks")
async def test_what_a_mark_hides_from_it_waits_for_the_operator(tmp_path: Path) -> None:
    """Also with a version that cannot be told to ignore marks: 8.16."""
    bare(tmp_path / "app.git")
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app"))) as one:
            clone = await one.clone()
            text = "x = 1\n" + ONLY_GITLEAKS.rstrip("\n") + "  # gitleaks:allow\n"
            commit = await one.commit(clone, {"src/b.py": text})
            await one.commit(clone, {"src/b.py": "gone\n"})
            waiting = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
            asked = await one.decide("approved", "a test's")
            code, said = await waiting
            assert code == 0, said
            assert asked["type"] == "gitleaks-allow"
            assert f"commit {commit[:12]}, src/b.py:2: gitleaks clojars" in asked["report"]["text"]
            assert ONLY_GITLEAKS.split('"')[1] not in str(asked)


@pytest.mark.e2e
@pytest.mark.usefixtures("leaks")
async def test_files_of_the_push_do_not_tell_it_what_to_look_for(tmp_path: Path) -> None:
    """gitleaks reads `.gitleaks.toml` and `.gitleaksignore` of what it examines; a mirror has no files of a push."""
    bare(tmp_path / "app.git")
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app")), supervise=False) as one:
            clone = await one.clone()
            rules = '[allowlist]\npaths = [".*"]\nregexes = [".*"]\n'
            await one.commit(clone, {".gitleaks.toml": rules, ".gitleaksignore": "a.py:clojars-api-token:1\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            await one.commit(clone, {"a.py": ONLY_GITLEAKS})
            code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
            assert (code, "gitleaks clojars" in said) == (1, True), said


async def test_one_that_fails_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gitleaks").write_text('#!/bin/sh\n[ "$1" = --help ] && exit 0\nexit 1\n')
    (folder / "gitleaks").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    bare(tmp_path / "app.git")
    code, said = await push(tmp_path, "print('hello')\n")
    assert (code, "could not be scanned" in said) == (1, True), said
