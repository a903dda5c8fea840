"""What one bottle's sidecar says of a provider's windows is shown for all bottles, and waited for by them: it must not
stand in the way of what the others say, nor be a number that no screen can draw."""

import time
from collections.abc import AsyncIterator

import orjson
import pytest

from app.controller.ingest import parse
from app.controller.windows import Windows
from app.core.windows import MOST, Gauge
from app.paths import Paths, private_folder
from app.store.base import Position
from app.store.sqlite import SqliteStore


@pytest.fixture
async def store(paths: Paths) -> AsyncIterator[SqliteStore]:
    private_folder(paths.state)
    opened = SqliteStore(paths.database)
    await opened.open()
    yield opened
    await opened.close()


def said(windows: Windows, name: str, used: float, resets: float | None = None, at: float | None = None) -> None:
    """One line of a spool, on its way through the real parser."""
    item = {"name": name, "used_fraction": used, "resets_at": resets, "status": "rejected"}
    event = {"id": "w", "at": at or time.time(), "kind": "window", "provider": "claude", "windows": [item]}
    parsed = parse([(Position(1, 1), orjson.dumps(event))])
    assert not parsed.bad
    windows.seen(parsed.report.gauges)


async def test_a_window_of_the_future_does_not_keep_out_what_comes_later(store: SqliteStore) -> None:
    windows = Windows(store)
    said(windows, "5h", 1e308, resets=9e10, at=9e10)
    (shown,) = windows.current(time.time())
    assert shown.used is not None
    assert shown.used <= 1000, "a percentage of three hundred digits"
    assert int(shown.used * 100)
    assert shown.resets_at is None, "nobody waits for a thousand years"
    await windows.save()
    later = Windows(store)
    await later.start()
    soon = time.time() + 3600
    said(later, "5h", 0.2, resets=soon)
    assert [(item.used, item.resets_at) for item in later.current(time.time())] == [(0.2, soon)]


async def test_what_an_older_version_kept_of_the_future_is_put_right(store: SqliteStore) -> None:
    await store.save_gauges([Gauge(provider="claude", name="5h", at=9e10, used=1.0, resets_at=9e10)])
    windows = Windows(store)
    await windows.start()
    said(windows, "5h", 0.2)
    assert [item.used for item in windows.current(time.time())] == [0.2]


async def test_invented_names_do_not_keep_out_a_real_one(store: SqliteStore) -> None:
    windows = Windows(store)
    for number in range(3 * MOST):
        said(windows, f"invented {number}", 0.5)
        await windows.save()
    said(windows, "5h", 0.2)
    await windows.save()
    assert "5h" in {item.name for item in windows.current(time.time())}
    assert len(windows.current(time.time())) <= MOST
    assert len(await store.gauges()) <= MOST
