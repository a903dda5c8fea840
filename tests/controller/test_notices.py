"""Notices: remembered, told once, and brought out by a real command and a real webhook within their bounds."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.controller import disk_room
from app.controller.events import Bus
from app.controller.notices import Notices
from app.controller.outlets import Outlets
from app.core.model import StreamEvent
from app.core.notices import Notice
from app.core.schema import Settings
from app.errors import CarboyError
from app.secrets import Located
from app.store.sqlite import SqliteStore
from sidecar.secret import Secret
from tests.conftest import until
from tests.controller.standin import view
from tests.tui.scripted import asked

SCRIPT = """
import json, os, sys
record = {"argv": sys.argv[1:], "env": dict(os.environ), "stdin": json.load(sys.stdin)}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(record) + "\\n")
"""


def notice(title: str = "dev waits", **more: Any) -> Notice:
    return Notice(**{"at": 1.0, "about": "approval", "level": "warning", "slug": "dev", "title": title, **more})


class Room:
    def __init__(self, store: SqliteStore) -> None:
        self.settings = Settings()
        self.store = store
        self.bus = Bus(store)
        self.outlets = Outlets(self._read, gather=0.05, limit=5.0)
        self.notices = Notices(store, self.bus, self.outlets)

    async def _read(self) -> Settings:
        return self.settings


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    store = SqliteStore(tmp_path / "state" / "carboy.db")
    await store.open()
    made = Room(store)
    yield made
    await made.notices.close()
    await store.close()


def recorder(tmp_path: Path) -> tuple[tuple[str, ...], Path]:
    script, out = tmp_path / "tell.py", tmp_path / "told"
    script.write_text(SCRIPT)
    return (sys.executable, str(script), str(out)), out


def told(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


async def test_the_command_gets_words_by_environment_and_stdin(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-not-for-commands")
    argv, out = recorder(tmp_path)
    room.settings = Settings(notify_command=argv)
    room.notices.proposal(asked(host="$(touch pwned); --help").model_dump(mode="json"))
    await until(lambda: told(out))
    (one,) = told(out)
    assert one["argv"] == [str(out)], "a hostile name is never an argument"
    assert one["env"]["CARBOY_ABOUT"] == "approval"
    assert "$(touch pwned)" in one["env"]["CARBOY_TEXT"]
    assert "ANTHROPIC_API_KEY" not in one["env"]
    assert one["stdin"][0]["proposal"] == "p-000001"


async def test_what_comes_together_goes_together_and_a_card_rings_once(room: Room, tmp_path: Path) -> None:
    argv, out = recorder(tmp_path)
    room.settings = Settings(notify_command=argv)
    for number in range(5):
        room.notices.proposal(asked(f"p-{number:06}").model_dump(mode="json"))
        room.notices.proposal(asked(f"p-{number:06}", asked=2).model_dump(mode="json"))
    await until(lambda: sum(len(item["stdin"]) for item in told(out)) == 5)
    assert len(told(out)) <= 2
    assert len(await room.notices.listed()) == 5


async def test_a_flood_of_canaries_is_one_notice(room: Room) -> None:
    events = [
        StreamEvent(seq=n, at=1.0, kind="egress", slug="dev", data={"code": "canary", "host": f"h{n}"})
        for n in range(1, 500)
    ]
    with room.bus.subscribe() as listening:
        room.notices.events("", events)
        await until(lambda: len(listening._queue) == 1)
    assert [item.about for item in await room.notices.listed()] == ["canary"]


async def test_a_cutoff_is_told_of_soon_after_a_threshold(room: Room) -> None:
    def said(number: int, text: str) -> StreamEvent:
        return StreamEvent(
            seq=number, at=1.0, kind="notice", slug="dev", data={"code": "budget_threshold", "text": text}
        )

    texts = ["80 % of it is used", "it is used up: its requests to the model are refused", "80 % of it is used"]
    room.notices.events("dev", [said(number, text) for number, text in enumerate(texts, 1)])
    await until(room.notices.listed)
    await room.notices.close()
    assert [found.text for found in await room.notices.listed()] == [texts[1], texts[0]]


async def test_only_what_the_settings_name_goes_out(room: Room, tmp_path: Path) -> None:
    argv, out = recorder(tmp_path)
    room.settings = Settings(notify_command=argv, notify_on=("failed",))
    room.notices.say(notice())
    room.notices.bottle(view("dev"))
    room.notices.bottle(view("dev", state="failed", exit_code=2))
    await until(lambda: told(out))
    assert [item["about"] for item in told(out)[0]["stdin"]] == ["failed"]
    assert len(await room.notices.listed()) == 2


async def test_a_command_that_hangs_is_killed_with_its_children(room: Room, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    room.outlets._limit = 1.0
    room.settings = Settings(notify_command=("sh", "-c", f"sleep 300 & echo $! > {pids}; wait"))
    room.notices.say(notice())
    await until(lambda: room.outlets.fault)
    assert "did not end within" in room.outlets.fault
    child = int(pids.read_text())
    await until(lambda: not running(child))


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("argv", "says"), [(("/does/not/exist",), "No such file"), (("sh", "-c", "exit 7"), "ended with code 7")]
)
async def test_a_command_that_fails_is_told_until_one_succeeds(room: Room, argv: tuple[str, ...], says: str) -> None:
    room.settings = Settings(notify_command=argv)
    room.notices.say(notice("one"))
    await until(lambda: says in room.outlets.fault)
    room.settings = Settings(notify_command=("true",))
    room.notices.say(notice("two"))
    await until(lambda: not room.outlets.fault)


async def test_the_webhook(room: Room) -> None:
    got: list[Any] = []
    status = 200

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    room.settings = Settings(notify_webhook=f"http://127.0.0.1:{port}/hook")
    assert await room.outlets.deliver([notice()]) == []
    assert got[0]["text"] == got[0]["content"] == "dev waits"
    assert got[0]["notices"][0]["slug"] == "dev"
    status = 302
    assert await room.outlets.deliver([notice()]) == ["notify_webhook was answered with 302"]
    await runner.cleanup()
    (fault,) = await room.outlets.deliver([notice()])
    assert fault.startswith("notify_webhook ")


async def test_a_webhook_that_is_a_secret_which_is_missing(room: Room) -> None:
    room.settings = Settings.model_validate({"notify_webhook": {"secret": "HOOK"}})
    assert await room.outlets.deliver([notice()]) == ["notify_webhook needs the secret HOOK"]


@pytest.mark.parametrize("address", ["http://hooks.example/T0/B0", "no address"])
async def test_a_secret_that_is_no_private_address_is_not_asked_and_not_quoted(
    room: Room, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    found = {"HOOK": Located("keyring", Secret(address))}
    monkeypatch.setattr("app.controller.outlets.locate", lambda names: found)
    room.settings = Settings.model_validate({"notify_webhook": {"secret": "HOOK"}})
    (fault,) = await room.outlets.deliver([notice()])
    assert fault == "notify_webhook needs an address https://host/path; the secret HOOK holds another"


@pytest.mark.parametrize("good", ["https://hooks.example/x", "http://localhost:8080/x", "http://[::1]/x"])
def test_addresses_that_nobody_reads_on_the_way(good: str) -> None:
    assert Settings(notify_webhook=good).notify_webhook == good


@pytest.mark.parametrize(
    "bad",
    ["ftp://x/y", "https://user:pass@host/x", "host", "https://", "https://a b/", "http://hooks.example/x",
     "http://localhost.hooks.example/x", "http://10.0.0.1/x", "http://127.0.0.1@hooks.example/x"],
)  # fmt: skip
def test_addresses_that_are_none(bad: str) -> None:
    with pytest.raises(ValueError, match=r"webhook|password"):
        Settings(notify_webhook=bad)


async def test_a_store_that_fails_stops_no_notice(room: Room, tmp_path: Path) -> None:
    argv, out = recorder(tmp_path)
    room.settings = Settings(notify_command=argv)
    await room.store.close()
    room.notices.say(notice())
    await until(lambda: told(out))


async def test_what_waits_at_the_end_still_goes_out(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state" / "carboy.db")
    await store.open()
    room = Room(store)
    room.outlets._gather = 60.0
    argv, out = recorder(tmp_path)
    room.settings = Settings(notify_command=argv)
    room.outlets.send(notice())
    await asyncio.sleep(0)
    await room.notices.close()
    assert len(told(out)) == 1
    await store.close()


async def test_who_asks_and_leaves_again_and_again_is_told_of_in_few_notices(room: Room) -> None:
    """A canary's notice must not be pushed out of the list by it."""
    leak = StreamEvent(seq=1, at=1.0, kind="egress", slug="dev", data={"code": "canary", "host": "evil.example"})
    room.notices.events("", [leak])
    for number in range(500):
        room.notices.proposal(asked(f"p-{number:06}", slug="dev").model_dump(mode="json"))
    room.notices.proposal(asked("q-000001", slug="other").model_dump(mode="json"))
    await until(lambda: room.notices._telling.done())
    listed = await room.notices.listed()
    assert [(item.slug, item.about) for item in listed] == [("other", "approval"), *[("dev", "approval")] * 6,
                                                            ("dev", "canary")]  # fmt: skip
    assert listed[1].title == "dev asks a lot"


async def test_a_canary_is_one_notice_whatever_tells_of_it(room: Room) -> None:
    """The request that was stopped, and the sidecar's own word."""
    said = {"code": "canary_leaked", "level": "error", "text": "the canary of this bottle was on its way out"}
    stopped = {"code": "canary_leaked", "host": "evil.example", "decision": "deny"}
    room.notices.events("", [StreamEvent(seq=1, at=1.0, kind="notice", slug="dev", data=said)])
    room.notices.events("", [StreamEvent(seq=2, at=1.0, kind="egress", slug="dev", data=stopped)])
    await until(lambda: room.notices._telling.done())
    assert [(item.about, item.title) for item in await room.notices.listed()] == [("canary", "dev leaks")]


async def test_what_cannot_be_kept_is_listed_and_kept_later(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notice of a full disk is one that the full disk does not take."""

    async def full(*_: Any) -> Notice:
        raise CarboyError("The disk is full", "", "disk_full")

    room.notices.say(notice("first"))
    await until(lambda: room.notices._telling.done())
    with monkeypatch.context() as patch:
        patch.setattr(room.store, "add_notice", full)
        for title in ("full", "still"):
            room.notices.say(notice(title))
        await until(lambda: room.notices._telling.done())
        assert [(item.title, item.id > 0) for item in await room.notices.listed()] == [
            ("still", False), ("full", False), ("first", True),
        ]  # fmt: skip
    room.notices.say(notice("room"))
    await until(lambda: room.notices._telling.done())
    assert [item.title for item in await room.store.notices()] == ["room", "still", "full", "first"]
    assert len(await room.notices.listed()) == 4


async def test_a_disk_on_which_sidecars_stop_is_told_once_and_when_it_has_room_again(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, bottles = 1000, list[object]()
    monkeypatch.setattr(disk_room, "_free", lambda _: free)
    disk = disk_room.DiskRoom(tmp_path, lambda: bottles, room.notices, seconds=0.001)
    disk.start()
    try:
        await asyncio.sleep(0.02)
        assert disk.warning == ""  # nobody needs it
        bottles.append(1)
        await until(lambda: disk.warning)
        assert "Nothing leaves any bottle" in disk.warning
        bottles.clear()  # what was told is taken back also where nobody needs the room any more
        free = 100_000_000
        await until(lambda: not disk.warning)
        await asyncio.sleep(0.02)
        told = [(item.about, item.level, item.title) for item in await room.notices.listed()]
        assert told == [
            ("disk", "info", "The disk has room again"), ("disk", "error", "Nothing leaves any bottle"),
        ]  # fmt: skip
    finally:
        await disk.close()
