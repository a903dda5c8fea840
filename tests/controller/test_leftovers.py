"""Removing what an agent left, made so that it is hard to remove."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.controller.leftovers import remove_tree, strip


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_folders_deeper_than_any_path(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    fd = os.open(home, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a-longer-name", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("a-longer-name", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(home)
    assert not home.exists()
    remove_tree(home)


@pytest.mark.usefixtures("permissions_hold")
def test_locked_folders_in_locked_folders(tmp_path: Path) -> None:
    folder = tmp_path / "home/one/two/three"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    for locked in (folder, *list(folder.parents)[:3]):
        locked.chmod(0)
    strip(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_links_lead_to_stays(tmp_path: Path) -> None:
    outside, home = tmp_path / "outside", tmp_path / "home"
    outside.mkdir(mode=0o500)
    home.mkdir()
    (home / "link").symlink_to(outside)
    (home / "pipe").mkdir()
    os.mkfifo(home / "pipe/pipe")
    remove_tree(home)
    assert outside.stat().st_mode & 0o777 == 0o500
    home.symlink_to(outside)
    with pytest.raises(OSError, match="symbolic"):
        remove_tree(home)
