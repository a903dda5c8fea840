"""The rules are compiled in a process of its own, which lives no longer than whoever waits for them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.prepared import VARIABLE

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends it with its parent")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_compiling_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    asker = subprocess.Popen(
        [sys.executable, "-c", "from sidecar import prepared; prepared.prepare()"],
        cwd=ROOT, env={**os.environ, VARIABLE: str(scans)},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (found := children(asker.pid)):
        assert time.monotonic() < deadline, "nothing is compiled"
        time.sleep(0.01)
    asker.kill()
    asker.wait()
    while Path(f"/proc/{found[0]}").exists():
        assert time.monotonic() < deadline, "it compiles on for nobody"
        time.sleep(0.01)
    assert not list(scans.glob("rules-*"))


def test_what_was_prepared_is_all_that_is_asked_for() -> None:
    script = """
from sidecar import prepared
from sidecar.dlp import hyperscan_matcher
new = hyperscan_matcher._new
hyperscan_matcher._new = lambda sources, *args, **more: print(sources) or new(sources, *args, **more)
prepared.prepare()
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(ran.stdout.splitlines()) == {"[b'a']"}, "by which a search is tried"
