"""What `carboy list` says of a bottle in its one line."""

from typing import Any

import pytest

from app.cli import bottles
from tests.tui.scripted import view


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"state": "running", "title": "Works"}, ["running", "Works"]),
        (
            {"state": "running", "engine_gone": True, "engine": "docker"},
            ["lost", "its container engine does not answer"],
        ),
        ({"state": "stopping", "engine_gone": True, "engine": "podman"}, ["lost", "podman.socket"]),
        ({"state": "failed", "exit_code": 137, "error": "out of memory", "title": "Works"}, ["(137)", "out of memory"]),
    ],
)
def test_a_line_says_first_what_is_wrong(
    changes: dict[str, Any], shown: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    bottles._print_views([view("docs", **{"title": "", **changes})])
    line = capsys.readouterr().out.splitlines()[1]
    assert [text for text in shown if text not in line] == []
