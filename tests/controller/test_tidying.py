"""Old rows go while the controller runs: by the operator's settings, and never where those cannot be read."""

import shutil
import time
from collections.abc import AsyncIterator

import pytest

from app.controller import tidying
from app.controller.doctor_api import record_check
from app.controller.traces import Traces
from app.core.usage import UsageRow
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.store import pruning
from app.store.base import EventQuery, NewEvent
from app.store.metering import Metering, SumQuery
from app.store.sqlite import SqliteStore
from app.tasks import cancel_and_wait, spawn
from sidecar.contract import Route
from tests.conftest import until
from tests.controller.desk import TestDesk
from tests.controllers import connected

DAY = 86400.0


def line(number: int, days: float, decision: str = "allow") -> NewEvent:
    at = time.time() - days * DAY
    payload = {"id": f"e{number}", "at": at, "kind": "egress", "decision": decision, "code": "ok", "phase": "closed"}
    return NewEvent(f"e{number}", at, "egress", payload | {"host": "a.example"}, decision, "a.example")


def used(days: float) -> Metering:
    row = UsageRow("r1.0", "r1", time.time() - days * DAY, "claude", model="m", input=5, output=5)
    return Metering(("global",), (), [row])


def configure(paths: Paths, text: str) -> None:
    private_folder(paths.config)
    paths.settings.write_text(text)


@pytest.fixture
async def store(paths: Paths) -> AsyncIterator[SqliteStore]:
    private_folder(paths.state)
    made = SqliteStore(paths.database)
    await made.open()
    yield made
    await made.close()


async def test_the_controller_makes_room_and_says_so_where_lines_are_missing(paths: Paths) -> None:
    configure(paths, "keep: {days: 10, refused_days: 20}\n")
    private_folder(paths.state)
    store = SqliteStore(paths.database)
    await store.open()
    made = [line(1, 12), line(2, 12, "deny"), line(3, 22, "deny"), line(4, 5), line(5, 12)]
    await store.add_events("dev", "s1", made)
    await store.close()
    client = await connected(paths)

    async def told() -> bool:  # each decision's lines are a step
        return any(event.data.get("text", "").startswith("3 older") for event in await client.log(slug="dev"))

    async with client:
        await until(told)
        first, *rest = await client.log(slug="dev")
        assert (first.seq, first.kind, first.data["text"].partition(":")[0]) == (
            0, "notice", "3 older lines were dropped to make room",
        )  # fmt: skip
        assert [event.data["id"] for event in rest] == ["e2", "e4"]
        denied, kept = await client.log(decision="deny")
        assert denied.data["text"].startswith("1 older line was dropped")
        assert kept.data["id"] == "e2"
        assert [event.data["id"] for event in await client.log(slug="dev", limit=2)] == ["e2", "e4"], "no beginning"
        assert [event.data["id"] for event in await client.log(slug="dev", after=0)] == ["e2", "e4"]
        assert await client.log(slug="ops") == []
        await client.shutdown(force=True)


async def test_settings_that_cannot_be_read_let_nothing_go(paths: Paths, store: SqliteStore) -> None:
    await store.add_events("dev", "s1", [line(1, 4000)])
    configure(paths, "keep: al\n")
    with pytest.raises(CarboyError):
        await tidying.prune(paths, store)
    assert len(await store.events(EventQuery())) == 1
    configure(paths, "keep: all\n")
    await tidying.prune(paths, store)
    assert len(await store.events(EventQuery())) == 1
    configure(paths, "")
    await tidying.prune(paths, store)
    assert await store.events(EventQuery()) == []


async def test_a_round_that_fails_is_not_the_last(
    paths: Paths, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "TIDY_SECONDS", 0.01)
    configure(paths, "keep: al\n")
    await store.add_events("dev", "s1", [line(1, 4000)])
    task = spawn(tidying.keep_tidy(paths, store, Traces(paths.state)), name="tidying")

    async def gone() -> bool:
        configure(paths, "")
        return not await store.events(EventQuery())

    await until(gone)
    await cancel_and_wait(task)


async def test_usage_of_a_session_on_disk_stays(paths: Paths, store: SqliteStore) -> None:
    session = TestDesk(paths).add("dev", Route(host="a.example"))
    for name in (session.id, "purged"):
        await store.ingest("dev", name, [], None, used(40))
    before = await store.sums(SumQuery(scope="global"))
    await tidying.prune(paths, store)
    assert len(await store.usage_rows(session_id=session.id)) == 1
    assert await store.usage_rows(session_id="purged") == []
    assert await store.sums(SumQuery(scope="global")) == before


async def test_the_doctor_says_what_is_kept(paths: Paths, store: SqliteStore) -> None:
    await store.add_events("dev", "s1", [line(1, 4000), line(2, 4000), line(3, 0)])
    found = await record_check(paths, store)
    assert (found.ok, found.text.partition(",")[0]) == (True, "3 lines of bottles")
    await tidying.prune(paths, store)
    configure(paths, "keep: {size: 5MiB}\n")
    assert (await record_check(paths, store)).text.endswith("of 5MiB at most; 2 older lines dropped")
    configure(paths, "keep: al\n")
    found = await record_check(paths, store)
    assert not found.ok
    assert "keep" in found.fix


async def test_the_file_is_made_smaller_where_the_disk_has_room(
    paths: Paths, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "LEAST_FREE", 500_000)
    await store.add_events(
        "dev", "s1", [NewEvent(f"e{n}", 1.0, "egress", {"x": "y" * 5000}, "allow", "a") for n in range(300)]
    )
    configure(paths, "keep: {days: 10}\n")
    await tidying.prune(paths, store)
    await store.checkpoint()
    before = paths.database.stat().st_size
    full = shutil.disk_usage("/")._replace(free=pruning.MOST_LEFT)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: full)
        await tidying.shrink(paths, store)
        assert paths.database.stat().st_size == before
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full._replace(free=10**12))
    await tidying.shrink(paths, store)
    assert paths.database.stat().st_size < before / 2
