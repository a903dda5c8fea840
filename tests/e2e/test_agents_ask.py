"""Each agent is refused, asks by the bottle's own MCP server with the call that the refusal named, waits, and goes by
the operator's answer."""

import contextlib
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.demo.pretend.script import Conversation, Say, Script, Turn
from app.errors import CarboyError
from tests.e2e.cast import CAST, Role
from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(500)]

DATA = "data.example.com"
ROLES = [pytest.param(role, id=name) for name, role in CAST.items()]


def asks(role: Role) -> Script:
    """Fetches; asks with just the call that the refusal named; fetches again where that was approved."""

    def script(talk: Conversation) -> Turn:
        aside = role.aside(talk)
        if aside is not None:
            return aside
        fetch = role.run(f"curl -sS https://{DATA}/v1/numbers", talk.tools)
        last = talk.results[-1] if talk.results else ""
        if talk.step == 0:
            return Turn((fetch,))
        if talk.step == 1:
            ask = call_named(last)
            return Turn((role.tool(ask["tool"], ask["arguments"], talk.tools),))
        if talk.step == 2 and re.search(r"Approved|approved", last):
            return Turn((fetch,))
        return Turn((Say(f"The end: {last[:300]}"),))

    return script


def call_named(refusal: str) -> dict[str, Any]:
    """The `ask` of a refusal, however the agent wraps what its command printed: as it is, or inside another JSON."""
    for text in (refusal, refusal.replace('\\\\\\"', '\\"').replace('\\"', '"')):
        found = re.search(r'"ask":\s*(\{.*)', text, re.DOTALL)
        if found:
            return json.JSONDecoder().raw_decode(found[1])[0]
    raise AssertionError(f"the refusal names no call: {refusal[:1000]}")


def start(world: World, role: Role) -> Any:
    return world.run(
        "start", "dev", "--headless", "--prompt", "Fetch the numbers", "--cwd", str(world.project), env=role.secrets
    )


def open_proposal(world: World, running: Any) -> dict[str, Any]:
    """The one that waits, once there is one."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not running.done():
        with contextlib.suppress(CarboyError):  # no controller yet
            if found := world.asked(lambda client: client.proposals(state="pending")):
                (one,) = found
                return one.model_dump(mode="json")
        time.sleep(0.5)
    pytest.fail(f"no proposal came: {running.result() if running.done() else 'still running'}")


def decided(world: World, role: Role, answer: str) -> Any:
    """What a session ends with whose question gets this answer."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(start, world, role)
        asked = open_proposal(world, running)
        assert asked["kind"] == "egress-block"
        assert world.vendor.of(DATA) == []
        ran = world.run(answer, asked["id"], "--reason", "as the test says")
        assert ran.returncode == 0, ran.stderr
        ended = running.result(180)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended


@pytest.mark.parametrize("role", ROLES)
def test_refused_asks_waits_and_may(worlds: Callable[..., World], role: Role) -> None:
    world = worlds(asks(role), role.on(DATA))
    ended = decided(world, role, "approve")
    assert [seen.path for seen in world.vendor.of(DATA)] == ["/v1/numbers"]
    assert "The end" in ended.stdout


def test_refused_asks_waits_and_may_not(worlds: Callable[..., World]) -> None:
    role = CAST["claude"]
    world = worlds(asks(role), role.on(DATA))
    ended = decided(world, role, "reject")
    assert world.vendor.of(DATA) == []
    assert "Rejected" in ended.stdout
    assert "as the test says" in ended.stdout


def test_nobody_answers(worlds: Callable[..., World]) -> None:
    role = CAST["claude"]
    world = worlds(asks(role), role.on(DATA))
    settings = world.paths.config / "settings.yml"
    settings.write_text(settings.read_text() + "approval_timeout_seconds: 3\n")
    ran = start(world, role)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "Pending" in ran.stdout or "pending" in ran.stdout
    assert world.vendor.of(DATA) == []
