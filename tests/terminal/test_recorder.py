"""Transcripts: what is written is read back, through kills, torn lines, rotation and a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.terminal.recorder import Event, Header, Recorder, parse_header, read

BEGAN = 1_700_000_000.0


def test_a_recording_is_asciicast_v2(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "t.cast", 80, 24, BEGAN)
    recorder.output("h\x1b[1mé".encode(), BEGAN + 0.5)
    recorder.resize(100, 30, BEGAN + 1)
    recorder.note("exit 0", BEGAN + 2)
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "t.cast").read_text().splitlines()]
    assert lines == [
        {"version": 2, "width": 80, "height": 24, "timestamp": 1700000000},
        [0.5, "o", "h\x1b[1mé"],
        [1.0, "r", "100x30"],
        [2.0, "m", "exit 0"],
    ]
    assert oct((tmp_path / "t.cast").stat().st_mode & 0o777) == "0o600"


def test_a_character_in_two_pieces(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "t.cast", 80, 24, BEGAN)
    recorder.output(b"a\xe4\xb8", BEGAN)
    recorder.output(b"\xad", BEGAN)
    header, events = read(tmp_path / "t.cast")
    assert header == Header(80, 24, 1700000000)
    assert "".join(event.data for event in events) == "a中"


def test_the_file_holds_no_raw_control_characters(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "t.cast", 80, 24, BEGAN)
    recorder.output(bytes(range(256)) + "\x9b31m\x85".encode(), BEGAN)
    raw = (tmp_path / "t.cast").read_text()
    assert not [char for char in raw if char != "\n" and not char.isprintable()]


def test_continuing_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "t.cast"
    recorder = Recorder(path, 80, 24, BEGAN)
    recorder.output(b"one", BEGAN)
    recorder.close()
    with path.open("ab") as file:
        file.write(b'[1.0,"o","tor')
    again = Recorder(path, 80, 24, BEGAN + 100)
    again.output(b"two", BEGAN + 101)
    _, events = read(path)
    assert list(events) == [Event(0.0, "o", "one"), Event(101.0, "o", "two")]


def test_rotation_bounds_the_size_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.cast"
    recorder = Recorder(path, 80, 24, BEGAN, limit=2000)
    for number in range(100):
        recorder.output(b"x" * 100, BEGAN + number)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["t.cast", "t.cast.1"]
    assert all(found.stat().st_size <= 2100 for found in tmp_path.iterdir())
    header, events = read(path)
    found = list(events)
    assert header is not None
    assert (found[0].kind, "t.cast.1" in found[0].data) == ("m", True)
    assert found[-1].at == 99.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_stops_the_recording_only() -> None:
    recorder = Recorder(Path("/dev/full"), 80, 24, BEGAN)
    recorder.output(b"x", BEGAN)
    assert recorder.failed
    recorder.close()


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "t.cast").symlink_to(tmp_path / "target")
    recorder = Recorder(tmp_path / "t.cast", 80, 24, BEGAN)
    recorder.output(b"x", BEGAN)
    assert recorder.failed
    assert (tmp_path / "target").read_text() == "precious"


def test_kill_9_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.cast"
    code = (
        "import sys, itertools; from pathlib import Path; from app.terminal.recorder import Recorder\n"
        "r = Recorder(Path(sys.argv[1]), 80, 24, 0.0)\n"
        "for n in itertools.count(): r.output(b'%d;' % n, float(n))\n"
    )
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root)
    try:
        deadline = time.monotonic() + 20
        while (not path.exists() or path.stat().st_size < 20_000) and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    _, events = read(path)
    found = [event.data for event in events]
    assert len(found) > 100
    assert found == [f"{number};" for number in range(len(found))]


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b'{"version": 1}', b'{"version":2,"width":"x"}', b"\xff", b"[" * 9999]
)
def test_foreign_headers_are_refused(line: bytes) -> None:
    assert parse_header(line) is None
