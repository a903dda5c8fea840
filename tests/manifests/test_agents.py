"""`init` for the agents that are here: files that resolve, none overwritten, and the key that is missing."""

import json
from pathlib import Path

import pytest

from app import manifests
from app.core.schema import Settings
from app.manifests.agents import Ready, look, set_up
from app.paths import Paths
from app.providers.base import Found
from app.providers.codex import TRIED, CodexProvider
from app.providers.registry import provider


def test_a_working_setup_for_each(paths: Paths) -> None:
    manifests.init(paths)
    found = [
        Ready(provider="codex", title="Codex", found=True, agent="codex-developer",
              secrets=("OPENAI_API_KEY", "CODEX_KEY"), available="CODEX_KEY"),
        Ready(provider="claude", title="Claude Code", found=True, agent="developer", secrets=("ANTHROPIC_API_KEY",)),
    ]  # fmt: skip
    assert [len(one.written) for one in set_up(paths, found)] == [2, 0]
    assert [one.wants for one in found] == ["", "ANTHROPIC_API_KEY"]
    made = manifests.resolve(paths, agent="codex-developer", bottles=None, cwd=None, settings=Settings())
    assert made.bottle.agent_provider.template == "codex"
    assert "careful software developer" in made.prompt
    mine = paths.agents / "codex-developer.md"
    mine.write_text("mine")
    assert [one.written for one in set_up(paths, found)] == [(), ()]
    assert mine.read_text() == "mine"


def test_the_login_of_this_host_is_used_where_no_key_is_there(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CodexProvider, "find", lambda *_: Found("/opt/codex", TRIED))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "auth.json").write_text(json.dumps({"tokens": {"access_token": "a.b.c", "account_id": "me"}}))
    manifests.init(paths)
    (found,) = (one for one in look() if one.provider == "codex")
    assert (found.forwards, found.wants) == (True, "")
    set_up(paths, [found])
    made = manifests.resolve(paths, agent="codex-developer", bottles=None, cwd=None, settings=Settings())
    assert [one.token_ref for one in provider("codex").credentials(made)] == [found.login]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")
    (keyed,) = (one for one in look() if one.provider == "codex")
    assert (keyed.available, keyed.forwards) == ("OPENAI_API_KEY", False)
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / "auth.json").unlink()
    (without,) = (one for one in look() if one.provider == "codex")
    assert (without.login, without.wants) == ("", "OPENAI_API_KEY")


def test_every_provider_is_looked_for() -> None:
    found = {one.provider: one for one in look()}
    assert {"claude", "codex", "gemini", "opencode", "pi"} <= set(found)
    assert all(one.found or one.hint for one in found.values())
