"""Each agent's first screen, and a turn, in the app's own terminal; and no credential in its memory, environment or
files while it runs.

The first screen is compared with its picture in `screens/`: plain text, without what differs from run to run. To make a
picture anew after a change that was meant: delete it, and run its test twice."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from app.carboy import CarboyApp
from app.client import Client
from app.core.model import BottleView, LaunchRequest
from app.terminal.emulator import Emulator
from sidecar.secret import Secret
from tests.e2e.cast import CAST, DONE
from tests.e2e.judge import (
    a_world,
    assert_environment_is_clean,
    assert_memory_is_clean,
    assert_no_credential_left,
    assert_no_placeholder_sent,
    screen,
)
from tests.e2e.world import World
from tests.tui.waiting import text_of, until

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(500)]
PICTURES = Path(__file__).with_name("screens")
FIRST = {
    "claude": ("Claude Code v2.1.332", "❯"),
    "codex": ("OpenAI Codex (v0.171.0)", "›"),
    "gemini": ("Gemini CLI v0.61.0", "Type your message"),
    "opencode": ("Ask anything", "1.18.33"),
    "pi": ("v1.6.0", "claude-"),
}
DIALOGS = ("Do you trust", "Sign in", "login", "Update available", "Welcome to", "API key", "failed to load", "Zen")
VARIES = (
    r'(?<=❯ )Try ".*"',
    r"(?<=› ).*",
    r'(?<=Ask anything… )".*"',
    r"(?m)^ *● Tip.*(\n.*\S.*){0,2}",
    r"(?m)^ *Tip: .*(\n  \S.*)*",
    r"(?m)^ Warning: (fd|ripgrep) not found.*",
)
"""What an agent suggests by lot, or says of the machine."""


@pytest.mark.parametrize("name", list(CAST))
async def test_a_session_in_the_apps_terminal(
    worlds: Callable[..., World], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, role.runs())
    monkeypatch.setattr("os.environ", {**world.env})
    monkeypatch.chdir(world.project)
    request = LaunchRequest(
        agent="dev", cwd=str(world.project), rows=40, cols=100, label="talk",
        env={variable: Secret(value) for variable, value in role.secrets.items()},
    )  # fmt: skip
    async with await Client.connect(world.paths) as client:
        assert [step async for step in client.launch(request) if isinstance(step, BottleView)]
        app = CarboyApp()
        async with app.run_test(size=(160, 48)) as pilot:
            await until(pilot, lambda: app.link == "connected", "connected", seconds=90)
            for text in FIRST[name]:
                await until(pilot, lambda text=text: text in text_of(pilot), text, seconds=120)
            assert not [dialog for dialog in DIALOGS if dialog in text_of(pilot)]
            pane = app.screen_stack[0]._session
            await until(pilot, lambda: app.board.views["talk"].doing == "idle", "idle", seconds=90)
            first = Picture(name, pane.pane.term, world)
            await until(pilot, first.is_as_kept, f"as in {first.file}", seconds=90)
            pane.send(b"write the file please")
            await until(pilot, lambda: "write the file please" in text_of(pilot), "typed", seconds=90)
            pane.send(b"\r")
            await until(pilot, lambda: DONE in text_of(pilot), "done", seconds=120)
            await until(pilot, lambda: app.board.views["talk"].tool_calls == 1, "one call", seconds=90)
            await until(pilot, lambda: app.board.views["talk"].doing == "waiting", "waits", seconds=90)
            await until(pilot, lambda: "waits" in text_of(pilot), "shown", seconds=30)
        assert (world.project / "hello.txt").read_text() == "hello\n"
        (view,) = await client.bottles()
        assert (view.doing, view.turns, view.tool_calls) == ("waiting", 1, 1)
        assert view.title
        assert_environment_is_clean(world, role.key)
        await assert_memory_is_clean(world, role.key, known="write the file please")
        await client.kill("talk")
        await client.wait("talk")
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, role.key)


class Picture:
    """The agent's screen without its chance parts, beside the one that is kept."""

    def __init__(self, name: str, term: Emulator, world: World) -> None:
        self.file = PICTURES / f"{name}.txt"
        self._term = term
        self._world = world
        self._seen: Counter[str] = Counter()

    def is_as_kept(self) -> bool:
        """Where none is kept yet, this one is, once it stands still."""
        now = self._drawn()
        if self.file.exists():
            return now == self.file.read_text()
        self._seen[now] += 1
        if self._seen[now] > 300:
            self.file.write_text(now)
            pytest.fail(f"there was no picture: look at {self.file}, which is made")
        return False

    def _drawn(self) -> str:
        text = screen(self._term)
        for path in (str(self._world.project), str(self._world.project).replace(str(self._world.root), "~")):
            text = text.replace(path, "PROJECT")
        for pattern in VARIES:
            text = re.sub(pattern, "", text)
        lines = [re.sub(r"(?<=\S) {2,}", "  ", line) if "PROJECT" in line else line for line in text.splitlines()]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.rstrip, lines))).strip("\n") + "\n"
