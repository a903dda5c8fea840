"""The learning screen: it asks host by host, shows names for what they are, and writes what was taken in."""

import pytest

from app.core.learning import learn
from tests.tui.scripted import ScriptedClient, app
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


async def test_asks_host_by_host_and_writes_the_file(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("L")
        await until(pilot, lambda: "index.crates.io" in text_of(pilot), "hosts")
        assert "looks like github.com, and is not" in text_of(pilot)
        await pilot.press("w")
        await until(pilot, lambda: "Take a host in first" in text_of(pilot), "nothing taken yet")
        await pilot.press("y", "n", "w")
        await until(pilot, lambda: "A new bottle file" in text_of(pilot), "the file")
        assert "- host: index.crates.io" in text_of(pilot)
        assert "g1thub" not in str(pilot.app.screen.query("VerticalScroll Static").first().render())
        await pilot.press("enter")
        await until(pilot, lambda: any(call[0] == "save_learned" for call in client.calls), "written")
        assert client.calls[-1] == (
            "save_learned",
            client.calls[-1][1],
            ("index.crates.io",),
            f"learned-{client.calls[-1][1]}",
        )


async def test_nothing_to_learn() -> None:
    client = ScriptedClient()
    client.learned_now = lambda slug: learn(slug, [])
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("L")
        await until(pilot, lambda: "Nothing was refused" in text_of(pilot), "empty")
        offered = text_of(pilot).splitlines()[-1]
        assert offered.split() == ["esc", "close"], "no key that does nothing"
        await pilot.press("w")
        await pilot.pause()
        assert "Take a host in" not in text_of(pilot)


async def test_space_takes_a_host_in_and_leaves_it_out_again(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("L")
        await until(pilot, lambda: "index.crates.io" in text_of(pilot), "hosts")
        await pilot.press("space", "up", "space", "w")  # it goes on to the next host
        await until(pilot, lambda: "Take a host in first" in text_of(pilot), "left out again")
        await pilot.press("up", "space", "w")
        await until(pilot, lambda: "A new bottle file" in text_of(pilot), "the file")
        await pilot.press("enter")
        await until(pilot, lambda: any(call[0] == "save_learned" for call in client.calls), "written")
        assert client.calls[-1][2] == ("index.crates.io",)
