"""kill -9 between any two statements of a decision: it is made and on record once, or it was never made."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.controller.killed import ACTS


@pytest.mark.parametrize("act", list(ACTS))
def test_killed_between_any_two_statements(act: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.controller.killed", act, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) >= 8, "moments were found"
