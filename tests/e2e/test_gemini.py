"""Gemini CLI from npm, unmodified, in a real bottle behind a real sidecar, against a pretend Gemini API."""

from collections.abc import Callable
from typing import Any

import pytest

from app.demo.pretend import gemini
from tests.e2e.cast import CAST, REFUSED
from tests.e2e.judge import a_world, assert_file_written, egress, start, whole_turn
from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
ROLE = CAST["gemini"]
Worlds = Callable[..., World]


def test_a_headless_turn_with_a_tool_call(worlds: Worlds) -> None:
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    whole_turn(world, ROLE.variable, ROLE.key, header="x-goog-api-key")
    asked = {(decision, host, path.rpartition(":")[2]) for decision, host, path in egress(world, "turn")}
    assert asked == {
        ("allow", gemini.HOST, "generateContent"),
        ("allow", gemini.HOST, "streamGenerateContent"),
        ("deny", REFUSED, "/"),
    }
    offered = {name for one in world.vendor.seen for name in declared(one.json())}
    assert "run_shell_command" in offered
    assert "web_fetch" not in offered, "it works nowhere without DNS"


def declared(body: dict[str, Any]) -> list[str]:
    """The tools that a request offers its model."""
    return [one["name"] for tool in body.get("tools") or [] for one in tool.get("functionDeclarations") or []]


def test_a_model_of_ones_choice(worlds: Worlds) -> None:
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    assert_file_written(world, start(world, ROLE.secrets, "--model", "gemini-2.5-flash"))
    assert {one.path for one in world.vendor.seen} == {"/v1beta/models/gemini-2.5-flash:streamGenerateContent"}
