"""The search index: what is found, in what order, and that nothing a bottle writes breaks or fills it."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import CarboyError, NotFound
from app.store import search
from app.store.search import SearchIndex, Source, Words, question

DEV = Source("s1", "dev", "dev", "developer", "claude")
OPS = Source("s2", "ops", "ops", "", "codex")


def said(text: str, at: float = 1.0, kind: str = "assistant", tool: str = "", talk: str = "c1") -> Words:
    return Words(f"{talk} {kind} {at}", at, kind, tool, talk, text)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SearchIndex]:
    one = SearchIndex(tmp_path / "search.db")
    await one.open()
    yield one
    await one.close()


async def test_every_word_must_be_there_and_beginnings_do(index: SearchIndex) -> None:
    await index.add(DEV, [said("The retry loop waits too long", 1), said("A loop of something else", 2)])
    found = await index.find("retr LOOP")
    assert [(hit.slug, hit.label, hit.agent, hit.provider, hit.at) for hit in found.hits] == [
        ("dev", "dev", "developer", "claude", 1.0)
    ]
    (hit,) = found.hits
    assert [hit.snippet[first:last] for first, last in hit.marks] == ["retry", "loop"]
    assert len((await index.find("loop")).hits) == 2
    assert (await index.find('"loop retry"')).hits == ()
    assert len((await index.find('"retry loop" waits')).hits) == 1
    assert (await index.find("nothing")).hits == ()


async def test_names_with_signs_in_them_are_found(index: SearchIndex) -> None:
    await index.add(DEV, [said("edit src/retry_loop.py:42", kind="call", tool="Edit"), said("Größe über alles", 2)])
    assert len((await index.find("retry_loop.py")).hits) == 1
    assert len((await index.find("src/retry")).hits) == 1
    assert len((await index.find("grosse")).hits) == 0
    assert len((await index.find("größe")).hits) == len((await index.find("Große")).hits) == 1


async def test_one_bottle_and_a_limit(index: SearchIndex) -> None:
    await index.add(DEV, [said(f"word {n}", n) for n in range(5)])
    await index.add(OPS, [said("word elsewhere", talk="c2")])
    assert {hit.slug for hit in (await index.find("word", slug="ops")).hits} == {"ops"}
    few = await index.find("word", limit=3)
    assert (len(few.hits), few.more) == (3, True)
    assert not (await index.find("word", limit=6)).more


async def test_what_is_read_again_is_there_once(index: SearchIndex, tmp_path: Path) -> None:
    entries = [said("one thing", 1), said("another thing", 2)]
    assert await index.add(DEV, entries) == 2
    assert await index.add(DEV, entries) == 0
    resumed = Source("s9", "dev", "dev", "developer", "claude")
    assert await index.add(resumed, [*entries, said("a third thing", 3)]) == 1
    assert len((await index.find("thing")).hits) == 3
    again = SearchIndex(tmp_path / "search.db")
    await again.open()
    assert await again.add(DEV, entries) == 0
    assert len((await again.find("thing")).hits) == 3
    await again.close()


async def test_what_was_said_around_it(index: SearchIndex) -> None:
    await index.add(DEV, [said(f"step {n}\nof many", n) for n in range(1, 20)])
    await index.add(DEV, [said("step of another talk", 10, talk="c2")])
    (hit,) = [hit for hit in (await index.find("10", limit=50)).hits if hit.conversation == "c1"]
    passage = await index.around(hit.id)
    assert [entry.at for entry in passage.entries] == [6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert [entry.text for entry in passage.entries if entry.here] == ["step 10\nof many"]
    with pytest.raises(NotFound):
        await index.around(10_000)


@pytest.mark.parametrize("text", ["", " ", '"', '""', "* - ( ) :", "…"])
def test_nothing_to_look_for(text: str) -> None:
    with pytest.raises(CarboyError, match="nothing to search for"):
        question(text)


@pytest.mark.parametrize(
    "text", ['a"b', "NOT OR AND NEAR(", "text:word", "a* b^2 {c}", "'; DROP TABLE entries; --", "x" * 5000, "w " * 400]
)
async def test_a_question_is_words_whatever_it_holds(index: SearchIndex, text: str) -> None:
    await index.add(DEV, [said("word")])
    await index.find(text)
    assert len((await index.find("word")).hits) == 1


async def test_hostile_texts(index: SearchIndex) -> None:
    texts = [
        "needle \x02 mark \x03\x1b[31m",
        "needle \ud800 half",
        "needle" + "x" * 16_000,
        "needle [bold]x[/bold]",
        "\0needle",
    ]
    assert await index.add(DEV, [said(text, at) for at, text in enumerate(texts)]) == len(texts)
    hits = (await index.find("needle")).hits
    assert len(hits) == len(texts)
    for hit in hits:
        assert len(hit.snippet) <= search.MAX_SNIPPET
        assert not set(hit.snippet) & set("\0\x02\x03\x1b")
        assert all(hit.snippet[first:last].startswith("needle") for first, last in hit.marks)


async def test_a_session_has_a_bound_and_so_have_all(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    await index.add(OPS, [said("word of the quiet one", talk="c2")])
    monkeypatch.setattr(search, "MAX_OF_SESSION", 10_000)
    for start in range(0, 300, 20):
        await index.add(DEV, [said(f"word{n} " + "x" * 200, n) for n in range(start, start + 20)])
    assert (await index.find("quiet")).hits
    assert (await index.find("word299")).hits
    assert not (await index.find("word5")).hits
    monkeypatch.setattr(search, "MAX_BYTES", 5_000)
    await index.add(DEV, [said("word300 " + "x" * 200, 300)])
    assert not (await index.find("quiet")).hits
    assert (await index.find("word300")).hits


async def test_what_could_not_be_added_takes_no_room(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_BYTES", 5_000)
    await index.add(OPS, [said("word of the quiet one", talk="c2")])
    for number in range(10):
        with pytest.raises(CarboyError, match="failed"):
            await index.add(DEV, [said(f"word{number} " + "x" * 1000, number), said("no time", float("nan"))])
    await index.add(DEV, [said("word", 1000)])
    assert len((await index.find("word")).hits) == 2


async def test_a_purged_bottle_is_forgotten(index: SearchIndex) -> None:
    await index.add(DEV, [said("word")])
    await index.add(Source("s7", "dev", "dev", "", "claude"), [said("word again", 2)])
    await index.add(OPS, [said("word elsewhere", talk="c2")])
    await index.forget("dev", "s7")
    assert {hit.session_id for hit in (await index.find("word")).hits} == {"s7", "s2"}
    await index.forget("dev")
    assert {hit.slug for hit in (await index.find("word")).hits} == {"ops"}


async def test_a_question_without_end_is_given_up(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    await index.add(DEV, [said(f"word {n} " * 20, n) for n in range(3000)])
    monkeypatch.setattr(search, "SECONDS", 0.0)
    with pytest.raises(CarboyError, match="too long"):
        await index.find("word")


async def test_a_broken_index_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    path.write_bytes(b"not a database at all" * 500)
    one = SearchIndex(path)
    await one.open()
    await one.add(DEV, [said("word")])
    assert (await one.find("word")).hits
    assert path.stat().st_mode & 0o077 == 0
    await one.close()


async def test_without_full_text_search_all_else_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("no such module: fts5")

    monkeypatch.setattr(search, "prepare", without)
    one = SearchIndex(tmp_path / "search.db")
    await one.open()
    with pytest.raises(CarboyError, match="no such module") as caught:
        await one.find("word")
    assert caught.value.code == "search_off"
    await one.close()
