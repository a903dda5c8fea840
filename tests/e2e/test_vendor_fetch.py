"""The agents' own searching works in a bottle whose file says nothing of it: what they send opens no page."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.demo.pretend.script import Call, Conversation, Say, Script, Turn
from app.providers.chatgpt import HOST
from tests.e2e.cast import CAST, DONE
from tests.e2e.judge import a_world, assert_file_written, start
from tests.e2e.test_codex_login import LOGIN, chat, logged_in, token
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
Worlds = Callable[..., World]
SSE = "settings: {transport: sse}"
SEARCHES = {
    "claude": (Call("WebSearch", {"query": "a question"}), "web_search_"),
    "gemini": (Call("google_web_search", {"query": "a question"}), "googleSearch"),
}


def searches(name: str) -> Callable[[str], Script]:
    """Calls the agent's tool; what the tool then asks the vendor is answered in words."""
    role, (call, _) = CAST[name], SEARCHES[name]

    def script(talk: Conversation) -> Turn:
        own = call.name in talk.tools
        if not own:
            return role.aside(talk) or Turn((Say("Nothing was found."),))
        return Turn((Say(DONE),)) if talk.step else Turn((Say("I will."), call))

    return lambda folder: script


def declared(world: World, host: str) -> list[dict[str, Any]]:
    """All tools of all requests."""
    bodies = [json.loads(one.body) for one in world.vendor.of(host) if one.body]
    return [tool for body in bodies for tool in body.get("tools", [])]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_of_the_vendor_s_own_passes(worlds: Worlds, name: str) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, searches(name))
    ran = start(world, role.secrets)
    assert ran.returncode == 0, ran.stderr
    assert DONE in ran.stdout
    kinds = [str(tool.get("type") or next(iter(tool))) for tool in declared(world, role.host)]
    assert [kind for kind in kinds if kind.startswith(SEARCHES[name][1])], kinds
    assert {entry["code"] for entry in world.log("turn") if entry["host"] == role.host} == {"ok"}


@pytest.mark.parametrize("signed_in", ["key", "login"])
def test_codex_searches_by_a_program_in_what_is_cached(worlds: Worlds, signed_in: str) -> None:
    """Its newest models are given no tool of the vendor's: a program of theirs asks the vendor."""
    role = CAST["codex"]
    program = 'text(JSON.stringify(await tools.web__run({search_query: [{q: "a question"}]})));'

    def script(talk: Conversation) -> Turn:
        return Turn((Say(DONE),)) if talk.step else Turn((Say("I will."), Call("exec", {"input": program})))

    agent = LOGIN if signed_in == "login" else Agent(role.agent.packages, f"template: codex, {SSE}", role.agent.hosts)
    world = a_world(worlds, agent, lambda folder: script)
    if signed_in == "login":
        world.vendor.handlers[HOST] = chat(world)
        logged_in(world, token("access-one", time.time() + 86400))
    ran = start(world, {} if signed_in == "login" else role.secrets)
    assert ran.returncode == 0, ran.stderr
    (asked,) = [one for one in world.vendor.of(agent.hosts[0]) if one.path.endswith("/alpha/search")]
    assert asked.json()["commands"] == {"search_query": [{"q": "a question"}]}
    assert asked.json()["settings"]["external_web_access"] is False
    assert {one["code"] for one in world.log("turn") if one.get("path", "").endswith("/alpha/search")} == {"ok"}


@pytest.mark.parametrize("said", [[], ["-c", 'web_search="live"']], ids=["nothing", "live"])
def test_codex_keeps_its_search_to_what_is_cached(worlds: Worlds, said: list[str]) -> None:
    role = CAST["codex"]
    settings = f"settings: {{transport: sse, startup_args: {json.dumps(said)}}}"
    world = a_world(worlds, Agent(role.agent.packages, f"template: codex, {settings}", role.agent.hosts), role.runs())
    assert_file_written(world, start(world, role.secrets, "--model", "gpt-5.2"))
    found = [tool for tool in declared(world, role.host) if tool["type"] == "web_search"]
    assert found
    assert {tool["external_web_access"] for tool in found} == {False}
