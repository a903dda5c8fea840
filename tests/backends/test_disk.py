"""What folders take on disk, however their owner arranges them."""

import os
from pathlib import Path
from typing import Any

from app.backends import disk


def test_blocks_count_once_and_links_lead_nowhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    (home / "deep/file").write_bytes(os.urandom(1_000_000))
    os.sync()
    before = disk.used([home])
    assert 1_000_000 <= before < 1_200_000
    os.link(home / "deep/file", home / "again")
    (home / "out").symlink_to("/usr")
    with (home / "sparse").open("wb") as file:
        file.truncate(10**12)
    os.mkfifo(home / "pipe")
    assert disk.used([home]) < before + 50_000
    assert disk.used([home, tmp_path / "missing"]) == disk.used([home])


def test_it_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "MOST", 10)
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"x" * 5000)
    assert disk.used([tmp_path]) < 15 * 8192


def test_it_counts_to_any_depth(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    fd = os.open(home, os.O_RDONLY)
    for level in range(3000):
        os.mkdir("d", dir_fd=fd)
        if level % 700 == 0:
            os.mkdir("beside", dir_fd=fd)
            beside = os.open("beside/file", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
            os.write(beside, os.urandom(1_000_000))
            os.close(beside)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
    os.write(file, os.urandom(1_000_000))
    os.close(file)
    os.close(fd)
    os.sync()
    before = set(os.listdir("/proc/self/fd"))
    assert 6_000_000 <= disk.used([home]) < 6_000_000 + 3010 * 8192
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1, "nothing stays open"


def test_a_folder_that_is_moved_meanwhile_ends_the_look(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "HELD", 1)
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "a/b/c").mkdir(parents=True)
    away.mkdir()
    entered = disk._Count._entered

    def moved(self: Any, fd: int) -> Any:
        level = entered(self, fd)
        if (home / "a/b").exists() and os.path.samestat(os.fstat(fd), os.stat(home / "a/b/c")):
            (home / "a/b").rename(away / "b")
        return level

    monkeypatch.setattr(disk._Count, "_entered", moved)
    (away / "large").write_bytes(os.urandom(3_000_000))
    assert disk.used([home]) < 1_000_000
