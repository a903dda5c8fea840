"""From nothing to an agent at work: `carboy init` on a terminal asks which agents are here, takes the key of one
without echo, and what it wrote starts. The whole of it within a minute, as is a launch with a secret by descriptor."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_cli_secrets import choose
from tests.e2e.cast import CAST, DONE
from tests.e2e.judge import a_world, assert_no_credential_left
from tests.e2e.world import ROOT, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
ROLE = CAST["claude"]


def typed(world: World, answers: dict[str, str], *arguments: str) -> str:
    """`carboy ARGUMENTS` on a terminal, each question answered as it comes; what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT, env={**world.env, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown, seen = "", 0
    while True:
        try:
            shown += os.read(ours, 65536).decode(errors="replace")
        except OSError:
            break
        for question, answer in answers.items():
            if question in shown[seen:]:
                seen = len(shown)
                os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown


def test_a_working_setup_in_under_a_minute(worlds: Callable[..., World]) -> None:
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    for file in (world.paths.agents / "dev.md", world.paths.bottles / "box.md"):
        file.unlink()
    choose(world.root, "memory_keyring.MemoryKeyring")
    began = time.monotonic()
    shown = typed(world, {"Set up claude?": "y", f"{ROLE.variable} (empty: later)": ROLE.key}, "init")
    assert ROLE.key not in shown
    assert f"{ROLE.variable} is in memory" in shown
    assert "codex: not here. Install it with" in shown, "those that are not here are named, with what installs them"
    ran = world.run("start", "developer", "--headless", "--prompt", "Write the file", "--cwd", str(world.project))
    took = time.monotonic() - began
    assert ran.returncode == 0, ran.stderr
    assert DONE in ran.stdout
    assert (world.project / "hello.txt").read_text() == "hello\n"
    assert {seen.headers.get("x-api-key") for seen in world.vendor.of(ROLE.host)} == {ROLE.key}
    assert_no_credential_left(world, ROLE.key)
    print(f"from `carboy init` to the agent's end: {took:.1f} s")
    assert took < 60


def test_nothing_is_set_up_that_was_declined(worlds: Callable[..., World]) -> None:
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    shown = typed(world, {"Set up claude?": "n"}, "init")
    assert ROLE.variable not in shown


def test_a_secret_by_descriptor(worlds: Callable[..., World], tmp_path: Path) -> None:
    world = a_world(worlds, ROLE.agent, ROLE.runs())
    (tmp_path / "key").write_text(f"{ROLE.key}\n")
    with (tmp_path / "key").open() as key:
        command = ["start", "dev", "--headless", "--label", "turn", "--prompt", "Write", "--cwd", str(world.project)]
        ran = subprocess.run(
            [sys.executable, "-m", "app", *command, "--secret-fd", f"{ROLE.variable}={key.fileno()}"],
            cwd=ROOT, env=world.env, pass_fds=(key.fileno(),), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=200, check=False,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert {seen.headers.get("x-api-key") for seen in world.vendor.of(ROLE.host)} == {ROLE.key}
    assert_no_credential_left(world, ROLE.key)
