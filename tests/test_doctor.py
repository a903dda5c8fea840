"""The doctor's own checks."""

from pathlib import Path

import pytest

from app.doctor import agent_checks, config_check


def test_it_says_where_an_agents_cli_lies_on_this_host() -> None:
    from app.providers.registry import provider

    found = provider("shell").find({})
    (check,) = [one for one in agent_checks() if one.name == "shell"]
    assert check.ok
    assert f"({found.host_path})" in check.text
    assert "  " not in check.text


def test_one_file_is_counted_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARBOY_HOME", str(tmp_path))
    (tmp_path / "config/bottles").mkdir(parents=True)
    (tmp_path / "config/bottles/one.md").write_text("---\n{}\n---\n")
    assert config_check().text.endswith(": 0 agents, 1 bottle file")
