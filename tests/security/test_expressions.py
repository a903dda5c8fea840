"""No expression of ours can be made to take for ever: a hostile text, or only an odd one, would hold the sidecar."""

import re
import signal
import subprocess
import sys

import pytest

from tests.security import expressions


def test_every_expression_comes_to_an_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.expressions"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 200


@pytest.mark.parametrize(
    "source", [r"(?:[a-z]+[0-9]{0,2})+", r"(?:[A-Z][a-z]*|[0-9]{1,2})*_", r"urn:(?::?[a-z]*[0-9]{0,2})+x"]
)
def test_one_that_does_not_is_told(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "SECONDS", 0.5)
    before = signal.signal(signal.SIGVTALRM, expressions._give_up)
    try:
        assert expressions.endless("x", re.compile(source)) is not None
    finally:
        signal.signal(signal.SIGVTALRM, before)
