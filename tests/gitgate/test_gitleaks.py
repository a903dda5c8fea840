"""gitleaks beside our own detectors, where it is installed; what its versions can, and its reports, everywhere."""

import json
import shutil
from pathlib import Path

import pytest

from sidecar.gitgate.git import GitFailed
from sidecar.gitgate.gitleaks import Abilities, abilities, read_report
from tests.gitgate.kit import GitRepo, SmartHttp, bare, tips, world

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


@pytest.mark.skipif(shutil.which("gitleaks") is None, reason="gitleaks is not installed")
async def test_its_findings_refuse_a_push(tmp_path: Path) -> None:
    before = tips(bare(tmp_path / "app.git"))
    code, said = await push(tmp_path, ONLY_GITLEAKS)
    assert (code, "a.py:1: gitleaks clojars" in said) == (1, True), said
    assert tips(tmp_path / "app.git") == before


@pytest.mark.skipif(shutil.which("gitleaks") is None, reason="gitleaks is not installed")
async def test_a_clean_push_passes_it(tmp_path: Path) -> None:
    bare(tmp_path / "app.git")
    code, said = await push(tmp_path, "print('hello')\n")
    assert code == 0, said


async def test_one_that_fails_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gitleaks").write_text('#!/bin/sh\n[ "$1" = --help ] && exit 0\nexit 1\n')
    (folder / "gitleaks").chmod(0o755)
    import os

    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    bare(tmp_path / "app.git")
    code, said = await push(tmp_path, "print('hello')\n")
    assert (code, "could not be scanned" in said) == (1, True), said
