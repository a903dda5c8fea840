"""Snapshots of folders: what comes back is what was there, and nothing of it leads outside."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.backends import parts
from app.backends.archives import Packed, pack, unpack
from app.backends.workspace import Cancelled
from app.errors import CarboyError

NOBODY_STOPS = threading.Event()


def of(place: Path, done: Packed) -> list[Path]:
    return [place / "files", *(place / name for name in done.parts)]


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
    unpack(of(tmp_path, done), {"home": tmp_path / "again"}, NOBODY_STOPS)
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
    done = pack({"home": tmp_path / "home"}, tmp_path / "files", NOBODY_STOPS, 10**9)
    (part,) = (tmp_path / name for name in done.parts)
    data = part.read_bytes()
    part.write_bytes(data[: len(data) // 2])
    with pytest.raises(CarboyError) as refused:
        unpack(of(tmp_path, done), {"home": tmp_path / "again"}, NOBODY_STOPS)
    assert refused.value.code == "snapshot"


def test_what_is_not_asked_for_is_not_unpacked(tmp_path: Path) -> None:
    for name in ("home", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    folders = {name: tmp_path / name for name in ("home", "private")}
    done = pack(folders, tmp_path / "files", NOBODY_STOPS, 10**9)
    unpack(of(tmp_path, done), {"home": tmp_path / "again"}, NOBODY_STOPS)
    assert (tmp_path / "again/file").read_text() == "home"


class Stops(threading.Event):
    """Stops after so many questions: a snapshot that is broken off in the middle."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of ten files, and a snapshot of it that was broken off after six parts, and in the seventh file."""
    monkeypatch.setattr(parts, "BYTES", 1000)
    home = tmp_path / "home"
    home.mkdir()
    for number in range(10):
        (home / f"file-{number}").write_bytes(os.urandom(1500))
    with pytest.raises(Cancelled):
        pack({"home": home}, tmp_path / "files", Stops(6), 10**9)
    assert len(list(tmp_path.glob("part-*.json"))) == 6
    assert not (tmp_path / "files").exists()
    return home


def unpacked(home: Path, done: Packed) -> dict[str, bytes]:
    unpack(of(home.parent, done), {"home": home.parent / "again"}, NOBODY_STOPS)
    return {path.name: path.read_bytes() for path in (home.parent / "again").iterdir()}


def contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir()}


def test_one_that_was_broken_off_goes_on(broken_off: Path) -> None:
    done = pack({"home": broken_off}, broken_off.parent / "files", NOBODY_STOPS, 10**9)
    assert (done.taken_over, len(done.parts), done.files, done.size) == (6, 10, 10, 15000)
    assert unpacked(broken_off, done) == contents(broken_off)


SLOW = """
import sys, threading, time
from pathlib import Path
from app.backends import archives, parts
parts.BYTES, close = 1000, parts.Parts.close
parts.Parts.close = lambda self: (close(self), time.sleep(0.05))
place = Path(sys.argv[1])
archives.pack({"home": place / "home"}, place / "torn", threading.Event(), 10**9)
"""


def test_one_that_was_killed_goes_on_and_nothing_torn_counts(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    for number in range(200):
        (tmp_path / f"home/file-{number}").write_bytes(os.urandom(1500))
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("part-*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    whole = len(list(tmp_path.glob("part-*.json")))
    assert 5 <= whole < 200
    done = pack({"home": tmp_path / "home"}, tmp_path / "files", NOBODY_STOPS, 10**9)
    assert (done.taken_over, done.files) == (whole, 200)
    assert unpacked(tmp_path / "home", done) == contents(tmp_path / "home")


def test_what_was_changed_meanwhile_is_taken_anew_whatever_its_times_say(broken_off: Path) -> None:
    lists = dict(parts.whole(broken_off.parent))
    (name,), (other,), (third,), *_ = lists.values()
    before = (broken_off.parent / name).stat()
    (broken_off.parent / name).write_bytes(os.urandom(1500))
    os.utime(broken_off.parent / name, ns=(before.st_atime_ns, before.st_mtime_ns))  # an agent can set them
    (broken_off.parent / other).unlink()
    (broken_off.parent / third).chmod(0o600)
    (broken_off.parent / third).unlink()
    (broken_off.parent / third).symlink_to("/etc/passwd")
    done = pack({"home": broken_off}, broken_off.parent / "files", NOBODY_STOPS, 10**9)
    assert done.taken_over == 3
    links = [path for path in broken_off.iterdir() if path.is_symlink()]
    unpack(of(broken_off.parent, done), {"home": broken_off.parent / "again"}, NOBODY_STOPS)
    again = broken_off.parent / "again"
    assert os.readlink(again / links[0].name) == "/etc/passwd"
    files = [path for path in broken_off.iterdir() if not path.is_symlink()]
    assert len(files) == 8
    assert all((again / path.name).read_bytes() == path.read_bytes() for path in files)
    assert sum(1 for _ in again.iterdir()) == 9


def test_a_list_that_makes_no_sense_is_no_part(broken_off: Path) -> None:
    first, second, third, *_ = sorted(broken_off.parent.glob("part-*.json"))
    first.write_text("[1, 2]")
    second.write_text('{"../../etc/passwd": [1, 2, 3, 4, 5, "x"]}')
    third.write_bytes(third.read_bytes()[:20])
    done = pack({"home": broken_off}, broken_off.parent / "files", NOBODY_STOPS, 10**9)
    assert done.taken_over == 3
    assert unpacked(broken_off, done) == contents(broken_off)


def test_what_no_snapshot_names_is_cleared(broken_off: Path) -> None:
    done = pack({"home": broken_off}, broken_off.parent / "files", NOBODY_STOPS, 10**9)
    (broken_off.parent / "shot").mkdir()
    for name in ("files", *done.parts):
        os.rename(broken_off.parent / name, broken_off.parent / "shot" / name)
    (broken_off.parent / "shot/part-0.json").write_text("{}")
    parts.clear(broken_off.parent / "shot", frozenset({"files", *done.parts[1:]}))
    assert {path.name for path in (broken_off.parent / "shot").iterdir()} == {"files", *done.parts[1:]}
