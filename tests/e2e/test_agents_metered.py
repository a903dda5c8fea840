"""What the wire counted of each agent is what the pretended vendor said, to the token."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from aiohttp import web

from app.demo.pretend import anthropic
from app.demo.pretend.script import Conversation, Say, Script, Turn, Usage
from app.demo.pretend.seen import Seen
from tests.e2e.cast import CAST, Role
from tests.e2e.judge import a_world, start
from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(500)]


def counted(role: Role, said: list[Usage]) -> Callable[[str], Script]:
    """One tool call and an end, each with a usage of its own; what is asked beside the work costs, too."""

    def script(talk: Conversation) -> Turn:
        usage = Usage(input=1000 + len(said), output=30 + 7 * len(said), cache_read=200)
        said.append(usage)
        aside = role.aside(talk)
        if aside is not None:
            return Turn(aside.blocks, usage, delay=0.2)
        if talk.step:
            return Turn((Say("All done: the file is there."),), usage)
        return Turn((Say("I will."), role.run("echo hello > hello.txt", talk.tools)), usage)

    return lambda folder: script


def asides_first(world: World, role: Role) -> None:
    """OpenCode ends with its work, and breaks off what it asks beside it: the last answer waits for the title's. What
    the vendor would have charged for a broken answer nobody can count."""
    answer, answered = world.vendor.handlers[role.host], asyncio.Event()

    async def handler(request: web.Request, seen: Seen) -> web.StreamResponse:
        talk = anthropic.read(seen.json())
        if talk.step:
            await answered.wait()
        response = await answer(request, seen)
        if not talk.tools:
            answered.set()
        return response

    world.vendor.handlers[role.host] = handler


@pytest.mark.parametrize("name", list(CAST))
def test_the_sum_is_the_vendors(worlds: Callable[..., World], name: str) -> None:
    role, said = CAST[name], list[Usage]()
    world = a_world(worlds, role.agent, counted(role, said))
    if name == "opencode":
        asides_first(world, role)
    ran = start(world, role.secrets)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    wanted = (sum(one.input for one in said), sum(one.output for one in said), sum(one.cache_read for one in said))
    deadline = time.monotonic() + 60
    while True:  # what the sidecar wrote last is brought in when its session ends
        spend = json.loads(world.run("info", "turn", "--json").stdout)["spend"]
        if (spend["input"], spend["output"], spend["cache_read"]) == wanted or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert (spend["input"], spend["output"], spend["cache_read"]) == wanted, (spend, said)
    assert (spend["estimated"], spend["unmetered"], spend["errors"]) == (0, 0, 0)
    traces = json.loads(world.run("traces", "turn", "--json").stdout)
    kinds = {one["kind"] for one in traces}
    assert kinds >= {"lifecycle", "message_in", "llm_call", "tool_call", "tool_result", "message_out"}
    calls = [one for one in traces if one["kind"] == "llm_call"]
    assert sum(one["tokens_out"] for one in calls) == wanted[1]
    assert [one["payload"]["state"] for one in traces if one["kind"] == "lifecycle"][:2] == ["launching", "running"]
