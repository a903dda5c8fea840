"""Each agent's first screen, and a turn, in the app's own terminal."""

from collections.abc import Callable

import pytest

from app.carboy import CarboyApp
from app.client import Client
from app.core.model import BottleView, LaunchRequest
from app.demo.pretend.script import Conversation, Say, Script, Turn
from sidecar.secret import Secret
from tests.e2e.cast import CAST, Role
from tests.e2e.judge import a_world
from tests.e2e.world import World
from tests.tui.waiting import text_of, until

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
FIRST = {
    "claude": ("Claude Code v2.1.329", "❯"),
    "codex": ("OpenAI Codex (v0.169.0)", "›"),
    "gemini": ("Gemini CLI v0.61.0", "Type your message"),
    "opencode": ("Ask anything", "1.18.33"),
    "pi": ("pi v0.87.1", "claude-"),
}
DIALOGS = ("Do you trust", "Sign in", "login", "Update available", "Welcome to", "API key", "failed to load")


def answers(role: Role) -> Callable[[str], Script]:
    def script(talk: Conversation) -> Turn:
        aside = role.aside(talk)
        if aside is not None:
            return aside
        if talk.step:
            return Turn((Say("All done: the file is there."),))
        return Turn((Say("I will."), role.run("echo hello > hello.txt", talk.tools)))

    return lambda folder: script


@pytest.mark.parametrize("name", list(CAST))
async def test_a_session_in_the_apps_terminal(
    worlds: Callable[..., World], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = CAST[name]
    world = a_world(worlds, role.agent, answers(role))
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
            await until(pilot, lambda: app.link == "connected", "connected", seconds=40)
            for text in FIRST[name]:
                await until(pilot, lambda text=text: text in text_of(pilot), text, seconds=60)
            assert not [dialog for dialog in DIALOGS if dialog in text_of(pilot)]
            pane = app.screen_stack[0]._session
            await until(pilot, lambda: app.board.views["talk"].doing == "idle", "idle", seconds=30)
            pane.send(b"write the file please")
            await until(pilot, lambda: "write the file please" in text_of(pilot), "typed", seconds=30)
            pane.send(b"\r")
            await until(pilot, lambda: "All done: the file is there." in text_of(pilot), "done", seconds=60)
            await until(pilot, lambda: app.board.views["talk"].doing == "waiting", "waits", seconds=30)
            await until(pilot, lambda: "waits" in text_of(pilot), "shown", seconds=10)
        assert (world.project / "hello.txt").read_text() == "hello\n"
        (view,) = await client.bottles()
        assert (view.doing, view.turns, view.tool_calls) == ("waiting", 1, 1)
        assert view.title
        await client.kill("talk")
        await client.wait("talk")
