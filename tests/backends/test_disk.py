"""What folders take on disk, however their owner arranges them."""

import os
from pathlib import Path

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
