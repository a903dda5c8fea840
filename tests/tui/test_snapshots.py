"""Pictures of every screen. A changed one is looked at, then taken over: `pytest tests/tui --snapshot-update`."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from app.core.bottles import live
from app.screens.main import MainScreen
from app.screens.session import Session
from app.widgets.approvals_panel import ApprovalsPanel
from tests.tui.scripted import ScriptedClient, app, asked, found
from tests.tui.waiting import ready, text_of, until

pytestmark = pytest.mark.xdist_group("snapshots")
SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (160, 48)


def terminal_drawn(pilot: Pilot[Any]) -> bool:
    """The bottle's under the cursor, where one is in sight."""
    main = pilot.app.screen
    if not isinstance(main, MainScreen) or main.view is None or not live(main.view):
        return True
    sessions = main.query(Session)
    if not main.query_one("#terminal").region:
        return True
    if len(sessions) != 1:
        return False
    session = sessions.first()
    return session.view.slug == main.view.slug and session.pane is not None and "Thinking" in text_of(pilot)


def keys(*pressed: str, shows: str = "") -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Press keys once everything is there, and wait for a text."""

    async def before(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await until(pilot, lambda: "Thinking" in text_of(pilot) or pilot.app.size.width < 60, "the terminal")
        for key in pressed:
            await pilot.press(key)
            await pilot.pause()
        if shows:
            await until(pilot, lambda: shows in text_of(pilot), shows)
        await until(pilot, lambda: terminal_drawn(pilot), "the terminal of the bottle that was gone to")
        await still(pilot)

    return before


async def still(pilot: Pilot[Any]) -> None:
    """Nothing works, and cursors do not blink."""
    for field in (*pilot.app.screen.query(Input), *pilot.app.screen.query(TextArea)):
        field.cursor_blink = False
        field._cursor_visible = True
    lasting = ("feed", "terminal")
    await until(pilot, lambda: all(worker.group in lasting for worker in pilot.app.workers if worker.is_running))
    await pilot.pause()


PICTURES: dict[str, tuple[tuple[int, int], tuple[str, ...], str]] = {
    "main_large": (LARGE, ("end",), "research-2 (researcher)"),
    "main_medium": (MEDIUM, ("end",), "research-2 (researcher)"),
    "main_terminal": (LARGE, ("enter",), "leaves the terminal"),
    "tab_terminal": (SMALL, (), "Thinking"),
    "tab_egress": (SMALL, ("3", "end", "2"), "pastebin"),
    "tab_bottles": (SMALL, ("3",), "nightly"),
    "tab_side": (SMALL, ("3", "end", "4"), "Nothing waits"),
    "ended": (LARGE, ("down",), "exit code"),
    "story": (LARGE, ("end", "2", "up", "up", "up", "up", "up", "enter"), "canary"),
    "confirm": (LARGE, ("s",), "✗ lost"),
    "help": (MEDIUM, ("question_mark",), "leaves the agent's terminal"),
    "palette": (MEDIUM, ("colon", *"res"), "go to research-2"),
    "themes": (MEDIUM, ("T",), "High contrast"),
    "doctor": (MEDIUM, ("D",), "no daemon answers"),
    "settings": (MEDIUM, ("comma",), "(settings.yml)"),
    "bottle": (MEDIUM, ("i",), "api.anthropic.com"),
    "egress": (LARGE, ("end", "e"), "pastebin"),
    "search": (MEDIUM, ("slash", *"retry"), "old-one"),
    "search_small": (SMALL, ("slash", *"retry"), "old-one"),
    "secrets": (MEDIUM, ("S",), "GITEA_TOKEN"),
    "secrets_small": (SMALL, ("S",), "GITEA_TOKEN"),
    "secret_set": (MEDIUM, ("S", "n"), "Set a secret"),
    "learn": (LARGE, ("end", "L"), "g1thub"),
    "learn_small": (SMALL, ("3", "end", "L"), "g1thub"),
    "learn_file": (MEDIUM, ("end", "L", "y", "w"), "A new bottle file"),
    "changes": (LARGE, ("d", "down", "down", "down", "down"), "min(cap, base"),
    "changes_small": (SMALL, ("3", "home", "d"), "min(cap, base"),
    "archive": (MEDIUM, ("A",), "spike"),
    "report": (LARGE, ("end", "o"), "approved by op"),
    "report_small": (SMALL, ("3", "end", "o"), "322k tokens"),
    "launch_agent": (MEDIUM, ("n",), "developer"),
    "launch_agent_small": (SMALL, ("n",), "developer"),
    "launch_bottles": (MEDIUM, ("n", "enter"), "net-read"),
    "launch_task": (MEDIUM, ("n", "enter", "enter"), "the vendor's"),
    "launch_task_small": (SMALL, ("n", "enter", "enter"), "the vendor's"),
    "launch_preflight": (MEDIUM, ("n", "enter", "enter", "ctrl+s"), "Resolved manifest"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("launch"):
        monkeypatch.setattr("app.screens.launch.flow.present_folder", lambda: "/home/op/src/retry")
    size, pressed, shows = PICTURES[name]
    assert snap_compare(app(ScriptedClient()), terminal_size=size, run_before=keys(*pressed, shows=shows))


def test_picture_of_what_was_said_around_a_hit(snap_compare: Any) -> None:
    found = keys("slash", *"retry", shows="old-one")

    async def before(pilot: Pilot[Any]) -> None:
        await found(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Mend the retry loop" in text_of(pilot), "the page")
        await pilot.pause()

    assert snap_compare(app(ScriptedClient()), terminal_size=MEDIUM, run_before=before)


@pytest.mark.parametrize("theme", ["carboy-light", "carboy-contrast"])
def test_picture_of_a_theme(theme: str, snap_compare: Any) -> None:
    client = ScriptedClient()
    client.settings_now = tuple(
        item.model_copy(update={"value": theme}) if item.path == "theme" else item for item in client.settings_now
    )
    assert snap_compare(app(client), terminal_size=LARGE, run_before=keys("end", shows="research-2 (researcher)"))


def test_picture_without_colour(snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")
    assert snap_compare(app(ScriptedClient()), terminal_size=LARGE, run_before=keys("end", shows="research-2 (res"))


def test_picture_of_an_approval(snap_compare: Any) -> None:
    client = ScriptedClient()
    client.proposals_now = [asked(), found()]
    assert snap_compare(app(client), terminal_size=LARGE, run_before=keys(shows="cargo needs the index"))


@pytest.mark.parametrize(
    ("name", "size", "pressed", "shows"),
    ids=["answer", "answer-small", "saving", "proposal", "proposal-small", "editing"],
    argvalues=[
        ("answer", LARGE, ("y",), "Needed for the task"),
        ("answer_small", SMALL, ("y",), "Needed for the task"),
        ("saving", LARGE, ("y", "shift+tab"), "+   - host: x"),
        ("proposal", LARGE, ("a", "enter"), "What it changes"),
        ("proposal_small", SMALL, ("a", "enter"), "What it changes"),
        ("editing", MEDIUM, ("a", "enter", "e"), "ctrl+s"),
    ],
)
def test_picture_of_answering(
    name: str, size: tuple[int, int], pressed: tuple[str, ...], shows: str, snap_compare: Any
) -> None:
    client = ScriptedClient()
    client.proposals_now = [asked(), found()]

    async def before(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: panel.first is not None and panel.armed(panel.first), "a card that takes answers")
        await keys(*pressed, shows=shows)(pilot)

    assert snap_compare(app(client), terminal_size=size, run_before=before), name


def test_picture_of_the_first_run(snap_compare: Any) -> None:
    async def before(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await until(pilot, lambda: "No bottle yet" in text_of(pilot), "welcome")

    assert snap_compare(app(ScriptedClient(views=(), history=[])), terminal_size=MEDIUM, run_before=before)
