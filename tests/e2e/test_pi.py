"""Pi from npm, unmodified, in a real bottle: what is its own. Its turns are in `test_one_api_of_many`."""

from collections.abc import Callable

import pytest

from tests.e2e.cast import CAST
from tests.e2e.judge import a_world, assert_file_written, start
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
ROLE = CAST["pi"]


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
