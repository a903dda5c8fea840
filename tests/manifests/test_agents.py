"""`init` for the agents that are here: files that resolve, none overwritten, and the key that is missing."""

from app import manifests
from app.core.schema import Settings
from app.manifests.agents import Ready, look, set_up
from app.paths import Paths


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


def test_every_provider_is_looked_for() -> None:
    found = {one.provider: one for one in look()}
    assert {"claude", "codex", "gemini", "opencode", "pi"} <= set(found)
    assert all(one.found or one.hint for one in found.values())
