"""OpenCode from npm, unmodified, in a real bottle: what is its own. Its turns are in `test_one_api_of_many`."""

from collections.abc import Callable

import pytest

from app.demo.pretend import anthropic
from tests.e2e.cast import CAST
from tests.e2e.judge import a_world, assert_file_written
from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]


def test_a_task_arrives_as_it_was_written(worlds: Callable[..., World]) -> None:
    role = CAST["opencode"]
    world = a_world(worlds, role.agent, role.runs())
    task = '-x  "quoted" 007 1.50\n  $HOME --help'
    ran = world.run("start", "dev", "--headless", f"--prompt={task}", "--cwd", str(world.project), env=role.secrets)
    assert_file_written(world, ran)
    assert task in {anthropic.read(one.json()).user for one in world.vendor.seen}
