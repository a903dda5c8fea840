"""Claude Code from npm is refused, asks by the bottle's own MCP server, waits, and goes by the operator's answer."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.demo.pretend import anthropic
from app.demo.pretend.script import Call, Conversation, Say, Turn
from tests.e2e.world import REAL_KEY, Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(600)]

DATA = "data.example.com"
AGENT = Agent(("claude-code",), "template: claude", (anthropic.HOST, DATA))
CURL = Call("Bash", {"command": f"curl -sS https://{DATA}/v1/numbers", "description": "Fetch the numbers"})


def asks(talk: Conversation) -> Turn:
    """Fetches; asks with just the call that the refusal named; fetches again where that was approved."""
    if "Bash" not in talk.tools:
        return Turn((Say("An errand"),))
    last = talk.results[-1] if talk.results else ""
    if talk.step == 0:
        return Turn((CURL,))
    if talk.step == 1:
        ask = json.loads(last[last.index("{") : last.rindex("}") + 1])["ask"]
        name = f"mcp__{ask['server']}__{ask['tool']}"
        assert name in talk.tools, sorted(talk.tools)
        return Turn((Call(name, ask["arguments"]),))
    if talk.step == 2 and ("Approved" in last or '"approved"' in last):
        return Turn((CURL,))
    return Turn((Say(f"The end: {last[:300]}"),))


def start(world: World) -> Any:
    return world.run(
        "start", "dev", "--headless", "--prompt", "Fetch the numbers", "--cwd", str(world.project),
        env={"ANTHROPIC_API_KEY": REAL_KEY},
    )  # fmt: skip


def open_proposal(world: World, running: Any) -> dict[str, Any]:
    """The one that waits, once there is one."""
    deadline = time.monotonic() + 80
    while time.monotonic() < deadline and not running.done():
        listed = world.run("proposals", "--json")
        if listed.returncode == 0 and (found := json.loads(listed.stdout)):
            (one,) = found
            return one
        time.sleep(0.2)
    pytest.fail(f"no proposal came: {running.result() if running.done() else 'still running'}")


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_refused_asks_waits_and_goes_by_the_answer(worlds: Callable[..., World], answer: str) -> None:
    world = worlds(asks, AGENT)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(start, world)
        asked = open_proposal(world, running)
        assert asked["kind"] == "egress-block"
        assert world.vendor.of(DATA) == []
        decided = world.run(answer, asked["id"], "--reason", "as the test says")
        assert decided.returncode == 0, decided.stderr
        ran = running.result(90)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    if answer == "approve":
        assert [seen.path for seen in world.vendor.of(DATA)] == ["/v1/numbers"]
        assert "The end" in ran.stdout
    else:
        assert world.vendor.of(DATA) == []
        assert "Rejected" in ran.stdout
        assert "as the test says" in ran.stdout


def test_nobody_answers(worlds: Callable[..., World]) -> None:
    world = worlds(asks, AGENT)
    settings = world.paths.config / "settings.yml"
    settings.write_text(settings.read_text() + "approval_timeout_seconds: 3\n")
    ran = start(world)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "Pending" in ran.stdout or "pending" in ran.stdout
    assert world.vendor.of(DATA) == []
