"""Claude Code from npm, unmodified, in a real bottle behind a real sidecar, against a pretend Anthropic API.

The vendor's side is the judge: what it saw is what left the bottle.
"""

import json
import os
import re
import shutil
from collections.abc import Callable

import pytest

from app.demo.pretend import anthropic
from app.demo.pretend.script import Call, Conversation, Say, Script, Turn
from tests.e2e.judge import a_world, assert_no_credential_left, assert_no_placeholder_sent
from tests.e2e.world import CLAUDE, MARKER, REAL_KEY, REAL_TOKEN, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(600)]
Worlds = Callable[..., World]
SHAPE = re.compile(r"sk-ant-[a-z0-9]+-carboy-[a-z0-9-]+")


def writes_a_file(folder: str, bash: str = "env > env.txt; echo made-by-bash") -> Script:
    """Writes a file, runs a command, then ends; whatever else is asked gets a short answer."""
    turns = (
        Turn(
            (Say("I will write the file."), Call("Write", {"file_path": f"{folder}/hello.txt", "content": "hello\n"}))
        ),
        Turn((Call("Bash", {"command": bash, "description": "Look around"}),)),
        Turn((Say("All done: the file is there."),)),
    )

    def script(talk: Conversation) -> Turn:
        if "Write" not in talk.tools:
            return Turn((Say("An errand"),))
        return turns[min(talk.step, 2)]

    return script


def placeholder(world: World) -> bytes:
    """The placeholder of the world's one session, from its record: it may lie on disk."""
    (record,) = world.paths.state.glob("bottles/*/session.json")
    (value,) = {given["value"] for given in json.loads(record.read_bytes())["placeholders"]}
    assert SHAPE.fullmatch(value)
    return value.encode()


def test_a_headless_turn_with_tool_calls(worlds: Worlds) -> None:
    world = a_world(worlds, CLAUDE, writes_a_file)
    ran = world.run(
        "start", "dev", "--headless", "--prompt", "Write the file", "--cwd", str(world.project),
        env={"ANTHROPIC_API_KEY": REAL_KEY},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "All done: the file is there." in ran.stdout
    hello = world.project / "hello.txt"
    assert hello.read_text() == "hello\n"
    assert hello.stat().st_uid == world.project.stat().st_uid

    turns = world.vendor.of(anthropic.HOST, "/v1/messages")
    assert len(turns) >= 3
    assert {seen.headers.get("x-api-key") for seen in turns} == {REAL_KEY}
    assert all("authorization" not in seen.headers for seen in turns)
    assert MARKER in anthropic.read(turns[-1].json()).system
    assert "made-by-bash" in "".join(anthropic.read(turns[-1].json()).results)

    environment = (world.project / "env.txt").read_bytes()
    assert REAL_KEY.encode() not in environment
    assert placeholder(world) in environment
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, REAL_KEY)
    assert REAL_KEY not in ran.stdout + ran.stderr


def test_a_turn_in_the_other_engines_sandbox(worlds: Worlds) -> None:
    world = a_world(worlds, CLAUDE, writes_a_file)
    if bwrap := shutil.which("bwrap"):
        if os.geteuid() != 0:
            pytest.skip("bubblewrap is installed, and only root can hide it")
        world.prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {bwrap} && exec "$@"', "sh")
    ran = world.run(
        "start", "dev", "--headless", "--label", "own", "--prompt", "Write the file", "--cwd", str(world.project),
        env={"ANTHROPIC_API_KEY": REAL_KEY},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert (world.project / "hello.txt").read_text() == "hello\n"
    (record,) = world.paths.state.glob("bottles/*/session.json")
    assert json.loads(record.read_bytes())["view"]["engine"] == "nsbox"
    assert_no_placeholder_sent(world)


def test_a_subscription_token_goes_as_bearer(worlds: Worlds) -> None:
    world = a_world(worlds, CLAUDE, writes_a_file)
    ran = world.run(
        "start", "dev", "--headless", "--prompt", "Write the file", "--cwd", str(world.project),
        env={"CLAUDE_CODE_OAUTH_TOKEN": REAL_TOKEN},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    turns = world.vendor.of(anthropic.HOST, "/v1/messages")
    assert {seen.headers.get("authorization") for seen in turns} == {f"Bearer {REAL_TOKEN}"}
    assert all("x-api-key" not in seen.headers for seen in turns)
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, REAL_TOKEN)


def test_without_a_credential_nothing_starts(worlds: Worlds) -> None:
    world = a_world(worlds, CLAUDE, writes_a_file)
    ran = world.run("start", "dev", "--headless", "--prompt", "x", "--cwd", str(world.project))
    assert ran.returncode == 1
    assert "ANTHROPIC_API_KEY" in ran.stderr
    assert "CLAUDE_CODE_OAUTH_TOKEN" in ran.stderr
    assert world.vendor.seen == []


def test_telemetry_is_refused_without_breaking_the_agent(worlds: Worlds) -> None:
    world = a_world(worlds, CLAUDE, writes_a_file)
    ran = world.run(
        "start", "dev", "--headless", "--label", "noisy", "--cwd", str(world.project), "--",
        "env", "-u", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "/opt/carboy/claude/claude", "--dangerously-skip-permissions", "--print", "--", "Write the file",
        env={"ANTHROPIC_API_KEY": REAL_KEY},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert (world.project / "hello.txt").exists()
    assert not [seen.path for seen in world.vendor.seen if "event_logging" in seen.path or "/eval/" in seen.path]
    refused = [entry for entry in world.log("noisy", "--decision", "blocked") if "event_logging" in entry["path"]]
    assert refused
    assert {entry["code"] for entry in refused} == {"path_not_allowed"}


def test_the_record_of_a_turn(worlds: Worlds) -> None:
    world = a_world(worlds, CLAUDE, writes_a_file)
    ran = world.run(
        "start", "dev", "--headless", "--label", "seen", "--prompt", "Write the file", "--cwd", str(world.project),
        env={"ANTHROPIC_API_KEY": REAL_KEY},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    logged = world.log("seen")
    assert {entry["host"] for entry in logged} == {anthropic.HOST}
    allowed = [entry for entry in logged if entry["decision"] == "allow"]
    assert any(entry["path"].startswith("/v1/messages") and entry["status"] == 200 for entry in allowed)
