"""Programs that carboy runs on this host do not come from where a bottle may have put them."""

import os
import subprocess
from pathlib import Path

import pytest

from app.search_path import leave_out, without


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    found = {
        "own": home / ".local/bin",
        "in it": home / "project/bin",
        "environment": home / "other/env/bin",
        "modules": home / "project/node_modules/.bin",
    }
    for folder in found.values():
        folder.mkdir(parents=True)
    (home / "other/env/pyvenv.cfg").touch()
    (home / "linked").symlink_to(home / "project/bin")
    return {**found, "linked": home / "linked"}


def test_a_project_s_own_folders_are_left_out(folders: dict[str, Path], tmp_path: Path) -> None:
    path = os.pathsep.join(["/usr/bin", *map(str, folders.values()), "bin", ""])
    assert without(path, tmp_path / "home/project") == f"/usr/bin:{folders['own']}"


def test_the_home_folder_is_no_project(folders: dict[str, Path], tmp_path: Path) -> None:
    path = f"{folders['own']}:{folders['environment']}"
    assert without(path, tmp_path / "home") == without(path, Path("/")) == str(folders["own"])


def test_what_is_left_out_stays_so(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"/usr/bin:{folders['in it']}")
    leave_out(folders["in it"].parent)
    leave_out(Path("/elsewhere"))
    assert os.environ["PATH"] == "/usr/bin"


def test_where_nothing_is_left_the_working_folder_is_not_meant(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = folders["in it"] / "git"
    hostile.write_text("#!/bin/sh\necho hostile\n")
    hostile.chmod(0o755)
    monkeypatch.chdir(hostile.parent)
    path = without(f"{hostile.parent}:{folders['environment']}:bin", tmp_path / "home/project")
    assert subprocess.run(["git", "--version"], env={"PATH": path}, capture_output=True).stdout != b"hostile\n"
