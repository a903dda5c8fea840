"""Gemini CLI from npm, unmodified, in a real bottle behind a real sidecar, against a pretend Gemini API."""

import json
from collections.abc import Callable

import pytest

from app.demo.pretend import gemini
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
KEY = "AIzaREALGOOGLE-4f1b7d0a9c2e4e6f8a1b3c5d7e9f0a2b"
SECRETS = {"GEMINI_API_KEY": KEY}
GEMINI = Agent(("gemini",), "template: gemini", (gemini.HOST,))
Worlds = Callable[..., World]
CHOICE = {"complexity_reasoning": "It is one command.", "complexity_score": 10}
"""What it asks a small model before the first turn: how hard the task is."""


def writes_a_file(folder: str) -> Script:
    command = Call("run_shell_command", {"command": LOOK_AROUND, "description": "Write"})

    def script(talk: Conversation) -> Turn:
        if not talk.tools:
            return Turn((Say(json.dumps(CHOICE)),))
        return Turn((Say("I will."), command)) if talk.step == 0 else Turn((Say("All done: the file is there."),))

    return script


def test_a_headless_turn_with_a_tool_call(worlds: Worlds) -> None:
    world = a_world(worlds, GEMINI, writes_a_file)
    assert_file_written(world, start(world, SECRETS))
    seen = turns(world, gemini.HOST, real=KEY, header="x-goog-api-key")
    assert MARKER in seen[-1].body.decode()
    allowed = {(host, path.rpartition(":")[2]) for decision, host, path in egress(world, "turn") if decision == "allow"}
    assert allowed == {(gemini.HOST, "generateContent"), (gemini.HOST, "streamGenerateContent")}
    denied = {host for decision, host, _ in egress(world, "turn") if decision != "allow"}
    assert denied == {"refused.example"}
    assert_looked_around(world, "turn", KEY)
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, KEY)


def test_a_model_of_ones_choice(worlds: Worlds) -> None:
    world = a_world(worlds, GEMINI, writes_a_file)
    assert_file_written(world, start(world, SECRETS, "--model", "gemini-2.5-flash"))
    assert {one.path for one in world.vendor.seen} == {"/v1beta/models/gemini-2.5-flash:streamGenerateContent"}


def test_a_refused_key_ends_the_turn_with_an_error(worlds: Worlds) -> None:
    world = a_world(worlds, GEMINI, writes_a_file)
    world.vendor.handlers[gemini.HOST] = world.vendor.refuse
    ran = start(world, SECRETS, "--model", "gemini-2.5-flash")
    assert ran.returncode != 0
    assert "Incorrect API key" in ran.stdout + ran.stderr


def test_without_a_key_nothing_starts(worlds: Worlds) -> None:
    world = a_world(worlds, GEMINI, writes_a_file)
    ran = start(world, {})
    assert ran.returncode == 1
    assert "GEMINI_API_KEY" in ran.stderr
    assert world.vendor.seen == []


async def test_an_interactive_session_shows_no_dialog_and_answers(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(worlds, GEMINI, writes_a_file)
    monkeypatch.setattr("os.environ", {**world.env})
    async with seated(world, SECRETS) as seat:
        await seat.shows("Gemini CLI")
        await seat.shows("Type your message")
        for dialog in ("Do you trust", "Get started", "Sign in", "update available", "Enter Gemini API Key"):
            assert dialog not in seat.text
        await seat.type("write the file please")
        await seat.shows("write the file please")
        await seat.type("\r")
        await seat.shows("All done: the file is there.")
        assert (world.project / "hello.txt").read_text() == "hello\n"
        await assert_memory_is_clean(world, KEY, known="write the file please")
    assert_no_credential_left(world, KEY)
