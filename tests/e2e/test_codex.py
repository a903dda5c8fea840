"""Codex from npm, unmodified, in a real bottle behind a real sidecar, against a pretend OpenAI API."""

from collections.abc import Callable

import pytest

from app.demo.pretend import openai
from tests.e2e.cast import CAST, REFUSED
from tests.e2e.judge import a_world, assert_file_written, egress, start, whole_turn
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
ROLE = CAST["codex"]
SSE = Agent(("codex",), "template: codex, settings: {transport: sse}", (openai.HOST,))
Worlds = Callable[..., World]


@pytest.mark.parametrize("agent", [ROLE.agent, SSE], ids=["websocket", "sse"])
def test_a_headless_turn_with_a_tool_call(worlds: Worlds, agent: Agent) -> None:
    world = a_world(worlds, agent, ROLE.runs())
    seen = whole_turn(world, ROLE.variable, ROLE.key, header="authorization", scheme="Bearer ")
    assert {one.method for one in seen} == ({"POST"} if agent is SSE else {"GET"})
    assert egress(world, "turn") == {("allow", openai.HOST, "/v1/responses"), ("deny", REFUSED, "/")}


def test_a_model_of_ones_choice(worlds: Worlds) -> None:
    world = a_world(worlds, SSE, ROLE.runs())
    assert_file_written(world, start(world, ROLE.secrets, "--model", "gpt-5.2-codex"))
    assert {one.json()["model"] for one in world.vendor.of(openai.HOST)} == {"gpt-5.2-codex"}
