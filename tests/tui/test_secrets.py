"""The secrets screen, and secrets typed in at a preflight that go into the keyring."""

from typing import Any

import pytest
from textual.pilot import Pilot

from app.core.vault import VaultView
from app.errors import CarboyError
from app.widgets.masked import Masked
from tests.tui.scripted import ScriptedClient, app
from tests.tui.waiting import ready, text_of, until

VALUE = "sk-test-3f9a1c77d2e84b0c9d5e6f70"
SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


async def opened(pilot: Pilot[Any], shows: str = "GITEA_TOKEN") -> None:
    await ready(pilot)
    await pilot.press("S")
    await until(pilot, lambda: shows in text_of(pilot), shows)


async def test_names_and_times_and_a_new_one(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await opened(pilot)
        assert "used 12m" in text_of(pilot)
        await pilot.press("n", *"9bad", "enter")
        await until(pilot, lambda: "begins with a letter" in text_of(pilot), "complaint")
        await pilot.press(*["backspace"] * 4, *"NEW_ONE", "enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, Masked), "the value's field")
        await pilot.press(*VALUE)
        assert VALUE not in text_of(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "NEW_ONE" in text_of(pilot) and len(pilot.app.screen_stack) == 2, "listed")
        assert client.given == [("NEW_ONE", {"value": VALUE})]


async def test_set_anew_and_removed_after_a_question(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, Masked), "the value's field")
        await pilot.press("escape", "d")
        await until(pilot, lambda: "nobody can read it back" in text_of(pilot), "question")
        await pilot.press("escape")
        assert client.calls == []
        await pilot.press("d")
        await until(pilot, lambda: "nobody can read it back" in text_of(pilot), "question")
        await pilot.press("y")
        await until(pilot, lambda: ("remove_secret", "ANTHROPIC_API_KEY") in client.calls, "removed")


async def test_bottles_that_keep_the_former_value_are_named() -> None:
    client = ScriptedClient()
    client.vault_now = client.vault_now.model_copy(update={"keep": ("one", "two")})
    async with app(client).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("n", *"TOKEN", "enter", *VALUE, "enter")
        await until(
            pilot, lambda: "one, two go on with the value from before: carboy give SLUG TOKEN" in said(pilot), "told"
        )


def said(pilot: Pilot[None]) -> list[str]:
    return [item.message for item in pilot.app._notifications]


async def test_without_a_keyring_it_says_how_to_get_one() -> None:
    client = ScriptedClient()
    client.vault_now = VaultView(hint="There is no system keyring here. Install one")
    client.fail["set_secret"] = CarboyError("There is no system keyring here", "Install one", "no_keyring")
    async with app(client).run_test(size=(80, 24)) as pilot:
        await opened(pilot, "Install one")
        await pilot.press("n", *"TOKEN", "enter", *VALUE, "enter")
        await until(pilot, lambda: "Could not keep it" in text_of(pilot), "refused")
        assert VALUE not in text_of(pilot)


async def test_typed_at_the_preflight_into_the_keyring(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("n")
        await until(pilot, lambda: "developer" in text_of(pilot), "agents")
        for key, shows in (("enter", "net-read"), ("enter", "Name"), ("ctrl+s", "for this launch alone")):
            await pilot.press(key)
            await until(pilot, lambda shows=shows: shows in text_of(pilot), shows)
        await pilot.press("ctrl+k")
        await until(pilot, lambda: "kept in the keyring" in text_of(pilot), "kept")
        await pilot.press(*VALUE, "enter")
        await until(pilot, lambda: client.given != [], "given")
        assert client.given == [("ANTHROPIC_API_KEY", {"value": VALUE})]
        assert not client.requests[-1].secrets
