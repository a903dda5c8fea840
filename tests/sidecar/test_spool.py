"""The spool on a real disk: order, torn lines, acknowledgement, a full disk."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from sidecar import spool
from sidecar.spool import Position, SpoolReader, SpoolWriter, segment_name


def writer(folder: Path) -> SpoolWriter:
    return SpoolWriter(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))


def numbers(reader: SpoolReader) -> list[int]:
    return [orjson.loads(line)["n"] for _, line in reader.read(100_000)]


def test_events_come_out_in_order_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 1000)
    out, reader = writer(tmp_path), SpoolReader(tmp_path)
    for n in range(50):
        out.write({"n": n, "pad": "x" * 50})
    assert numbers(reader) == list(range(50))
    assert numbers(reader) == []
    out.write({"n": 50})
    assert numbers(SpoolReader(tmp_path, reader.position)) == [50]
    assert len(list(tmp_path.iterdir())) > 2


def test_behind_the_last_segment_that_a_reader_knows_nothing_is_written(tmp_path: Path):
    """One that was taken over makes a segment of the last number: the next sidecar wrote behind it, where nobody reads,
    and what its bottle used was counted by nobody."""
    (tmp_path / segment_name(99_999_999)).touch()
    with pytest.raises(ValueError, match="no more segments"):
        writer(tmp_path)


def test_reading_in_small_steps_resumes_from_each_position(tmp_path: Path):
    out = writer(tmp_path)
    for n in range(10):
        out.write({"n": n})
    position, got = Position(), list[int]()
    while lines := SpoolReader(tmp_path, position).read(3):
        got += [orjson.loads(line)["n"] for _, line in lines[:2]]
        position = lines[min(1, len(lines) - 1)][0]
    assert got == list(range(10))


def test_a_torn_last_line_waits_and_is_skipped_once_a_new_sidecar_writes(tmp_path: Path):
    out, reader = writer(tmp_path), SpoolReader(tmp_path)
    out.write({"n": 1})
    out.close()
    with (tmp_path / segment_name(1)).open("ab") as file:
        file.write(b'{"n": 2')
    assert numbers(reader) == [1]
    assert numbers(reader) == []
    writer(tmp_path).write({"n": 3})
    assert numbers(reader) == [3]


def test_kill_9_loses_nothing_that_was_written(tmp_path: Path):
    code = (
        "import os,sys; from sidecar.spool import SpoolWriter; w=SpoolWriter(os.open(sys.argv[1],os.O_RDONLY))\n"
        "for n in range(1000): w.write({'n': n})\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert numbers(SpoolReader(tmp_path)) == list(range(1000))


def test_acknowledged_segments_go_and_the_present_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 200)
    out = writer(tmp_path)
    for n in range(20):
        out.write({"n": n, "pad": "x" * 50})
    out.acknowledge(out.segment + 10)
    assert [path.name for path in tmp_path.iterdir()] == [segment_name(out.segment)]
    out.write({"n": 99})


def test_beyond_its_cap_it_refuses_and_recovers_after_ack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(spool, "MAX_BYTES", 5000)
    monkeypatch.setattr(spool, "RESERVED_BYTES", 1000)
    out = writer(tmp_path)
    for n in range(1000):
        out.write({"n": n, "pad": "x" * 50})
    assert not out.ready()
    assert out.lost > 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000
    out.acknowledge(out.segment)
    assert out.ready()


def test_a_failing_disk_makes_it_not_ready_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = writer(tmp_path)
    out.write({"n": 0})
    real = os.write
    # half of the line fits, as on a disk that fills up
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    out.write({"n": 1})
    out.write({"n": 2})
    assert not out.ready()
    monkeypatch.setattr(os, "write", real)
    assert out.ready()
    good = [line for _, line in SpoolReader(tmp_path).read() if line.endswith(b"}")]
    assert [orjson.loads(line)["n"] for line in good] == [0, 1, 2]


def test_a_missing_folder_reads_as_nothing(tmp_path: Path):
    assert SpoolReader(tmp_path / "gone").read() == []


def test_a_link_in_the_segments_place_is_not_followed(tmp_path: Path):
    target = tmp_path / "target"
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / segment_name(1)).symlink_to(target)
    out = writer(tmp_path / "spool")
    out.write({"n": 1})
    assert not target.exists()


def test_a_hostile_writers_lines_do_not_fill_its_readers_memory(tmp_path: Path):
    """Of 4 MB each; the honest one that follows is read all the same."""
    for number in range(1, 31):
        (tmp_path / segment_name(number)).write_bytes(b'{"n": "' + b"x" * 4_000_000 + b'"}\n')
    writer(tmp_path).write({"n": 1})
    reader, most, got = SpoolReader(tmp_path), 0, list[bytes]()
    reader.more = True
    while reader.more:
        lines = reader.read(500, 1_000_000)
        most = max(most, sum(len(line) for _, line in lines))
        got += [line for _, line in lines]
    assert most < 2_000_000
    assert len(got) == 31
    assert all(len(line) <= spool.MAX_LINE for line in got)
    assert got[-1] == b'{"n":1}'
