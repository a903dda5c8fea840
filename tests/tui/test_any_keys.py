"""Any keys in any order, clicks and window sizes, while bottles change, ask and end: the app lives on."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from app.core.model import LaunchRequest, Preflight
from tests.tui.scripted import NOW, ScriptedClient, app, asked, egress, preflight, view
from tests.tui.waiting import ready, until

KEYS = (
    *"abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPRSTUVWXYZ?:/0123456789",
    "enter", "enter", "escape", "escape", "escape", "tab", "shift+tab", "up", "down", "left", "right", "home", "end",
    "pageup", "pagedown", "space", "backspace", "delete", "ctrl+s", "ctrl+k", "ctrl+p", "ctrl+right_square_bracket",
)  # fmt: skip
"""All but those by which the app is left."""
SIZES = ((80, 24), (120, 40), (160, 48), (60, 15), (30, 8))


def found_fit(request: LaunchRequest) -> Preflight:
    return preflight(request, problems=(), secrets=())


def happens(client: ScriptedClient, rng: random.Random, number: int) -> None:
    """Something that no key of the operator's brought about."""
    kind = rng.randrange(6)
    slug = rng.choice(["impl-1", "research-2", "nightly"])
    if kind == 0:
        client.push(egress(5000 + number, slug, rng.choice(["allow", "deny"]), f"h{number}.example", "/"))
    elif kind == 1:
        client.ask(asked(f"p-{rng.randrange(6):06}", state=rng.choice(["pending", "pending", "approved", "expired"])))
    elif kind == 2:
        client.change(view(slug, state=rng.choice(["running", "frozen", "ended", "stopped", "failed", "lost"])))
    elif kind == 3:
        client.change(view(slug, session_id=f"s-{slug}-{number}"))  # it went on in another session
    elif kind == 4:
        client.change(view(f"new-{number % 3}", created_at=NOW + number))
    else:
        client.drop(ConnectionResetError("gone"))


async def act(pilot: Pilot[Any], client: ScriptedClient, rng: random.Random, number: int) -> str:
    chance = rng.random()
    if chance < 0.06:
        size = rng.choice(SIZES)
        await pilot.resize_terminal(*size)
        return f"{size}"
    if chance < 0.12:
        at = rng.randrange(pilot.app.size.width), rng.randrange(pilot.app.size.height)
        await pilot.click(offset=at)
        return f"click {at}"
    if chance < 0.3:
        happens(client, rng, number)
    if chance > 0.9:
        await asyncio.sleep(rng.random() * 0.15)
    key = rng.choice(KEYS)
    await pilot.press(key)
    return key


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "seeds",
    [range(2), *(pytest.param(range(n, n + 5), marks=pytest.mark.e2e) for n in (10, 20, 30))],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
async def test_whatever_is_pressed_the_app_lives_on(
    seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a key exports the log into the present folder
    for seed in seeds:
        rng = random.Random(seed)
        client = ScriptedClient()
        if rng.random() < 0.5:
            client.preflight_answer = found_fit
        done: list[str] = []
        try:
            async with app(client).run_test(size=rng.choice(SIZES[:3])) as pilot:
                await ready(pilot)
                for number in range(120):
                    where = type(pilot.app.screen).__name__
                    done.append(f"{where}: {await act(pilot, client, rng, number)}")
                await pilot.resize_terminal(120, 40)
                await until(pilot, lambda: pilot.app.link == "connected", "it is connected again")  # type: ignore[attr-defined]
        except BaseException:
            print(f"seed {seed}:", *done[-12:], sep="\n  ")
            raise
