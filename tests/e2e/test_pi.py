"""Pi from npm, unmodified, in a real bottle behind a real sidecar, against the pretend APIs of several vendors."""

from collections.abc import Callable

import pytest

from app.demo.pretend import anthropic, gemini, openai
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
from tests.e2e.world import MARKER, REAL_KEY, Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
Worlds = Callable[..., World]
COMPANY = "llm.company.example"
OWN = (
    "template: pi, auth_token: LLM_KEY, settings: {provider: company, "
    f"base_url: 'https://{COMPANY}/v1', models: [company-large], context_window: 200000}}"
)
REAL = "REALVENDORKEY-1a2b3c4d5e6f70819203a4b5c6d7e8f9"


def pi(provider: str, *hosts: str) -> Agent:
    return Agent(("pi", "node"), provider, hosts)


ANTHROPIC = pi("template: pi", anthropic.HOST)
VENDORS = [
    pytest.param(
        ANTHROPIC, "ANTHROPIC_API_KEY", "x-api-key", "", "/v1/messages", id="anthropic"
    ),
    pytest.param(
        pi("template: pi, settings: {provider: openai, model: gpt-5.2}", openai.HOST),
        "OPENAI_API_KEY", "authorization", "Bearer ", "/v1/responses", id="openai",
    ),
    pytest.param(
        pi("template: pi, settings: {model: google/gemini-2.5-flash}", gemini.HOST),
        "GEMINI_API_KEY", "x-goog-api-key", "", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", id="google",
    ),
    pytest.param(pi(OWN, COMPANY), "LLM_KEY", "authorization", "Bearer ", "/v1/chat/completions", id="own"),
]  # fmt: skip


def writes_a_file(folder: str) -> Script:
    def script(talk: Conversation) -> Turn:
        if talk.step or not talk.tools:
            return Turn((Say("All done: the file is there."),))
        return Turn((Say("I will."), Call("bash", {"command": LOOK_AROUND})))

    return script


def with_company(world: World) -> World:
    """The operator's own LLM host speaks as OpenAI does."""
    world.vendor.handlers[COMPANY] = world.vendor.vendors.openai
    return world


@pytest.mark.parametrize(("agent", "name", "header", "scheme", "path"), VENDORS)
def test_a_headless_turn_with_a_tool_call(
    worlds: Worlds, agent: Agent, name: str, header: str, scheme: str, path: str
) -> None:
    world = with_company(a_world(worlds, agent, writes_a_file))
    ran = start(world, {name: REAL})
    assert_file_written(world, ran)
    assert "arning" not in ran.stdout
    (host,) = agent.hosts
    seen = turns(world, host, real=scheme + REAL, header=header)
    assert MARKER in seen[-1].body.decode()
    assert egress(world, "turn") == {("allow", host, path), ("deny", "refused.example", "/")}
    assert_looked_around(world, "turn", REAL)
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, REAL)


def test_a_refused_key_ends_the_turn_with_an_error(worlds: Worlds) -> None:
    world = a_world(worlds, ANTHROPIC, writes_a_file)
    world.vendor.handlers[anthropic.HOST] = world.vendor.refuse
    ran = start(world, {"ANTHROPIC_API_KEY": REAL_KEY})
    assert ran.returncode == 1
    assert "Incorrect API key" in ran.stdout + ran.stderr


def test_without_a_new_enough_node_the_way_to_one_is_told(worlds: Worlds) -> None:
    world = a_world(worlds, Agent(("pi",), "template: pi", (anthropic.HOST,)), writes_a_file)
    world.env["PATH"] = ":".join([world.env["PATH"].split(":")[0], "/nonexistent"])
    ran = start(world, {"ANTHROPIC_API_KEY": REAL_KEY})
    assert ran.returncode == 1
    assert "node 22.19 or newer is needed" in ran.stderr
    assert "npm install --prefix" in ran.stderr


async def test_an_interactive_session_shows_no_dialog_and_answers(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(worlds, ANTHROPIC, writes_a_file)
    monkeypatch.setattr("os.environ", {**world.env})
    async with seated(world, {"ANTHROPIC_API_KEY": REAL_KEY}) as seat:
        await seat.shows("pi v0.87.1")
        await seat.shows("claude-")
        for dialog in ("trust", "/login", "Update", "EnvHttpProxyAgent"):
            assert dialog not in seat.text
        await seat.type("write the file please")
        await seat.shows("write the file please")
        await seat.type("\r")
        await seat.shows("All done: the file is there.")
        assert (world.project / "hello.txt").read_text() == "hello\n"
        await assert_memory_is_clean(world, REAL_KEY, known="write the file please")
    assert_no_credential_left(world, REAL_KEY)
