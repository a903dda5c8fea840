"""The private copy of a project: complete, never outside it, with its owners, and stoppable."""

import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from app.backends import changes, workspace
from app.errors import CarboyError


def taken(source: Path, target: Path) -> workspace.Copied:
    return workspace.copy(source, target, threading.Event())


def test_everything_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "a b ø", tmp_path / "copy"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "big").write_bytes(os.urandom(3_000_000))
    (source / "empty").touch()
    script = source / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o6755)
    os.utime(script, ns=(10**18, 10**18 + 7))
    (source / "closed").mkdir()
    (source / "closed" / "x").write_text("x")
    (source / "closed").chmod(0o500)
    found = taken(source, target)
    (source / "closed").chmod(0o700)
    assert (found.files, found.left_out) == (4, 0)
    assert (target / "deep/er/big").read_bytes() == (source / "deep/er/big").read_bytes()
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) == 0o755  # no set-uid
    assert (target / "run.sh").stat().st_mtime_ns == 10**18 + 7
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0o500
    (target / "closed").chmod(0o700)


def test_links_are_never_followed(tmp_path: Path) -> None:
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "key").write_text("secret")
    source = tmp_path / "project"
    source.mkdir()
    for name, to in (("out", str(secret)), ("file", str(secret / "key")), ("up", ".."), ("loop", "."), ("gone", "no")):
        (source / name).symlink_to(to)
    taken(source, tmp_path / "copy")
    copied = tmp_path / "copy"
    assert all((copied / name).is_symlink() for name in ("out", "file", "up", "loop", "gone"))
    assert os.readlink(copied / "out") == str(secret)
    assert sorted(entry.name for entry in copied.iterdir()) == ["file", "gone", "loop", "out", "up"]
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        taken(copied / "out", tmp_path / "never")


def test_what_is_no_file_is_left_out_and_said(tmp_path: Path) -> None:
    source = tmp_path / "project"
    source.mkdir()
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(source / "sock"))
        found = taken(source, tmp_path / "copy")
    assert found.left_out == 2
    assert found.notes[0].startswith("2 entries")
    assert list((tmp_path / "copy").iterdir()) == []


@pytest.mark.usefixtures("permissions_hold")
def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "project"
    source.mkdir()
    (source / "other").write_text("x")
    (source / "other").chmod(0)
    assert taken(source, tmp_path / "copy").left_out == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_root_keeps_the_owners(tmp_path: Path) -> None:
    source = tmp_path / "project"
    (source / "sub").mkdir(parents=True)
    (source / "file").touch()
    (source / "link").symlink_to("file")
    for path, owner in ((source, 1234), (source / "sub", 1234), (source / "file", 4321), (source / "link", 1234)):
        os.chown(path, owner, owner, follow_symlinks=False)
    taken(source, tmp_path / "copy")
    owners = {name: (tmp_path / "copy" / name).lstat().st_uid for name in (".", "sub", "file", "link")}
    assert owners == {".": 1234, "sub": 1234, "file": 4321, "link": 1234}


def test_it_can_be_stopped_and_has_an_end(tmp_path: Path) -> None:
    source = tmp_path / "project"
    source.mkdir()
    (source / "x").touch()
    stop = threading.Event()
    stop.set()
    with pytest.raises(workspace.Cancelled):
        workspace.copy(source, tmp_path / "copy", stop)
    deep = source
    for _ in range(workspace.MAX_DEPTH + 2):
        deep /= "d"
        deep.mkdir()
    with pytest.raises(CarboyError, match="too deep"):
        taken(source, tmp_path / "other")


def test_without_help_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> int:
        raise OSError(errno.EXDEV, "no")

    monkeypatch.setattr(os, "copy_file_range", unsupported)
    source = tmp_path / "project"
    source.mkdir()
    (source / "x").write_bytes(os.urandom(2_500_000))
    taken(source, tmp_path / "copy")
    assert (tmp_path / "copy" / "x").read_bytes() == (source / "x").read_bytes()


@pytest.mark.parametrize("in_kernel", [True, False])
def test_holes_stay_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_kernel: bool) -> None:
    """Terabytes that take no room in a bottle must take none here."""
    if not in_kernel:
        monkeypatch.delattr(os, "copy_file_range")
    source, project = tmp_path / "project", tmp_path / "back"
    for folder in (source, project):
        folder.mkdir()
    with open(source / "big", "wb") as file:
        for at in (5 << 20, 1 << 40):
            file.seek(at)
            file.write(b"something")
        file.truncate(2 << 40)
    if (source / "big").stat().st_blocks * 512 > 1 << 30:
        pytest.skip("a file system without holes")
    taken(source, tmp_path / "copy")
    assert changes.pull(project, tmp_path / "copy", (), (), delete=False).written == ("big",)
    for copied in (tmp_path / "copy/big", project / "big"):
        assert (copied.stat().st_size, copied.stat().st_blocks * 512 < 1 << 20) == (2 << 40, True)
        with open(copied, "rb") as file:
            file.seek(1 << 40)
            assert file.read(12) == b"something\0\0\0"


def test_a_file_that_grows_for_ever_is_copied_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "project"
    source.mkdir()
    (source / "log").write_bytes(b"x" * 3_000_000)
    real = os.pread

    def grows(fd: int, count: int, at: int) -> bytes:
        with open(source / "log", "ab") as file:
            file.write(b"y" * 2_000_000)
        return real(fd, count, at)

    monkeypatch.delattr(os, "copy_file_range")
    monkeypatch.setattr(os, "pread", grows)
    taken(source, tmp_path / "copy")
    assert (tmp_path / "copy/log").read_bytes() == b"x" * 3_000_000
