"""Codex from npm, unmodified, in a real bottle behind a real sidecar, against a pretend OpenAI API."""

from collections.abc import Callable

import pytest

from app.demo.pretend import openai
from app.demo.pretend.script import Call, Conversation, Say, Script, Turn
from tests.e2e.judge import (
    LOOK_AROUND,
    a_world,
    assert_file_written,
    assert_looked_around,
    assert_memory_is_clean,
    assert_no_credential_left,
    assert_no_placeholder_sent,
    egress,
    seated,
    start,
    turns,
)
from tests.e2e.world import MARKER, Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
KEY = "sk-proj-REALOPENAI-5c1d9e3f7a2b4c6d8e0f1a2b3c4d5e6f"
SECRETS = {"OPENAI_API_KEY": KEY}
CODEX = Agent(("codex",), "template: codex", (openai.HOST,))
SSE = Agent(("codex",), "template: codex, settings: {transport: sse}", (openai.HOST,))
Worlds = Callable[..., World]


def writes_a_file(folder: str) -> Script:
    """Runs a command: by a program of its own where the model orchestrates tools so, else by the tool itself."""

    def script(talk: Conversation) -> Turn:
        if not talk.tools or talk.step:
            return Turn((Say("All done: the file is there."),))
        if "exec" in talk.tools:
            quoted = LOOK_AROUND.replace("'", "\\'")
            return Turn((Call("exec", {"input": f"text(await tools.exec_command({{cmd: '{quoted}'}}))"}),))
        return Turn((Say("I will write the file."), Call("exec_command", {"cmd": LOOK_AROUND})))

    return script


@pytest.mark.parametrize("agent", [CODEX, SSE], ids=["websocket", "sse"])
def test_a_headless_turn_with_a_tool_call(worlds: Worlds, agent: Agent) -> None:
    world = a_world(worlds, agent, writes_a_file)
    assert_file_written(world, start(world, SECRETS))
    seen = turns(world, openai.HOST, real=f"Bearer {KEY}", header="authorization")
    assert {one.method for one in seen} == ({"GET"} if agent is CODEX else {"POST"})
    said = "".join(one.body.decode() for one in world.vendor.seen)
    assert MARKER in said
    assert egress(world, "turn") == {
        ("allow", openai.HOST, "/v1/responses"),
        ("deny", "refused.example", "/"),
    }
    assert_looked_around(world, "turn", KEY)
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, KEY)


def test_a_model_of_ones_choice(worlds: Worlds) -> None:
    world = a_world(worlds, SSE, writes_a_file)
    assert_file_written(world, start(world, SECRETS, "--model", "gpt-5.2-codex"))
    assert {one.json()["model"] for one in world.vendor.of(openai.HOST)} == {"gpt-5.2-codex"}


def test_a_refused_key_ends_the_turn_with_an_error(worlds: Worlds) -> None:
    world = a_world(worlds, CODEX, writes_a_file)
    world.vendor.handlers[openai.HOST] = world.vendor.refuse
    ran = start(world, SECRETS)
    assert ran.returncode == 1
    assert "401" in ran.stdout + ran.stderr


def test_without_a_key_nothing_starts(worlds: Worlds) -> None:
    world = a_world(worlds, CODEX, writes_a_file)
    ran = start(world, {})
    assert ran.returncode == 1
    assert "OPENAI_API_KEY" in ran.stderr
    assert "carboy secret set OPENAI_API_KEY" in ran.stderr
    assert world.vendor.seen == []


async def test_an_interactive_session_shows_no_dialog_and_answers(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(worlds, CODEX, writes_a_file)
    monkeypatch.setattr("os.environ", {**world.env})
    async with seated(world, SECRETS) as seat:
        await seat.shows("OpenAI Codex")
        await seat.shows("›")
        for dialog in ("Do you trust", "Sign in", "Update available", "daemon", "Welcome to Codex"):
            assert dialog not in seat.text
        await seat.type("write the file please")
        await seat.shows("write the file please")
        await seat.type("\r")
        await seat.shows("All done: the file is there.")
        assert (world.project / "hello.txt").read_text() == "hello\n"
        await assert_memory_is_clean(world, KEY, known="write the file please")
    assert_no_credential_left(world, KEY)
