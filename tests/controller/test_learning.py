"""Learning on a real store: this session's refusals alone, however many, and a file that overwrites nothing."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cli.learn import _print
from app.controller.audit import Audit
from app.controller.learning import PAGE, Learning
from app.core.learning import LearnSave
from app.core.schema import Keep
from app.errors import CarboyError
from app.manifests.folders import read_bottle
from app.paths import Paths, private_folder
from app.store.base import NewEvent
from app.store.sqlite import SqliteStore
from sidecar.contract import Route
from tests.controller.desk import TestDesk


class Room:
    def __init__(self, paths: Paths, store: SqliteStore, audit: Audit) -> None:
        self.paths, self.store = paths, store
        self.desk = TestDesk(paths)
        self.session = self.desk.add("dev", Route(host="api.example.org"))
        self.learning = Learning(paths, store, audit, self.desk)

    async def refuse(self, session_id: str, *hosts: str) -> None:
        events = [
            NewEvent(
                f"{session_id}-{number}", time.time(), "egress",
                {"code": "host_not_allowed", "host": host, "port": 443, "path": "/x", "method": "GET"}, "deny", host,
            )
            for number, host in enumerate(hosts)
        ]  # fmt: skip
        await self.store.add_events("dev", session_id, events)


@pytest.fixture
async def room(paths: Paths) -> AsyncIterator[Room]:
    private_folder(paths.state)
    private_folder(paths.bottles)
    (paths.bottles / "dev.md").write_text("---\negress: {routes: [{host: api.example.org}]}\n---\n")
    store = SqliteStore(paths.database)
    await store.open()
    audit = Audit(paths, store)
    await audit.start()
    yield Room(paths, store, audit)
    await audit.close()
    await store.close()


async def test_this_session_alone_and_more_than_a_page(room: Room) -> None:
    await room.refuse("another", "other.example.org")
    await room.refuse(room.session.id, *["new.example.org"] * (PAGE + 10))
    report = await room.learning.report(room.session.view)
    assert [(item.host, item.times) for item in report.hosts] == [("new.example.org", PAGE + 10)]


async def test_it_says_that_older_refusals_were_dropped(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    await room.refuse(room.session.id, *(f"h{number}.example.org" for number in range(40)))
    await room.refuse("another", "other.example.org")
    assert (await room.learning.report(room.session.view)).dropped == 0
    await room.store.prune(time.time() + 400 * 86400, (), Keep())
    await room.refuse(f"{room.session.id}", "late.example.org")
    report = await room.learning.report(room.session.view)
    assert report.dropped == 40
    _print(report)
    told = capsys.readouterr().err
    assert "40 older lines were dropped to make room" in told
    assert "late.example.org: 1 time\n" in told


async def test_the_file_is_written_once_and_is_a_bottle(room: Room) -> None:
    await room.refuse(room.session.id, "new.example.org", "two.example.org")
    view = room.session.view.model_copy(update={"bottles": ("dev",)})
    file = await room.learning.save(view, LearnSave(hosts=("new.example.org",), name="learned-dev"))
    assert Path(file).stat().st_mode & 0o777 == 0o600
    made = read_bottle(room.paths, "learned-dev")
    assert made is not None
    assert [route.host for route in made.bottle.egress.routes] == ["new.example.org"]
    assert made.bottle.extends == ("dev",)
    with pytest.raises(CarboyError, match="there already"):
        await room.learning.save(view, LearnSave(hosts=("new.example.org",), name="learned-dev"))
    for hosts in (("api.example.org",), ("never-refused.example",)):
        with pytest.raises(CarboyError, match="none of the new hosts"):
            await room.learning.save(view, LearnSave(hosts=hosts, name="other"))
    assert [row.action for row in await room.store.audit()] == ["learned"]


async def test_a_link_in_its_place_is_not_followed(room: Room, tmp_path: Path) -> None:
    await room.refuse(room.session.id, "new.example.org")
    (room.paths.bottles / "taken.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CarboyError, match="there already"):
        await room.learning.save(room.session.view, LearnSave(hosts=("new.example.org",), name="taken"))
    assert not (tmp_path / "elsewhere").exists()
