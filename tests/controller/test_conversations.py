"""A running agent's own record is followed: after signs of life, once more when it falls silent, and at its end."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.controller import conversations
from app.controller.conversations import Following
from app.controller.session import Session
from app.core import bottles
from app.core.health import attention
from app.core.model import SidecarHealth
from app.providers.conversation import Entry
from app.tasks import cancel_and_wait, spawn
from tests.conftest import until
from tests.controller.standin import view
from tests.providers.records import RECORDS, written


class Seen:
    """A session of Pi, and what was shown and told of it."""

    def __init__(self, folder: Path, provider: str = "pi") -> None:
        self.shown: dict[str, Any] = {}
        self.told: list[Entry] = []
        self.active = asyncio.Event()
        self.view = SimpleNamespace(provider=provider, title="")
        self.session = cast(
            Session,
            SimpleNamespace(
                slug="dev", state_folder=folder, view=self.view, active=self.active,
                show=lambda **changes: self.shown.update(changes),
            ),
        )  # fmt: skip

    def following(self, *, launched: bool = False) -> Following:
        return Following(self.session, lambda session, entries: self.told.extend(entries), launched=launched)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "GATHER", 0.01)
    monkeypatch.setattr(conversations, "SETTLE", 0.05)
    monkeypatch.setattr(conversations, "STILL", 0.04)


async def test_it_is_read_after_a_sign_of_life_and_once_more_in_silence(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    task = spawn(seen.following().run(), name="test")
    await until(lambda: seen.shown.get("doing") == "idle")
    path = written(tmp_path / "home", "pi")
    seen.active.set()
    await until(lambda: seen.shown["doing"] == "waiting")
    assert (seen.shown["turns"], seen.shown["tool_calls"], seen.shown["conversation"][:8]) == (1, 1, "01a216b1")
    assert [one.kind for one in seen.told] == ["user", "assistant", "call", "result", "assistant", "ends"]
    with path.open("a") as file:
        file.write('{"type": "message", "message": {"role": "user", "content": [{"text": "more"}]}}\n')
    seen.active.set()
    await until(lambda: seen.shown["doing"] == "working")
    await cancel_and_wait(task)


@pytest.mark.parametrize(("launched", "doing"), [(True, "waiting"), (False, "working")])
async def test_nobody_works_on_what_a_former_start_left(tmp_path: Path, launched: bool, doing: str) -> None:
    """It was killed while a tool ran, and goes on. A controller that starts again may meet one at work."""
    seen = Seen(tmp_path)
    path = written(tmp_path / "home", "pi", -2)
    task = spawn(seen.following(launched=launched).run(), name="test")
    await until(lambda: len(seen.told) > 2)
    seen.active.set()
    await until(lambda: not seen.active.is_set())
    await until(lambda: seen.shown["doing"] == doing)
    with path.open("a") as file:
        file.write('{"type": "message", "message": {"role": "user", "content": [{"text": "more"}]}}\n')
    seen.active.set()
    await until(lambda: seen.shown["doing"] == "working")
    await cancel_and_wait(task)


@pytest.mark.parametrize(
    ("provider", "title", "doing"),
    [
        ("claude", "✳ Claude Code", "waiting"),  # it asks whether it may
        ("claude", "◐ Claude Code", "working"),
        ("claude", "", "working"),
        ("codex", "[ ! ] Action Required | ask me | proj", "waiting"),
        ("codex", "⠹ ask me | proj", "working"),
        ("gemini", "✋  Action Required (proj)   ", "waiting"),
        ("gemini", "◇  Ready (proj)   ", "waiting"),  # an error, of which it writes nothing down
        ("gemini", "✦  Working… (proj)   ", "working"),
        ("pi", "✳ Claude Code", "working"),
    ],
)
async def test_a_title_tells_what_is_not_written_down(tmp_path: Path, provider: str, title: str, doing: str) -> None:
    seen = Seen(tmp_path, provider)
    said = next(index for index, record in enumerate(RECORDS[provider]) if "echo hi" in str(record))
    written(tmp_path / "home", provider, said + 1)
    seen.view.title = title
    await seen.following().last()
    assert seen.shown["doing"] == doing


@pytest.mark.parametrize(
    ("title", "doing", "asks"),
    [
        ("✦  Working… (proj)   ", "working", False),  # a tool runs, which is written down once it has ended
        ("⏲  Working… (proj)   ", "working", False),
        ("✋  Action Required (proj)   ", "waiting", True),
        ("◇  Ready (proj)   ", "waiting", False),
    ],
)
async def test_what_gemini_says_before_a_tool_ends_no_turn(tmp_path: Path, title: str, doing: str, asks: bool) -> None:
    seen = Seen(tmp_path, "gemini")
    said = next(index for index, record in enumerate(RECORDS["gemini"]) if record.get("content") == "I will.")
    written(tmp_path / "home", "gemini", said + 1)
    seen.view.title = title
    await seen.following().last()
    assert (seen.shown["doing"], seen.shown["asks_user"]) == (doing, asks)


async def test_one_that_stands_still_amid_its_turn_asks_once_title_and_record_agree(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "claude")
    shown: list[tuple[str, bool]] = []
    seen.session.show = lambda **now: shown.append((now["doing"], now["asks_user"]))
    said = next(index for index, record in enumerate(RECORDS["claude"]) if "echo hi" in str(record))
    written(tmp_path / "home", "claude", said + 1)
    seen.view.title = "✳ Claude Code"
    task = spawn(seen.following().run(), name="test")
    await until(lambda: len(shown) == 2)
    assert shown == [("waiting", False), ("waiting", True)]
    await cancel_and_wait(task)


async def test_a_title_changes_nothing_where_nobody_has_spoken(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "claude")
    seen.view.title = "✳ Claude Code"
    await seen.following().last()
    assert seen.shown["doing"] == "idle"


async def test_what_came_at_the_end_is_read(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    following = seen.following()
    written(tmp_path / "home", "pi")
    await following.last()
    assert seen.shown["turns"] == 1


async def test_one_that_keeps_no_record_is_left_alone(tmp_path: Path) -> None:
    for provider in ("shell", "gone"):
        seen = Seen(tmp_path, provider)
        await asyncio.wait_for(seen.following().run(), 5)
        await seen.following().last()
        assert seen.shown == {}


async def test_a_reader_that_breaks_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(tmp_path)
    following = seen.following()
    monkeypatch.setattr(following._reader, "read", lambda: 1 / 0)
    await following.last()
    assert seen.shown == {}


def test_who_waits_for_somebody_asks_for_attention() -> None:
    healthy = SidecarHealth(state="healthy")
    scores = [attention("running", healthy, doing=doing) for doing in ("waiting", "working", "", "idle")]
    assert scores == [50, 10, 10, 0]
    assert attention("failed", healthy, doing="waiting") == 90
    assert attention("ended", healthy, doing="waiting") == 0
    assert attention("running", SidecarHealth(state="failed"), doing="idle") == 90


@pytest.mark.parametrize(
    ("doing", "word"), [("waiting", "waits"), ("idle", "idle"), ("working", "works"), ("", "works")]
)
def test_the_list_says_it(doing: str, word: str) -> None:
    running = view("dev").model_copy(update={"doing": doing, "sidecar": SidecarHealth(state="healthy")})
    assert bottles.mark(running).word == word
