"""Spools into the store: once, in order, whatever a line holds, and acknowledged only when it is safe."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.controller.events import Bus
from app.controller.ingest import Ingest, Tally, parse
from app.controller.metering import Report
from app.core.model import StreamEvent
from app.store.base import EventQuery, Position
from app.store.sqlite import SqliteStore
from sidecar.allowance import UsageEvent
from sidecar.contract import EgressEvent
from sidecar.spool import SpoolReader, SpoolWriter


def event(number: int, **more: Any) -> dict[str, Any]:
    fields = {
        "id": f"e{number}",
        "at": 1.0,
        "request_id": f"r{number}",
        "decision": "allow",
        "code": "ok",
        "host": "a.io",
    }
    return EgressEvent(**{**fields, **more}).model_dump(mode="json")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    store = SqliteStore(tmp_path / "carboy.db")
    await store.open()
    made = Bus(store)
    await made.start()
    yield made
    await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "spool"
    made.mkdir()
    return made


def writer(folder: Path) -> SpoolWriter:
    return SpoolWriter(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))


class Acks:
    def __init__(self) -> None:
        self.seen: list[Position] = []

    async def __call__(self, position: Position) -> None:
        self.seen.append(position)


async def stored(bus: Bus) -> list[str]:
    return [item.data["id"] for item in await bus.store.events(EventQuery(after=0, limit=5000))]


async def test_events_come_in_order_and_are_acknowledged(bus: Bus, folder: Path) -> None:
    spool, acks, ingest = writer(folder), Acks(), Ingest(bus)
    for number in range(1200):
        spool.write(event(number))
    ingest.watch("dev", "s1", folder, acks)
    await ingest.settle("s1")
    assert await stored(bus) == [f"e{number}" for number in range(1200)]
    assert acks.seen[-1] == await bus.store.position("s1")
    spool.write(event(2000))
    ingest.poke("s1")
    await ingest.settle("s1")
    assert (await stored(bus))[-1] == "e2000"
    await ingest.close()
    spool.close()


async def test_reading_again_keeps_everything_once(bus: Bus, folder: Path) -> None:
    spool, ingest = writer(folder), Ingest(bus)
    for number in range(10):
        spool.write(event(number))
    ingest.watch("dev", "s1", folder, Acks())
    await ingest.settle("s1")
    await ingest.close()
    # as if the position had been lost: the store still refuses what it has
    await bus.store.add_events("dev", "s1", [], Position())
    again = Ingest(bus)
    again.watch("dev", "s1", folder, Acks())
    await again.settle("s1")
    assert await stored(bus) == [f"e{number}" for number in range(10)]
    await again.close()
    spool.close()


async def test_bad_lines_are_told_of_and_stop_nothing(bus: Bus, folder: Path) -> None:
    lines = [
        orjson.dumps(event(1)),
        b"not json",
        b"\xff\xfe",
        b'{"kind": "egress"}',
        b'{"kind": "who knows", "id": "x", "at": 1}',
        orjson.dumps({**event(2), "surprise": 1}),
        b"[" * 5000,
        orjson.dumps(event(4)).replace(b'"at":1.0', b'"at":NaN'),
        orjson.dumps(event(5)).replace(b'"at":1.0', b'"at":1e300'),
        orjson.dumps(event(6)).replace(b'"port":0', b'"port":' + b"9" * 40),
        orjson.dumps(event(7)).replace(b'"detail":{}', b'"detail":{"n":' + b"9" * 40 + b"}"),
        orjson.dumps(event(8)).replace(b'"host":"a.io"', b'"host":"\\ud800"'),
        orjson.dumps(event(3)),
    ]
    (folder / "00000001.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    ingest = Ingest(bus)
    ingest.watch("dev", "s1", folder, Acks())
    await ingest.settle("s1")
    kept = await bus.store.events(EventQuery(after=0))
    assert [item.data["id"] for item in kept if item.kind == "egress"] == ["e1", "e3"]
    (notice,) = [item for item in kept if item.kind == "notice"]
    assert notice.data["code"] == "spool_unreadable"
    assert "11 lines" in notice.data["text"]
    await ingest.close()


@pytest.mark.parametrize("value", [1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1e15, -1, 0.5, "7", True])
async def test_no_number_of_a_usage_stops_what_follows(bus: Bus, folder: Path, value: Any) -> None:
    """Whatever the types let through, the store takes: else the same line would be tried for ever."""
    plain = UsageEvent(id="u0", at=1.0, request_id="u", provider="claude").model_dump(mode="json")
    numbers = [name for name, held in plain.items() if isinstance(held, int | float) or held is None]
    lines = [orjson.dumps({**plain, "id": f"u{at}", name: value}) for at, name in enumerate(numbers)]
    fault = {"kind": "quota", "status": value, "retry_after": value}
    lines += [orjson.dumps({**plain, "id": "fault", "fault": fault}), orjson.dumps(event(1))]
    (folder / "00000001.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    ingest = Ingest(bus)
    ingest.watch("dev", "s1", folder, Acks())
    await ingest.settle("s1", 20)
    assert "e1" in await stored(bus)
    found = await bus.store.usage_rows()
    assert all(row.total <= 1 << 43 for _, row in found)
    await ingest.close()


async def test_what_was_charged_is_told_once_also_where_its_listener_fails(
    bus: Bus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.controller.ingest.RETRY_SECONDS", 0.01)
    used = UsageEvent(id="u.0", at=1.0, request_id="u", provider="claude", charged={"L": 5.0})
    (folder / "00000001.jsonl").write_bytes(orjson.dumps(used.model_dump(mode="json")) + b"\n")
    charged: list[float] = []

    def told(_: str, report: Report, __: object) -> None:
        charged.extend(report.charged.values())
        raise RuntimeError("it fails")

    ingest = Ingest(bus)
    ingest.told.used = told
    ingest.watch("dev", "s1", folder, Acks())
    await ingest.settle("s1", 2)
    assert charged == [5.0]
    await ingest.close()


async def test_a_torn_last_line_is_waited_for(bus: Bus, folder: Path) -> None:
    line = orjson.dumps(event(2)) + b"\n"
    file = folder / "00000001.jsonl"
    file.write_bytes(orjson.dumps(event(1)) + b"\n" + line[:20])
    ingest = Ingest(bus)
    ingest.watch("dev", "s1", folder, Acks())
    await ingest.settle("s1")
    assert await stored(bus) == ["e1"]
    with file.open("ab") as more:
        more.write(line[20:])
    ingest.poke("s1")
    await ingest.settle("s1")
    assert await stored(bus) == ["e1", "e2"]
    await ingest.close()


async def test_a_sidecar_that_cannot_be_told_stops_nothing(bus: Bus, folder: Path) -> None:
    async def gone(_: Position) -> None:
        raise ConnectionResetError

    spool, ingest = writer(folder), Ingest(bus)
    spool.write(event(1))
    ingest.watch("dev", "s1", folder, gone)
    await ingest.settle("s1")
    assert await stored(bus) == ["e1"]
    acks = Acks()
    spool.write(event(2))
    ingest.watch("dev", "s1", folder, acks)
    await ingest.settle("s1")
    assert acks.seen
    await ingest.close()
    spool.close()


async def test_it_is_acknowledged_only_after_it_was_stored(bus: Bus, folder: Path) -> None:
    found: list[bool] = []

    async def ack(position: Position) -> None:
        found.append(await bus.store.position("s1") >= position and "e1" in await stored(bus))

    spool, ingest = writer(folder), Ingest(bus)
    spool.write(event(1))
    ingest.watch("dev", "s1", folder, ack)
    await ingest.settle("s1")
    assert found == [True]
    await ingest.close()
    spool.close()


async def test_a_missing_folder_is_an_empty_one(bus: Bus, folder: Path) -> None:
    ingest = Ingest(bus)
    ingest.watch("dev", "s1", folder / "nowhere", Acks())
    await ingest.settle("s1")
    await ingest.forget("s1")
    assert await stored(bus) == []


async def test_pipes_and_links_in_a_segments_place_hold_up_nobody(bus: Bus, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_bytes(orjson.dumps(event(1)) + b"\n")
    os.mkfifo(folder / "00000001.jsonl")
    (folder / "00000002.jsonl").symlink_to(secret)
    (folder / "00000003.jsonl").mkdir()
    (folder / "00000004.jsonl").write_bytes(orjson.dumps(event(2)) + b"\n")
    ingest = Ingest(bus)
    ingest.watch("dev", "s1", folder, Acks())
    await ingest.settle("s1")
    assert await stored(bus) == ["e2"]
    await ingest.close()


async def test_nothing_is_passed_over_when_the_writer_goes_on_to_a_new_segment(
    bus: Bus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "00000001.jsonl").write_bytes(orjson.dumps(event(1)) + b"\n")
    listed = os.listdir

    def late(path: Any) -> list[str]:
        """Between the last read of a segment and the look for the next one, the writer fills both."""
        if not (folder / "00000002.jsonl").exists() and reader.position.offset:
            with (folder / "00000001.jsonl").open("ab") as file:
                file.write(orjson.dumps(event(2)) + b"\n")
            (folder / "00000002.jsonl").write_bytes(orjson.dumps(event(3)) + b"\n")
        return listed(path)

    reader = SpoolReader(folder)
    monkeypatch.setattr(os, "listdir", late)
    found = [line for _ in range(3) for _, line in reader.read()]
    assert [orjson.loads(line)["id"] for line in found] == ["e1", "e2", "e3"]


async def test_many_spools_at_once(bus: Bus, tmp_path: Path) -> None:
    ingest, spools = Ingest(bus), []
    for bottle in range(8):
        folder = tmp_path / f"spool{bottle}"
        folder.mkdir()
        spools.append(writer(folder))
        ingest.watch(f"b{bottle}", f"s{bottle}", folder, Acks())
    for number in range(100):
        for bottle, spool in enumerate(spools):
            spool.write(event(number))
            ingest.poke(f"s{bottle}")
        await asyncio.sleep(0)
    for bottle in range(8):
        await ingest.forget(f"s{bottle}")
        query = EventQuery(slug=f"b{bottle}", after=0)
        assert [item.data["id"] for item in await bus.store.events(query)] == [f"e{n}" for n in range(100)]
    for spool in spools:
        spool.close()


LINES = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.sampled_from(list(event(1))), st.none() | st.integers(-9, 9) | st.text(max_size=9)).map(
        orjson.dumps
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=10))
def test_no_line_raises(lines: list[bytes]) -> None:
    parsed = parse([(Position(1, index), line) for index, line in enumerate(lines)])
    assert len(parsed.events) == len(lines) - parsed.bad + (1 if parsed.bad else 0)


def test_the_tally_counts_what_an_event_stands_for() -> None:
    def closed(decision: str, **detail: Any) -> StreamEvent:
        data = {"phase": "closed", "decision": decision, "detail": detail}
        return StreamEvent(seq=1, at=5.0, kind="egress", slug="dev", data=data)

    tally = Tally().plus(
        [closed("allow", count=41), closed("deny"), closed("deny", count=2), closed("allow", count=-3)]
    )
    assert (tally.allowed, tally.refused) == (43, 4)
