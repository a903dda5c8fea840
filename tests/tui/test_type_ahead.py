"""Keys that come all at once, quicker than the screen follows: from a fast hand, a slow machine, a script in tmux."""

import asyncio
from typing import Any

from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.scripted import ScriptedClient, app, preflight
from tests.tui.waiting import ready, text_of, until

SIZE = (100, 30)


def burst(pilot: Pilot[Any], *keys: str) -> None:
    """All of them before the app looks at the first."""
    for key in keys:
        pilot.app.post_message(Key(key, key if len(key) == 1 else {"space": " "}.get(key)))


def steps(pilot: Pilot[Any]) -> list[str]:
    return [screen.__class__.__name__ for screen in pilot.app.screen_stack]


async def agents(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("n")
    await until(pilot, lambda: "developer" in text_of(pilot), "agents")
    await until(pilot, lambda: isinstance(pilot.app.focused, Input), "the field")


async def test_enter_chooses_by_all_that_was_typed_before_it() -> None:
    async with app().run_test(size=SIZE) as pilot:
        await agents(pilot)
        await pilot.press("down")
        burst(pilot, *"resear", "enter")
        await until(pilot, lambda: "BottlesStep" in steps(pilot), "chosen")
        assert pilot.app.screen.flow.draft.agent == "researcher"


async def test_an_arrow_moves_among_what_fits_and_what_is_typed_behind_enter_changes_no_choice() -> None:
    async with app().run_test(size=SIZE) as pilot:
        await agents(pilot)
        await pilot.press("down", "down", "down")
        burst(pilot, *"er", "down", "enter", *"xyz")
        await until(pilot, lambda: "BottlesStep" in steps(pilot), "chosen")
        draft = pilot.app.screen.flow.draft
        await pilot.press("escape")
        await pilot.press(*["backspace"] * 10, *"er", "down", "enter")
        await until(pilot, lambda: "BottlesStep" in steps(pilot), "chosen")
        assert draft.agent == pilot.app.screen.flow.draft.agent


async def test_enter_twice_opens_the_next_step_once() -> None:
    async with app().run_test(size=SIZE) as pilot:
        await agents(pilot)
        burst(pilot, *"resear", "enter", "enter")
        await until(pilot, lambda: "BottlesStep" in steps(pilot), "chosen")
        await pilot.pause()
        assert steps(pilot).count("BottlesStep") == 1


async def test_a_command_typed_right_behind_enter_is_the_command() -> None:
    client = ScriptedClient()
    client.preflight_answer = lambda request: preflight(request, secrets=(), problems=())
    async with app(client).run_test(size=SIZE) as pilot:
        await agents(pilot)
        burst(pilot, *"any", "enter", *"ls", "space", *"-la", "enter")
        await until(pilot, lambda: "BottlesStep" in steps(pilot), "given")
        assert pilot.app.screen.flow.draft.command == ("ls", "-la")


async def test_a_key_pressed_twice_takes_one_step_and_starts_one_bottle() -> None:
    client = ScriptedClient()
    client.preflight_answer = lambda request: preflight(request, secrets=(), problems=())
    client.launch_gate = asyncio.Event()
    async with app(client).run_test(size=SIZE) as pilot:
        await agents(pilot)
        for key, step in (("enter", "BottlesStep"), ("enter", "TaskStep")):
            burst(pilot, key, key)
            await until(pilot, lambda step=step: step in steps(pilot), step)
            await pilot.pause()
            assert steps(pilot)[-1] == step
            assert steps(pilot).count(step) == 1
        await pilot.press("ctrl+s")
        await until(pilot, lambda: steps(pilot)[-1] == "PreflightStep", "on")
        await until(pilot, lambda: "↵ start" in text_of(pilot), "preflight")
        asked = len(client.requests)
        burst(pilot, "enter", "enter")
        await until(pilot, lambda: "StartStep" in steps(pilot), "starts")
        await pilot.pause()
        assert steps(pilot).count("StartStep") == 1
        assert len(client.requests) == asked + 1
        client.launch_gate.set()
        await until(pilot, lambda: len(steps(pilot)) == 1, "runs")


async def test_nothing_starts_before_its_preflight_is_on_the_screen() -> None:
    client = ScriptedClient()
    client.preflight_answer = lambda request: preflight(request, secrets=(), problems=())
    client.preflight_gate = asyncio.Event()
    async with app(client).run_test(size=SIZE) as pilot:
        await agents(pilot)
        for key, step in (("enter", "BottlesStep"), ("enter", "TaskStep"), ("ctrl+s", "PreflightStep")):
            await pilot.press(key)
            await until(pilot, lambda step=step: steps(pilot)[-1] == step, step)
        await until(pilot, lambda: "looking…" in text_of(pilot).splitlines()[-1], "the footer says so")
        assert "start" not in text_of(pilot).splitlines()[-1]
        screen, pressed = pilot.app.screen, []
        shows = screen._show

        def shown(found: object) -> None:
            """The answer is here; the next key comes before it is drawn."""
            shows(found)
            screen.action_start()
            pressed.append(steps(pilot)[-1])

        screen._show = shown
        client.preflight_gate.set()
        await until(pilot, lambda: pressed, "pressed")
        assert pressed == ["PreflightStep"]
        await until(pilot, lambda: "↵ start" in text_of(pilot), "drawn")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(client.requests) == 2, "starts")
