"""What agents say is in the index as it happens, and no bottle can fill it or hold the others up."""

from collections.abc import AsyncIterator

import pytest

from app.controller import searching
from app.controller.searching import Searching
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.providers.conversation import Entry
from app.store.search import SearchIndex
from tests.conftest import until
from tests.controller.desk import TestDesk


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def room(paths: Paths) -> AsyncIterator[tuple[Searching, TestDesk, Clock]]:
    private_folder(paths.state)
    clock = Clock()
    one = Searching(SearchIndex(paths.state / "search.db"), clock)
    await one.start()
    yield one, TestDesk(paths), clock
    await one.close()


def said(text: str, at: float = 1.0, **more: str) -> Entry:
    return Entry("assistant", text, at, conversation="c1", **more)


async def test_what_is_told_is_found_and_what_says_nothing_is_left_out(
    room: tuple[Searching, TestDesk, Clock],
) -> None:
    one, desk, _ = room
    dev = desk.add("dev")
    call = Entry("call", '{"command": "make heliotrope"}', 2.0, tool="Bash", conversation="c1")
    one.told(dev, [said("a heliotrope"), call, Entry("ends", at=3.0), Entry("about", model="opus")])
    await until(lambda: _found(one, "heliotrope"))
    found = (await one.index.find("heliotrope")).hits
    assert {(hit.kind, hit.tool, hit.slug, hit.session_id) for hit in found} == {
        ("assistant", "", "dev", "id-dev"),
        ("call", "Bash", "dev", "id-dev"),
    }
    assert [hit.kind for hit in (await one.index.find("bash")).hits] == ["call"]


async def _found(one: Searching, text: str, times: int = 1) -> bool:
    return len((await one.index.find(text)).hits) >= times


async def test_one_that_writes_without_end_is_left_out_the_others_are_not(
    room: tuple[Searching, TestDesk, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, desk, clock = room
    monkeypatch.setattr(searching, "BURST", 5000)
    monkeypatch.setattr(searching, "RATE", 100)
    loud, quiet = desk.add("loud"), desk.add("quiet")
    for number in range(50):
        one.told(loud, [said(f"noise {number} " + "x" * 300, number)])
    one.told(quiet, [said("music")])
    await until(lambda: _found(one, "music"))
    hits = (await one.index.find("noise", limit=200)).hits
    assert 5 <= len(hits) <= 10
    clock.now += 60
    one.told(loud, [said("noise again", 99)])
    await until(lambda: _found(one, "noise again"))


async def test_what_waits_is_bounded_in_all(
    room: tuple[Searching, TestDesk, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, desk, _ = room
    monkeypatch.setattr(searching, "MOST_WAITING", 1000)
    dev = desk.add("dev")
    one.told(dev, [said(f"word {number} " + "x" * 200, number) for number in range(50)])
    await until(lambda: _found(one, "word"))
    assert len((await one.index.find("word")).hits) < 5


async def test_one_that_fills_what_waits_leaves_room_for_the_others(
    room: tuple[Searching, TestDesk, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, desk, _ = room
    monkeypatch.setattr(searching, "MOST_WAITING", 100_000)
    loud, quiet = desk.add("loud"), desk.add("quiet")
    for number in range(500):
        one.told(loud, [said(f"noise {number} " + "x" * 300, number)])
    one.told(quiet, [said(f"music {number}", number) for number in range(50)])
    await until(lambda: _found(one, "music", 50))
    assert 50 <= len((await one.index.find("noise", limit=200)).hits) <= 100
    assert not one._sizes


async def test_an_index_that_fails_disturbs_nobody(
    room: tuple[Searching, TestDesk, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, desk, _ = room
    add, failing = one.index.add, True

    async def fails(*given: object) -> int:
        if failing:
            raise CarboyError("The search index failed: disk I/O error", "", "search_off")
        return await add(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(one.index, "add", fails)
    dev = desk.add("dev")
    one.told(dev, [said("lost")])
    await until(lambda: not one._waiting)
    failing = False
    one.told(dev, [said("kept", 2.0)])
    await until(lambda: _found(one, "kept"))


async def test_what_the_index_cannot_take_disturbs_nobody(room: tuple[Searching, TestDesk, Clock]) -> None:
    """Of a provider's reader that lets anything through: the next bottle's words are found all the same."""
    one, desk, _ = room
    odd = said("odd")
    for name, value in (("tool", "\ud800"), ("conversation", "\udcff"), ("at", float("nan"))):
        object.__setattr__(odd, name, value)
        one.told(desk.add(f"loud-{name}"), [odd])
    one.told(desk.add("quiet"), [said("music")])
    await until(lambda: _found(one, "music"))
