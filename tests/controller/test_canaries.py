"""Alarms on record: the first at once, a flood of them in few rows that count all."""

from collections.abc import AsyncIterator

import pytest

from app.controller import canaries
from app.controller.audit import Audit
from app.controller.canaries import Canaries
from app.core.model import StreamEvent
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from tests.conftest import until


def alarm(number: int) -> StreamEvent:
    data = {"code": "canary_leaked", "level": "error", "text": f"alarm {number}"}
    return StreamEvent(seq=number, at=1.0, kind="notice", slug="dev", data=data)


@pytest.fixture
async def audit(paths: Paths) -> AsyncIterator[Audit]:
    private_folder(paths.state)
    store = SqliteStore(paths.database)
    await store.open()
    made = Audit(paths, store)
    await made.start()
    yield made
    await made.close()
    await store.close()


async def told(audit: Audit) -> list[tuple[str, str, int]]:
    return [(row.session_id, row.detail["text"], row.detail.get("times", 1)) for row in await audit.rows()]


async def test_the_first_is_there_at_once_and_a_flood_is_two_rows(audit: Audit) -> None:
    watched = Canaries(audit)
    watched.alarm("s1", alarm(0))
    await until(lambda: _has(audit, 1))
    for number in range(1, 500):
        watched.alarm("s1", alarm(number))
    watched.alarm("s2", alarm(7))
    await until(lambda: _has(audit, 2))
    await watched.close()
    assert await told(audit) == [("s1", "alarm 0", 1), ("s2", "alarm 7", 1), ("s1", "alarm 499", 499)]
    assert await audit.verify() == []


async def test_what_waits_is_written_when_its_minute_is_over(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "QUIET_SECONDS", 0.05)
    watched = Canaries(audit)
    for number in range(3):
        watched.alarm("s1", alarm(number))
    await until(lambda: _has(audit, 2))
    assert await told(audit) == [("s1", "alarm 0", 1), ("s1", "alarm 2", 2)]
    await watched.close()


async def _has(audit: Audit, rows: int) -> bool:
    return len(await audit.rows()) == rows
