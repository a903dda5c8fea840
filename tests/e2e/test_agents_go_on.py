"""Each agent goes on with its own conversation, and what it wrote down of it is read from its home and can be
searched once the session is over."""

import asyncio
import json
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.client import Client
from app.demo.pretend.script import Conversation, Say, Script, Turn
from app.providers.base import LAST
from app.providers.registry import provider
from tests.e2e.cast import CAST, Role
from tests.e2e.judge import a_world, seated
from tests.e2e.world import World
from tests.providers.contexts import context, manifest

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
FIRST, SECOND = "Remember the word heliotrope", "Which word was it?"


def remembers(role: Role) -> Callable[[str], Script]:
    def script(talk: Conversation) -> Turn:
        aside = role.aside(talk)
        if aside is not None:
            return aside
        if talk.step == 0 and FIRST in talk.user:
            return Turn((Say("I note it."), role.run("echo noted > note.txt", talk.tools)))
        return Turn((Say("That is all."),))

    return lambda folder: script


def arguments(role: Role, resume: str | None, task: str) -> str:
    """What carboy would start the agent with, without the program's own path: that is the bottle's to know."""
    made = replace(context(manifest(), task=task), resume=resume)
    argv = provider(role.name).prepare(made).command.argv
    return shlex.join(argv[1:])


@pytest.mark.parametrize("name", list(CAST))
def test_the_second_prompt_finds_the_first(worlds: Callable[..., World], name: str) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, remembers(role))
    shown = world.run("start", "dev", "--headless", "--prompt", "x", "--dry-run", "--json", env=role.secrets)
    program = shlex.join(json.loads(shown.stdout)["command"])
    # it ends with a failure, so that its home stays
    both = f"{program} {arguments(role, None, FIRST)} && {program} {arguments(role, LAST, SECOND)}; exit 9"
    ran = world.run(
        "start", "dev", "--headless", "--label", "talk", "--cwd", str(world.project), "--", "sh", "-c", both,
        env=role.secrets,
    )  # fmt: skip
    assert ran.returncode == 9, ran.stderr + ran.stdout
    assert ran.stdout.count("That is all.") >= 2, ran.stdout
    asked = [one for one in world.vendor.seen if SECOND.encode() in one.body]
    assert asked
    assert FIRST.encode() in b"".join(one.body for one in world.vendor.seen[-4:] if SECOND.encode() in one.body)

    reader = provider(name).conversations(world.paths.session_state("talk") / "home")
    assert reader is not None
    entries = reader.read()
    assert [one.text for one in entries if one.kind == "user"] == [FIRST, SECOND]
    assert "That is all." in [one.text for one in entries if one.kind == "assistant"]
    standing = reader.standing
    assert (standing.doing, standing.turns, standing.tool_calls) == ("waiting", 2, 1)
    assert standing.conversation
    hits = json.loads(world.run("search", "heliotr", "--bottle", "talk", "--json").stdout)["hits"]
    assert FIRST in [hit["snippet"] for hit in hits if hit["kind"] == "user"], hits
    assert {hit["provider"] for hit in hits} == {name}


async def test_one_that_nobody_spoke_to_is_resumed_as_a_new_one(worlds: Callable[..., World]) -> None:
    role = CAST["claude"]
    world = a_world(worlds, role.agent, remembers(role))
    assert world.run("list").returncode == 0  # the controller is this world's
    async with seated(world, role.secrets) as seat:
        await seat.shows("bypass permissions")
    ran = await asyncio.to_thread(world.run, "resume", "talk", "--detach", env=role.secrets)
    assert ran.returncode == 0, ran.stderr
    async with await Client.connect(world.paths, start=False) as client:
        terminal, seen = await client.terminal("talk", 30, 100), b""
        async for data in terminal.output():
            seen += data
            if b"bypass" in seen:
                break
        await terminal.close()
        assert b"bypass" in seen, "it ended at once, for want of a conversation"
        await client.kill("talk")
