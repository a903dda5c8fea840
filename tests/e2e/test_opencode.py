"""OpenCode from npm, unmodified, in a real bottle behind a real sidecar, against the pretend APIs of vendors."""

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
    "template: opencode, auth_token: LLM_KEY, settings: {provider: company, "
    f"base_url: 'https://{COMPANY}/v1', models: [company-large], context_window: 200000}}"
)
REAL = "REALVENDORKEY-1a2b3c4d5e6f70819203a4b5c6d7e8f9"


def opencode(provider: str, *hosts: str) -> Agent:
    return Agent(("opencode",), provider, hosts)


ANTHROPIC = opencode("template: opencode", anthropic.HOST)
VENDORS = [
    pytest.param(ANTHROPIC, "ANTHROPIC_API_KEY", "x-api-key", "", "/v1/messages", id="anthropic"),
    pytest.param(
        opencode("template: opencode, settings: {provider: openai, model: gpt-5.2}", openai.HOST),
        "OPENAI_API_KEY", "authorization", "Bearer ", "/v1/responses", id="openai",
    ),
    pytest.param(
        opencode("template: opencode, settings: {model: google/gemini-2.5-flash}", gemini.HOST),
        "GEMINI_API_KEY", "x-goog-api-key", "", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", id="google",
    ),
    pytest.param(opencode(OWN, COMPANY), "LLM_KEY", "authorization", "Bearer ", "/v1/chat/completions", id="own"),
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
    (host,) = agent.hosts
    seen = turns(world, host, real=scheme + REAL, header=header)
    assert MARKER in seen[-1].body.decode()
    allowed = {(at, asked) for decided, at, asked in egress(world, "turn") if decided == "allow"}
    assert (host, path) in allowed
    assert {at for at, _ in allowed} == {host}
    denied = {at for decided, at, _ in egress(world, "turn") if decided == "deny"}
    assert denied == {"refused.example", "registry.npmjs.org"}
    assert_looked_around(world, "turn", REAL)
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, REAL)


def test_a_refused_key_ends_the_turn_with_an_error(worlds: Worlds) -> None:
    world = a_world(worlds, ANTHROPIC, writes_a_file)
    world.vendor.handlers[anthropic.HOST] = world.vendor.refuse
    ran = start(world, {"ANTHROPIC_API_KEY": REAL_KEY})
    assert ran.returncode == 1
    assert "Incorrect API key" in ran.stdout + ran.stderr


def test_a_task_arrives_as_it_was_written(worlds: Worlds) -> None:
    world = a_world(worlds, ANTHROPIC, writes_a_file)
    task = '-x  "quoted" 007 1.50\n  $HOME --help'
    ran = world.run(
        "start", "dev", "--headless", f"--prompt={task}", "--cwd", str(world.project),
        env={"ANTHROPIC_API_KEY": REAL_KEY},
    )  # fmt: skip
    assert_file_written(world, ran)
    assert task in {anthropic.read(one.json()).user for one in world.vendor.seen}


async def test_an_interactive_session_shows_no_dialog_and_answers(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(worlds, ANTHROPIC, writes_a_file)
    monkeypatch.setattr("os.environ", {**world.env})
    async with seated(world, {"ANTHROPIC_API_KEY": REAL_KEY}) as seat:
        await seat.shows("Ask anything")
        await seat.shows("Anthropic")
        for dialog in ("trust", "Connect a provider", "Update", "OpenCode Zen"):
            assert dialog not in seat.text
        await seat.type("write the file please")
        await seat.shows("write the file please")
        await seat.type("\r")
        await seat.shows("All done: the file is there.")
        assert (world.project / "hello.txt").read_text() == "hello\n"
        await assert_memory_is_clean(world, REAL_KEY, known="write the file please")
    assert_no_credential_left(world, REAL_KEY)
