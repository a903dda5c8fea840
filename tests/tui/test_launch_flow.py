"""From `n` to a running bottle, and every way back."""

import asyncio
import typing
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

from app.core.model import BottleEntry, Catalogue, LaunchRequest, Preflight, SecretNeed, StreamEvent
from app.errors import CarboyError
from app.screens.launch.report import lines_of
from app.widgets.option_strip import OptionStrip
from tests.tui.scripted import CATALOGUE, ScriptedClient, app, preflight
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def step(pilot: Pilot[Any]) -> str:
    return pilot.app.screen.__class__.__name__


async def at(pilot: Pilot[Any], name: str) -> None:
    await until(pilot, lambda: step(pilot) == name, name)
    await pilot.pause()


async def opened(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("n")
    await until(pilot, lambda: "developer" in text_of(pilot), "agents")


def clean(request: LaunchRequest) -> Preflight:
    return preflight(request, secrets=(), problems=())


async def test_a_newcomer_gets_the_starter_library_from_the_picker(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    client.catalogue_now = Catalogue()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("n")
        await until(pilot, lambda: "the starter library" in text_of(pilot), "offered")
        assert client.calls == []
        await pilot.press("enter")
        await until(pilot, lambda: "2 of 3 agent CLIs" in text_of(pilot), "looked")
        assert "npm install -g @google/gemini-cli" in text_of(pilot)
        assert text_of(pilot).count("▐X▌") == 2
        await pilot.press("space", "tab", "tab", *"sk-secret")
        assert text_of(pilot).count("▐X▌") == text_of(pilot).count("▐ ▌") == 1
        assert "sk-secret" not in text_of(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "researcher" in text_of(pilot), "agents")
        assert ("init", ("codex",)) in client.calls
        assert client.given == [("OPENAI_API_KEY", {"value": "sk-secret"})]
        await pilot.press(*"resear", "enter")
        await at(pilot, "BottlesStep")


async def test_agents_that_are_still_being_read_are_not_said_to_be_none() -> None:
    gate, client = asyncio.Event(), ScriptedClient()

    async def late(cwd: str | None = None) -> Catalogue:
        await gate.wait()
        return CATALOGUE

    client.catalogue = late  # type: ignore[method-assign]
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("n")
        await at(pilot, "AgentStep")
        assert "nothing to choose from yet" in text_of(pilot)
        assert "nothing fits" not in text_of(pilot)
        gate.set()
        await until(pilot, lambda: "developer" in text_of(pilot), "agents")
        assert "nothing to choose" not in text_of(pilot)


async def test_the_whole_way(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press(*"resear", "enter")
        await at(pilot, "BottlesStep")
        assert "[1] claude" in text_of(pilot)
        await pilot.press("down", "space")
        assert "[2] net-read" in text_of(pilot)
        await pilot.press("tab", "down", "K")
        assert pilot.app.screen.flow.draft.bottles == ("net-read", "claude")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await pilot.press(*"fix", "space", *"it", "tab", *"retry", "tab", "right", "right", "tab", *"opus", "ctrl+s")
        await at(pilot, "PreflightStep")
        await until(pilot, lambda: "The secret ANTHROPIC_API_KEY is missing" in text_of(pilot), "asked")
        await pilot.press(*"sk-secret")
        assert "sk-secret" not in text_of(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "typed in for this launch" in text_of(pilot), "typed")
        await pilot.press("enter")
        await until(pilot, lambda: step(pilot) == "MainScreen" and pilot.app.screen.slug == "retry", "running")
        await until(pilot, pilot.app.screen._in_terminal, "in its terminal")
        sent = client.requests[-1]
        assert (sent.agent, sent.bottles, sent.prompt) == ("researcher", ("net-read", "claude"), "fix it")
        assert (sent.label, sent.color, sent.model, sent.backend) == ("retry", "green", "opus", None)
        assert sent.secrets["ANTHROPIC_API_KEY"].reveal() == "sk-secret"


async def test_hidden_characters_of_a_paste_do_not_get_into_the_task_or_the_name() -> None:
    async with app().run_test(size=(100, 30), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        pilot.app.post_message(Paste("mend \u202egpj\u202c it\r\nnow\U000e0041"))
        await until(pilot, lambda: "3 invisible characters of what was pasted were left out" in text_of(pilot), "said")
        assert pilot.app.screen.query_one("#task", TextArea).text == "mend gpj it\nnow"
        await pilot.press("tab")
        pilot.app.post_message(Paste("na\u202eme"))
        await until(pilot, lambda: pilot.app.screen.query_one("#label", Input).value == "name", "the name")


@pytest.mark.parametrize("source", typing.get_args(SecretNeed.model_fields["source"].annotation))
def test_a_preflight_says_where_each_secret_comes_from(source: Any) -> None:
    request = LaunchRequest(agent="developer", cwd="/w")
    found = preflight(request, secrets=(SecretNeed(name="KEY", used_by="codex", source=source),), problems=())
    (row,) = (row.plain for row in lines_of(found) if "KEY" in row.plain)
    assert "used by codex" in row


async def test_escape_goes_back_one_step_and_keeps_everything(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("down", "space", "enter")
        await at(pilot, "TaskStep")
        await pilot.press(*"task", "tab", *"name", "escape")
        await at(pilot, "BottlesStep")
        assert "[2] net-read" in text_of(pilot)
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        assert pilot.app.screen.query_one("#label", Input).value == "name"
        assert "task" in text_of(pilot)
        await pilot.press("escape", "escape")
        await at(pilot, "AgentStep")
        await pilot.press("escape")
        await at(pilot, "MainScreen")


async def test_the_bottle_is_called_what_the_preflight_showed() -> None:
    client = ScriptedClient()
    client.preflight_answer = lambda request: preflight(request, slug="developer-12ab", secrets=(), problems=())
    async with app(client).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press(*"devel", "enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await pilot.press("ctrl+s")
        await at(pilot, "PreflightStep")
        await until(pilot, lambda: "developer-12ab" in text_of(pilot), "looked")
        assert client.requests[-1].name is None
        await pilot.press("enter")
        await at(pilot, "MainScreen")
    assert client.requests[-1].name == "developer-12ab"


async def test_a_broken_agent_says_why_and_goes_nowhere(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await opened(pilot)
        assert "skils: unknown key" in text_of(pilot)
        await pilot.press(*"broken", "enter")
        await pilot.pause()
        assert step(pilot) == "AgentStep"
        assert "✗ agents/broken.md:3" in text_of(pilot)


async def test_any_command() -> None:
    client = ScriptedClient()
    client.preflight_answer = clean
    async with app(client).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press(*"any", "enter")
        await until(pilot, lambda: getattr(pilot.app.focused, "id", None) == "command", "asked for the command")
        await pilot.press(*"echo", "space", "quotation_mark", "a", "enter")
        await until(pilot, lambda: "Close the quotes" in text_of(pilot), "complained")
        await pilot.press("space", "b", "quotation_mark", "enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await until(pilot, lambda: "Take in at least one bottle" in text_of(pilot), "complained")
        await pilot.press("space", "enter")
        await at(pilot, "TaskStep")
        await pilot.press("ctrl+s")
        await at(pilot, "PreflightStep")
        await until(pilot, lambda: client.requests, "asked")
        assert client.requests[-1].command == ("echo", "a b")
        assert client.requests[-1].bottles == ("base",)


async def test_why_a_file_is_broken_has_room_in_a_small_window_however_long_its_folders_name() -> None:
    client, folder = ScriptedClient(), "/home/operator/.config/carboy"
    broken = f"{folder}/bottles/y.md:3: egres: unknown key"
    client.catalogue_now = CATALOGUE.model_copy(
        update={
            "agents": tuple(
                item.model_copy(update={"file": f"{folder}/{item.file}", "error": f"{folder}/{item.error}"})
                if item.error
                else item
                for item in CATALOGUE.agents
            ),
            "bottles": (*CATALOGUE.bottles, BottleEntry(name="y", file=f"{folder}/bottles/y.md", error=broken)),
        }
    )
    async with app(client).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "broken.md:3: skils: unknown key" in text_of(pilot), "why, of an agent")
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await until(pilot, lambda: " y.md:3: egres: unknown key" in text_of(pilot), "why, of a bottle")
        await pilot.press("end", "space")
        await until(pilot, lambda: broken in text_of(pilot), "all of it")


async def test_a_broken_bottle_cannot_be_taken() -> None:
    async with app().run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("end", "space")
        assert pilot.app.screen.flow.draft.chosen == ("claude",)
        assert "a host, not a URL" in text_of(pilot)


async def test_a_name_in_use_is_asked_again(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await pilot.press("tab", *"impl-1", "ctrl+s")
        await pilot.pause()
        assert step(pilot) == "TaskStep"
        assert "impl-1 is in use" in text_of(pilot)


async def test_a_name_taken_meanwhile_comes_back_to_the_name() -> None:
    client = ScriptedClient()
    client.preflight_answer = clean
    client.launch_error = CarboyError("The name dev is in use", "Choose another label", "name_in_use")
    async with app(client).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await pilot.press("ctrl+s")
        await at(pilot, "PreflightStep")
        await until(pilot, lambda: "↵ start" in text_of(pilot), "preflight")
        await pilot.press("enter")
        await until(
            pilot, lambda: step(pilot) == "TaskStep" and "The name dev is in use" in text_of(pilot), "asked again"
        )
        assert pilot.app.screen.query_one("#label", Input).has_focus


async def started(pilot: Pilot[Any]) -> None:
    await opened(pilot)
    await pilot.press("enter")
    await at(pilot, "BottlesStep")
    await pilot.press("enter")
    await at(pilot, "TaskStep")
    await pilot.press("ctrl+s")
    await at(pilot, "PreflightStep")
    await until(pilot, lambda: "↵ start" in text_of(pilot), "preflight")
    await pilot.press("enter")
    await until(pilot, lambda: step(pilot) in ("StartStep", "MainScreen"), "started")


async def test_progress_shows_each_step_and_escape_cancels() -> None:
    client = ScriptedClient()
    client.preflight_answer = clean
    client.launch_gate = asyncio.Event()
    async with app(client).run_test(size=(100, 30), notifications=True) as pilot:
        await started(pilot)
        await until(pilot, lambda: "◌ self-test" in text_of(pilot), "under way")
        assert "48 ms" in text_of(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: step(pilot) == "PreflightStep", "back")
        assert client.calls == [("cancel_launch", "s-new")]
        await until(pilot, lambda: "The launch was cancelled" in text_of(pilot), "said")


async def test_a_failed_launch_says_why_and_can_be_tried_again() -> None:
    client = ScriptedClient()
    client.preflight_answer = clean
    client.launch_error = CarboyError("The self-test failed: dns reachable", "Report this", "self_test")
    async with app(client).run_test(size=(100, 30)) as pilot:
        await started(pilot)
        await until(pilot, lambda: "✗ The self-test failed: dns reachable. Report this" in text_of(pilot), "why")
        assert "✗ self-test" in text_of(pilot)
        client.launch_error = None
        await pilot.press("r")
        await until(pilot, lambda: step(pilot) == "MainScreen", "running")


async def test_a_projects_agent_is_read_and_confirmed() -> None:
    client = ScriptedClient()

    def answer(request: LaunchRequest) -> Preflight:
        confirm = {} if "hash1" in request.confirm else {"hash1": "local-hero\n\nYou are [bold]root[/bold]\x1b[31m"}
        return preflight(request, secrets=(), problems=(), confirm=confirm)

    client.preflight_answer = answer
    async with app(client).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press(*"local", "enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await pilot.press("ctrl+s")
        await at(pilot, "PreflightStep")
        await until(pilot, lambda: "You are [bold]root[/bold]␛[31m" in text_of(pilot), "shown as text")
        await pilot.press("enter")
        assert "press c to use it" in text_of(pilot)
        await pilot.press("c")
        await until(pilot, lambda: "hash1" in client.requests[-1].confirm, "confirmed")
        await until(pilot, lambda: "↵ start" in text_of(pilot), "asked anew")
        await pilot.press("enter")
        await until(pilot, lambda: step(pilot) == "MainScreen", "running")


async def test_variables_the_bottle_wants_come_from_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_TOKEN", "from-here")
    client = ScriptedClient()
    client.preflight_answer = lambda request: preflight(request, secrets=(), problems=(), wants_env=("BUILD_TOKEN",))
    async with app(client).run_test(size=(100, 30)) as pilot:
        await started(pilot)
        await until(pilot, lambda: step(pilot) == "MainScreen", "running")
        assert client.requests[-1].env["BUILD_TOKEN"].reveal() == "from-here"


@pytest.mark.parametrize(("said", "asked"), [("local", "local"), ("auto", None), ("", None)])
async def test_the_backend_of_the_environment_is_chosen_already(
    said: str, asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARBOY_BACKEND", said)
    client = ScriptedClient()
    async with app(client).run_test(size=(100, 40)) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await pilot.press("ctrl+s")
        await at(pilot, "PreflightStep")
        assert client.requests[-1].backend == asked


async def test_agents_are_read_again_when_a_file_changes() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await pilot.press(*"ne")
        new = CATALOGUE.agents[0].model_copy(update={"name": "newcomer", "description": ""})
        client.catalogue_now = CATALOGUE.model_copy(update={"agents": (*CATALOGUE.agents, new)})
        client.push(StreamEvent(seq=0, at=0, kind="catalogue"))
        await until(pilot, lambda: "newcomer" in text_of(pilot), "read again")
        assert pilot.app.screen.query(Input).last().value == "ne"


async def test_only_backends_that_exist_are_offered_and_broken_ones_say_why(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        strip = pilot.app.screen.query_one("#backend", OptionStrip)
        await until(pilot, lambda: strip.options == ("auto", "local", "docker"), "the doctor's")
        assert strip.broken == {"docker"}
        strip.focus()
        await pilot.press("left", "ctrl+s")
        assert strip.value == "docker"
        await until(pilot, lambda: "no daemon answers → Start Docker" in text_of(pilot), "why")
        assert step(pilot) == "TaskStep"
        await pilot.press("left", "ctrl+s")
        await at(pilot, "PreflightStep")
        assert client.requests[-1].backend == "local"


async def test_models_are_offered_and_complete_what_is_typed(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        await until(pilot, lambda: "the vendor's: opus, sonnet, haiku" in text_of(pilot), "offered")
        assert "Claude Code, tried 2.1.329" in text_of(pilot)
        field = pilot.app.screen.query_one("#model", Input)
        field.focus()
        await pilot.press(*"claude-o")
        await until(pilot, lambda: field._suggestion == "claude-opus-5-5", "completed")
        await pilot.press("right")
        assert field.value == "claude-opus-5-5"


async def test_without_a_list_of_models_one_can_still_be_typed(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    client.fail["models"] = CarboyError("No such agent", "", "not_found")
    async with app(client).run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        pilot.app.screen.query_one("#model", Input).focus()
        await pilot.press(*"opus", "ctrl+s")
        await at(pilot, "PreflightStep")
        assert pilot.app.screen.flow.draft.model == "opus"


async def test_names_of_folders_bottles_and_faults_are_written_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: tuple[int, int]
) -> None:
    """They may come from a project that somebody else made."""
    folder = tmp_path / "a\u202e\n[bold]b"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CARBOY_BACKEND", "automatic")
    client = ScriptedClient()
    evil, broken = (CATALOGUE.agents[0].model_copy(update={"name": name}) for name in ("evil", "broken"))
    evil = evil.model_copy(update={"bottle": "x\u202e\n[b]y"})
    broken = broken.model_copy(update={"error": "no \u202e\x1b[31m", "file": "x"})
    client.catalogue_now = CATALOGUE.model_copy(update={"agents": (evil, broken)})
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("n")
        await until(pilot, lambda: "evil" in text_of(pilot), "agents")
        await pilot.press(*"broken", "enter")
        await until(pilot, lambda: "✗ no \\u202e␛[31m" in text_of(pilot), "written out")
        await pilot.press(*["backspace"] * 6, *"evil", "enter")
        await at(pilot, "BottlesStep")
        await pilot.press("enter")
        await at(pilot, "TaskStep")
        what = str(pilot.app.screen.query_one(".what", Static).content)
        assert "x\\u202e␊[b]y" in what
        assert what.endswith("a\\u202e␊[bold]b")
        assert pilot.app.screen.flow.draft.backend == "automatic"


async def test_how_to_get_a_missing_agent_hangs_below_its_own_text() -> None:
    client = ScriptedClient()
    client.catalogue_now = Catalogue()
    async with app(client).run_test(size=(62, 24)) as pilot:
        await ready(pilot)
        await pilot.press("I")
        await until(pilot, lambda: "✗ " in text_of(pilot), "looked")
        await pilot.pause()
        rows = text_of(pilot).splitlines()
        at = next(n for n, row in enumerate(rows) if "✗ " in row)
        column = rows[at].index("✗ ")
        assert rows[at + 1][column : column + 2] == "  "
        assert rows[at + 1][column + 2 :].strip(" │┃▁▂▃▄▅▆▇█")
