"""How each agent's session begins and ends: not without a key, with its skills in place, and with the exit code that
its CLI had."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.cast import CAST
from tests.e2e.judge import a_world, start
from tests.e2e.world import MARKER, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
Worlds = Callable[..., World]
NAMES = list(CAST)
AT_A_REFUSED_KEY = {"claude": 1, "codex": 1, "gemini": 1, "opencode": 1, "pi": 1}
"""The CLIs' own exit codes."""
SKILL = "Use this skill when somebody speaks of heliotropes."


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_key_ends_with_the_agents_own_code(worlds: Worlds, name: str) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, role.runs())
    world.vendor.handlers[role.host] = world.vendor.refuse
    if name == "claude":  # by itself it tries for minutes
        box = world.paths.bottles / "box.md"
        box.write_text(box.read_text().replace("egress:", 'env: {CLAUDE_CODE_MAX_RETRIES: "1"}\negress:'))
    ran = start(world, role.secrets, "--model", "gemini-2.5-flash") if name == "gemini" else start(world, role.secrets)
    assert ran.returncode == AT_A_REFUSED_KEY[name], ran.stderr + ran.stdout
    assert "Incorrect API key" in ran.stdout + ran.stderr or "401" in ran.stdout + ran.stderr
    assert "turn: The provider refused the credential" in ran.stderr, "in the user's words as well"
    view = json.loads(world.run("info", "turn", "--json").stdout)
    assert (view["state"], view["exit_code"]) == ("failed", AT_A_REFUSED_KEY[name])
    assert view["spend"]["errors"] >= 1


@pytest.mark.parametrize("name", NAMES)
def test_without_a_key_nothing_starts(worlds: Worlds, name: str) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, role.runs())
    ran = start(world, {})
    assert ran.returncode == 1
    assert f"carboy secret set {role.variable}" in ran.stderr
    assert world.vendor.seen == []


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_its_skills(worlds: Worlds, name: str) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, role.runs("true"))
    folder = world.paths.config / "skills" / "flowers"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\nname: flowers\ndescription: {SKILL}\n---\nThey turn to the sun.\n")
    (world.paths.agents / "dev.md").write_text(f"---\nbottle: box\nskills: [flowers]\n---\n{MARKER}\n")
    ran = start(world, role.secrets)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert SKILL in "".join(one.body.decode() for one in world.vendor.of(role.host))
