"""Snapshots of folders: what comes back is what was there, and nothing of it leads outside."""

import os
import threading
from pathlib import Path

import pytest

from app.backends.archives import pack, unpack
from app.errors import CarboyError

NOBODY_STOPS = threading.Event()


def test_files_links_and_modes_come_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "deep/er").mkdir(parents=True)
    (home / "deep/er/file").write_bytes(os.urandom(3_000_000))
    (home / "deep/run").write_text("#!/bin/sh\n")
    (home / "deep/run").chmod(0o755)
    (home / "link").symlink_to("/etc/passwd")
    (home / "locked").mkdir(mode=0o500)
    os.mkfifo(home / "pipe")
    done = pack({"home": home}, tmp_path / "files", NOBODY_STOPS, 10**9)
    assert (done.files, done.left_out) == (2, 1)
    unpack(tmp_path / "files", {"home": tmp_path / "again"}, NOBODY_STOPS)
    again = tmp_path / "again"
    assert (again / "deep/er/file").read_bytes() == (home / "deep/er/file").read_bytes()
    assert (again / "deep/run").stat().st_mode & 0o777 == 0o755
    assert os.readlink(again / "link") == "/etc/passwd"
    assert (again / "locked").stat().st_mode & 0o777 == 0o500
    assert not (again / "pipe").exists()


def test_a_snapshot_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/large").write_bytes(bytes(2000))
    with pytest.raises(CarboyError) as refused:
        pack({"home": tmp_path / "home"}, tmp_path / "files", NOBODY_STOPS, 1000)
    assert refused.value.code == "snapshot_size"


def test_a_damaged_snapshot_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/file").write_bytes(os.urandom(100_000))
    pack({"home": tmp_path / "home"}, tmp_path / "files", NOBODY_STOPS, 10**9)
    data = (tmp_path / "files").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(CarboyError) as refused:
        unpack(tmp_path / "cut", {"home": tmp_path / "again"}, NOBODY_STOPS)
    assert refused.value.code == "snapshot"


def test_what_is_not_asked_for_is_not_unpacked(tmp_path: Path) -> None:
    for name in ("home", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    folders = {name: tmp_path / name for name in ("home", "private")}
    pack(folders, tmp_path / "files", NOBODY_STOPS, 10**9)
    unpack(tmp_path / "files", {"home": tmp_path / "again"}, NOBODY_STOPS)
    assert (tmp_path / "again/file").read_text() == "home"
