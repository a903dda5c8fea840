"""Notices in the app: toasts, the badge, the centre, and the desktop while the terminal is not in front."""

from typing import Any

import pytest
from textual import events

from app import desktop
from app.core.notices import Notice
from tests.tui.scripted import NOW, ScriptedClient, app, asked
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def notice(number: int = 1, **more: Any) -> Notice:
    base = {"id": number, "at": NOW - 60, "about": "canary", "level": "error", "slug": "impl-1"}
    return Notice(**{**base, "title": "impl-1 leaks", "text": "its canary was on the way to evil.example", **more})


async def test_a_notice_is_a_toast_a_badge_and_a_row(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        client.tell(notice())
        await until(pilot, lambda: "evil.example" in text_of(pilot), "toast")
        if size[0] > 100:
            await until(pilot, lambda: "1 unread" in text_of(pilot), "badge")
        await pilot.press("N")
        await until(pilot, lambda: "1 unread of 1" in text_of(pilot), "centre")
        await pilot.press("m")
        await until(pilot, lambda: "0 unread of 1" in text_of(pilot), "read")
        assert ("read_notices", 1) in client.calls
        await pilot.press("c")
        await until(pilot, lambda: "Clear all notices?" in text_of(pilot), "question")
        await pilot.press("y")
        await until(pilot, lambda: "Nothing has happened" in text_of(pilot), "cleared")


async def test_what_this_window_ends_is_said_once_and_what_others_end_as_well(size: tuple[int, int]) -> None:
    def ended(number: int, slug: str, text: str = "") -> Notice:
        title = f"{slug} was stopped"
        return notice(number, about="done", level="info", slug=slug, title=title, text=text)

    client = ScriptedClient()
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        slug = pilot.app.screen.slug  # type: ignore[attr-defined]
        await pilot.press("K", "y")
        await until(pilot, lambda: ("kill", slug) in client.calls, "killed")
        client.tell(ended(1, slug))
        client.tell(ended(2, "other"))
        await until(pilot, lambda: "other was stopped" in text_of(pilot), "what others ended")
        assert f"{slug}: killed" in text_of(pilot)
        assert f"{slug} was stopped" not in text_of(pilot)
        client.tell(ended(3, slug, "again"))
        await until(pilot, lambda: f"{slug} was stopped" in text_of(pilot), "the next end of it")
        assert [item.id for item in pilot.app.notices] == [3, 2, 1]  # type: ignore[attr-defined]


async def test_enter_goes_to_the_card_or_the_bottle(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    client.proposals_now = [asked()]
    client.notices_now = [
        notice(2, about="approval", level="warning", title="impl-1 waits", proposal="p-000001"),
        notice(1, slug="docs", title="docs is done", about="done", level="agent_complete"),
    ]
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("N")
        await until(pilot, lambda: "impl-1 waits" in text_of(pilot), "centre")
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "ProposalScreen", "the card")
        await pilot.press("escape", "down", "enter")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "main")
        assert pilot.app.screen.slug == "docs"  # type: ignore[attr-defined]


async def test_a_flood_shows_few_toasts() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(120, 40), notifications=True) as pilot:
        await ready(pilot)
        for number in range(1, 101):
            client.tell(notice(number, text=f"number {number}"))
        await until(pilot, lambda: len(pilot.app.notices) == 100, "all")  # type: ignore[attr-defined]
        await pilot.pause()
        assert len(pilot.app._notifications) <= 5


@pytest.mark.parametrize("setting", ["auto", "off"])
async def test_the_desktop_hears_it_while_the_terminal_is_not_in_front(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    told: list[str] = []

    async def tell(app: Any, title: str, text: str) -> None:
        told.append(title)

    monkeypatch.setattr(desktop, "tell", tell)
    client = ScriptedClient()
    line = client.settings_now[0].model_copy(update={"path": "desktop_notifications", "value": setting})
    client.settings_now = (*client.settings_now, line)
    async with app(client).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        client.tell(notice(1, title="in front"))
        await until(pilot, lambda: len(pilot.app.notices) == 1, "first")  # type: ignore[attr-defined]
        pilot.app.post_message(events.AppBlur())
        await until(pilot, lambda: not pilot.app.app_focus, "blurred")
        client.tell(notice(2, title="elsewhere"))
        await until(pilot, lambda: len(pilot.app.notices) == 2, "second")  # type: ignore[attr-defined]
        await pilot.pause()
        assert told == (["elsewhere"] if setting == "auto" else [])
