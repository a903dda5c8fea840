"""Searching transcripts in the app: as one types, by keys alone, and everything from bottles drawn as text."""

import pytest

from app.core.found import Found
from app.errors import CarboyError
from tests.tui.scripted import ScriptedClient, app
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


async def test_found_as_one_types_read_on_and_gone_to(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("slash", *"retry")
        await until(pilot, lambda: "old-one" in text_of(pilot), "hits")
        assert "failing test, then the retry loop" in text_of(pilot)
        assert ("search", "retry") in client.calls
        assert len(client.calls) < 5, "it is not asked at every key"
        await pilot.press("down", "enter")
        await until(pilot, lambda: "Mend the retry loop" in text_of(pilot), "what was said around it")
        assert "[red]x[/red]" in text_of(pilot)
        assert "[bold]soon[/bold]" in text_of(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "or more hits" in text_of(pilot), "back in the list")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "old-one is over" in text_of(pilot), "it is not there to go to")
        await pilot.press("up", "ctrl+g")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "main")
        assert pilot.app.screen.slug == "research-2"  # type: ignore[attr-defined]


async def test_it_is_in_the_palette() -> None:
    async with app().run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("colon", *"search")
        await until(pilot, lambda: "Search…" in text_of(pilot), "palette")
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "SearchScreen", "the screen")


async def test_nothing_found_nothing_asked_and_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("slash", *"zebra")
        await until(pilot, lambda: "Nothing found" in text_of(pilot), "no hit")
        asked = len(client.calls)
        await pilot.press(*["backspace"] * 5, "enter", "full_stop")
        await until(pilot, lambda: "live and past sessions" in text_of(pilot), "nothing to look for")
        assert len(client.calls) == asked

        async def fails(text: str, slug: str | None = None, limit: int = 50) -> Found:
            raise CarboyError("Transcripts cannot be searched: no such module: fts5", "", "search_off")

        monkeypatch.setattr(client, "search", fails)
        await pilot.press(*"retry")
        await until(pilot, lambda: "cannot be searched" in text_of(pilot), "why not")
