"""The event bus: resume without gap or duplicate while others publish; slow subscribers; cancellation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.controller.events import Bus, Subscription
from app.core.model import StreamEvent
from app.store.base import EventQuery, NewEvent
from app.store.sqlite import SqliteStore
from app.tasks import spawn


def event(identity: str) -> NewEvent:
    return NewEvent(identity, 1.0, "egress", {"id": identity}, "allow", "example.com")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    store = SqliteStore(tmp_path / "carboy.db")
    await store.open()
    made = Bus(store, queue_limit=10_000)
    await made.start()
    yield made
    await store.close()


async def take(subscription: Subscription, count: int) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    with subscription:
        async with asyncio.timeout(20):
            async for item in subscription:
                found.append(item)
                if len(found) == count:
                    break
    return found


async def test_replay_then_live(bus: Bus) -> None:
    await bus.keep("dev", "s1", [event("a"), event("b")])
    subscription = bus.subscribe(since=0)
    await bus.keep("dev", "s1", [event("c")])
    assert [item.data["id"] for item in await take(subscription, 3)] == ["a", "b", "c"]
    assert bus.subscribers == 0


async def test_without_since_only_what_is_new(bus: Bus) -> None:
    await bus.keep("dev", "s1", [event("a")])
    subscription = bus.subscribe()
    await bus.keep("dev", "s1", [event("b")])
    assert [item.data["id"] for item in await take(subscription, 1)] == ["b"]


async def test_one_bottle_only(bus: Bus) -> None:
    await bus.keep("dev", "s1", [event("a")])
    await bus.keep("ops", "s2", [event("b")])
    subscription = bus.subscribe(since=0, slug="ops")
    await bus.keep("dev", "s1", [event("c")])
    bus.pass_on(StreamEvent(seq=0, at=1, kind="bottle", slug="dev"))
    bus.pass_on(StreamEvent(seq=0, at=1, kind="catalogue"))
    await bus.keep("ops", "s2", [event("d")])
    found = await take(subscription, 3)
    assert [item.data.get("id", item.kind) for item in found] == ["b", "catalogue", "d"]


async def test_a_slow_subscriber_is_told_where_to_resume(tmp_path: Path, bus: Bus) -> None:
    small = Bus(bus.store, queue_limit=5)
    await small.start()
    subscription = small.subscribe(since=0)
    await small.keep("dev", "s1", [event("a")])
    stream = aiter(subscription)
    first = await anext(stream)
    await small.keep("dev", "s1", [event(f"n{n}") for n in range(20)])
    rest = [item async for item in stream]
    assert [item.kind for item in rest] == ["lagged"]
    assert rest[0].data["resume"] == first.seq
    # and from there on nothing is missing
    again = await take(small.subscribe(since=rest[0].data["resume"]), 20)
    assert [item.data["id"] for item in again] == [f"n{n}" for n in range(20)]


async def test_events_are_published_though_the_publisher_was_cancelled(bus: Bus) -> None:
    subscription = bus.subscribe()
    task = spawn(bus.keep("dev", "s1", [event("a")]), name="cancelled")
    await asyncio.sleep(0)
    task.cancel()
    assert [item.data["id"] for item in await take(subscription, 1)] == ["a"]
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_ends_subscriptions(bus: Bus) -> None:
    subscription = bus.subscribe()
    bus.close()
    assert [item async for item in subscription] == []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    writers=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=4),
    readers=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60)), min_size=1, max_size=4),
)
async def test_no_gap_and_no_duplicate_under_concurrent_publishing(
    tmp_path_factory: pytest.TempPathFactory, writers: list[list[int]], readers: list[tuple[int, int]]
) -> None:
    store = SqliteStore(tmp_path_factory.mktemp("bus") / "carboy.db")
    await store.open()
    bus = Bus(store, queue_limit=100_000)
    await bus.start()
    total = sum(map(sum, writers))

    async def write(name: int, batches: list[int]) -> None:
        number = 0
        for size in batches:
            await bus.keep(f"b{name}", f"s{name}", [event(f"{name}-{number + n}") for n in range(size)])
            number += size
            await asyncio.sleep(0)

    async def read(patience: int, since: int) -> tuple[int, list[int]]:
        for _ in range(patience):
            await asyncio.sleep(0)
        seen: list[int] = []
        start = min(since, bus.last_seq)
        if start < total:
            async for item in bus.subscribe(since=start):
                seen.append(item.seq)
                if item.seq == total:
                    break
        return start, seen

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(read(*reader)) for reader in readers]
        for name, batches in enumerate(writers):
            group.create_task(write(name, batches))
    stored = [item.seq for item in await store.events(EventQuery(after=0, limit=5000))]
    assert stored == list(range(1, total + 1))
    for task in tasks:
        start, seen = task.result()
        assert seen == list(range(start + 1, total + 1))
    await store.close()
