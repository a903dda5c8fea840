"""Pi from npm, unmodified, in a real bottle: what is its own. Its turns are in `test_one_api_of_many`."""

from collections.abc import Callable

import pytest

from tests.e2e.cast import CAST
from tests.e2e.judge import a_world, assert_file_written, start
from tests.e2e.test_agents_held import asks_its_model
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
ROLE = CAST["pi"]
FASTER = 40
"""So much faster its timers run: its own limit of 300 s to the head of an answer comes after 7.5 s."""
FAST_TIMERS = f"""
const plain = globalThis.setTimeout;
const faster = (run, ms, ...rest) => plain(run, ms / {FASTER}, ...rest);
globalThis.setTimeout = Object.defineProperties(faster, Object.getOwnPropertyDescriptors(plain));
"""


def test_it_warns_of_nothing(worlds: Callable[..., World]) -> None:
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    ran = start(world, ROLE.secrets)
    assert_file_written(world, ran)
    assert "arning" not in ran.stdout


def test_without_a_new_enough_node_the_way_to_one_is_told(worlds: Callable[..., World]) -> None:
    world = a_world(worlds, Agent(("pi",), ROLE.agent.provider, ROLE.agent.hosts), ROLE.runs())
    world.env["PATH"] = ":".join([world.env["PATH"].split(":")[0], "/nonexistent"])
    ran = start(world, ROLE.secrets)
    assert ran.returncode == 1
    assert "node 22.19 or newer is needed" in ran.stderr
    assert "npm install --prefix" in ran.stderr


def test_it_waits_for_the_operator_longer_than_it_would_by_itself(worlds: Callable[..., World]) -> None:
    """Where it gives up it asks again, four times in all: one request must be the one that is held to the end."""
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    fast = world.project / "fast.mjs"
    fast.write_text(FAST_TIMERS)
    (world.paths.bottles / "box.md").write_text(
        f"---\nagent_provider: {{{ROLE.agent.provider}}}\nshutdown: ask\n"
        f"env: {{NODE_OPTIONS: '--import=\"{fast}\"'}}\n---\n"
    )
    asks_its_model(ROLE, world, seconds=400 / FASTER)
    codes = [event["code"] for event in world.log("turn") if event["host"] == ROLE.host and event["phase"] == "closed"]
    assert codes == ["ok", "ok"]
