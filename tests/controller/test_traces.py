"""Traces in hourly buckets: by the event's own time, sealed, late ones beside, each read once."""

import time
from pathlib import Path

import pytest

from app.controller import traces
from app.controller.traces import Traces
from app.core.model import BottleView
from app.core.trace import HOUR, SEALED_AFTER, Trace, TraceQuery, bucket_name, start_of
from app.core.usage import UsageRow
from sidecar.allowance import SaidInfo

AT = 1_767_268_887.0  # 2026-01-01 12:01:27 UTC
SOON = time.time() - 100.0
"""For what is written with the time that it is: old buckets are removed."""


def trace(name: str, at: float = AT) -> Trace:
    return Trace(id=name, trace_id="s", created_at=at, bottle="dev", kind="lifecycle")


def test_a_bucket_is_named_by_the_events_own_hour() -> None:
    assert bucket_name(AT, AT) == "20260101T12.jsonl"
    assert start_of("20260101T12.jsonl") == start_of("20260101T12.late.jsonl") == AT // HOUR * HOUR
    end = AT // HOUR * HOUR + HOUR + SEALED_AFTER
    assert bucket_name(AT, end - 1) == "20260101T12.jsonl"
    assert bucket_name(AT, end) == "20260101T12.late.jsonl"
    assert start_of("notes.txt") is None


def test_events_are_read_once_and_in_order_also_late_and_torn_ones(tmp_path: Path) -> None:
    made, folder = Traces(tmp_path), tmp_path / "traces" / "dev"
    made.write("dev", [trace("b", AT + 1), trace("a")], AT + 2)
    made.write("dev", [trace("a"), trace("c", AT + HOUR)], AT + HOUR)
    bucket = folder / "20260101T12.jsonl"
    with bucket.open("ab") as file:
        file.write(b'{"v": 1, "id": "cut o')
    made.write("dev", [trace("d", AT + 3)], AT + HOUR)
    made.write("dev", [trace("late", AT + 2)], AT + 4 * HOUR)
    assert [one.id for one in made.read("dev")] == ["a", "b", "late", "d", "c"]
    assert bucket.stat().st_mode & 0o777 == 0o400
    assert (folder / "20260101T12.late.jsonl").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert made.read("nobody") == []


def test_an_answer_is_traced_with_its_numbers(tmp_path: Path) -> None:
    made = Traces(tmp_path)
    row = UsageRow(
        "r1.0", "r1", SOON, "claude", model="m", input=10, cache_read=90, output=7, cost_nano=5_000_000, ms=3.0
    )
    failed = UsageRow("r2.0", "r2", SOON + 1, "claude", billable=False, fault="later")
    made.answers("dev", "s1", [row, failed])
    first, second = made.read("dev")
    assert (first.kind, first.id, first.trace_id, first.bottle) == ("llm_call", "s1.r1.0", "s1", "dev")
    assert (first.tokens_in, first.tokens_out, first.cost_usd, first.duration_ms) == (100, 7, 0.005, 3.0)
    assert (second.kind, second.error) == ("error", "later")


def test_what_was_said_hangs_below_its_call(tmp_path: Path) -> None:
    made = Traces(tmp_path)
    row = UsageRow("r1.0", "r1", SOON, "claude", model="m", input=10, output=7, reasoning=3, ms=2000.0)
    said = SaidInfo(message=40, results=2, failed=1, tools=("Bash", "Read"), speech=80)
    made.answers("dev", "s1", [row], {"r1.0": said})
    made.answers("dev", "s1", [row], {"r1.0": said})  # the spool was read again
    found = made.read("dev")
    assert [one.kind for one in found[:2]] == ["message_in", "tool_result"]
    assert sorted(one.kind for one in found[2:]) == ["llm_call", "message_out", "reasoning", "tool_call", "tool_call"]
    assert {one.parent_id for one in found if one.kind != "llm_call"} == {"s1.r1.0"}
    assert [one.payload["tool"] for one in made.read("dev", TraceQuery(kind="tool_call"))] == ["Bash", "Read"]
    assert made.read("dev", TraceQuery(since=SOON + 1)) == []
    assert len(made.read("dev", TraceQuery(limit=3))) == 3


def test_states_of_a_bottle_are_traced_once_also_over_restarts(tmp_path: Path) -> None:
    made = Traces(tmp_path)
    view = BottleView(
        slug="dev", session_id="s1", label="dev", agent=None, bottles=(), state="running", provider="claude",
        backend="local", isolation="process", cwd="/p", workspace="mount", command=(),
        created_at=SOON, started_at=SOON + 1,
    )  # fmt: skip
    made.state(view, "launching")
    made.state(view, None)  # another controller found it again
    made.state(view.model_copy(update={"state": "failed", "error": "it broke", "ended_at": SOON + 9}), "running")
    first, last = made.read("dev")
    assert (first.kind, first.created_at, first.payload["state"]) == ("lifecycle", SOON + 1, "running")
    assert (last.created_at, last.payload["state"], last.error) == (SOON + 9, "failed", "it broke")


def test_buckets_are_sealed_and_removed_also_of_bottles_that_write_no_more(tmp_path: Path) -> None:
    made, folder = Traces(tmp_path), tmp_path / "traces"
    made.write("gone", [trace("old")], AT)
    made.tidy(AT + HOUR)
    (bucket,) = (folder / "gone").iterdir()
    assert bucket.stat().st_mode & 0o777 == 0o600
    made.tidy(AT + 5 * HOUR)
    assert bucket.stat().st_mode & 0o777 == 0o400
    made.write("dev", [trace("new", AT + 31 * 86400)], AT + 31 * 86400)
    made.tidy(AT + 31 * 86400)
    assert [entry.name for entry in folder.iterdir()] == ["dev"]
    assert [one.id for one in made.read("dev")] == ["new"]
    assert made.bottles() == ["dev"]


def test_a_loop_of_calls_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_BYTES", 5000)
    made, folder = Traces(tmp_path), tmp_path / "traces"
    for hour in range(6):
        made.write("loop", [trace(f"{hour}-{number}", AT + hour * HOUR) for number in range(5)], AT + hour * HOUR)
    made.write("other", [trace("mine")], AT)
    made.tidy(AT + 6 * HOUR)
    left = [one.id for one in made.read("loop")]
    assert left[-1] == "5-4"
    assert "0-0" not in left
    assert sum(entry.stat().st_size for entry in (folder / "loop").iterdir()) <= 5000
    assert [one.id for one in made.read("other")] == ["mine"]
