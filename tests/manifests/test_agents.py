"""`init` for the agents that are here: files that resolve, none overwritten, and the key that is missing."""

from app import manifests
from app.core.schema import Settings
from app.manifests.agents import Ready, look, set_up
from app.paths import Paths


def test_a_working_setup_for_each(paths: Paths) -> None:
    manifests.init(paths)
    found = [
        Ready("codex", "Codex", True, "0.1", secrets=("OPENAI_API_KEY", "CODEX_KEY")),
        Ready("claude", "Claude Code", True, "2.1", secrets=("ANTHROPIC_API_KEY",)),
    ]
    set_up(paths, found, ["CODEX_KEY"])
    assert [one.agent for one in found] == ["codex-developer", "developer"]
    assert [one.wants for one in found] == ["", "ANTHROPIC_API_KEY"]
    made = manifests.resolve(paths, agent="codex-developer", bottles=None, cwd=None, settings=Settings())
    assert made.bottle.agent_provider.template == "codex"
    assert "careful software developer" in made.prompt
    mine = paths.agents / "codex-developer.md"
    mine.write_text("mine")
    again = [Ready("codex", "Codex", True)]
    set_up(paths, again, [])
    assert again[0].written == []
    assert mine.read_text() == "mine"


def test_every_provider_is_looked_for() -> None:
    found = {one.provider: one for one in look()}
    assert {"claude", "codex", "gemini", "opencode", "pi"} <= set(found)
    assert all(one.found or one.hint for one in found.values())
