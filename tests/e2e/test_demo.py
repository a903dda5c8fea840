"""`carboy demo --headless` tells its whole story, with nothing replaced."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]


def test_the_tour_holds_and_leaves_nothing() -> None:
    before = set(Path(tempfile.gettempdir()).glob("carboy-demo-*"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("CARBOY_")}
    ran = subprocess.run(
        [sys.executable, "-m", "app", "demo", "--headless"],
        cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout
    assert ran.stdout.count("held") >= 9
    assert "You are in a bottle." in ran.stdout
    assert set(Path(tempfile.gettempdir()).glob("carboy-demo-*")) <= before
