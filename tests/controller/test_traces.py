"""Traces in hourly buckets: by the event's own time, sealed, late ones beside, each read once."""

from pathlib import Path

from app.controller.traces import Traces
from app.core.trace import HOUR, SEALED_AFTER, Trace, bucket_name, start_of
from app.core.usage import UsageRow

AT = 1_767_268_887.0  # 2026-01-01 12:01:27 UTC


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
        "r1.0", "r1", AT, "claude", model="m", input=10, cache_read=90, output=7, cost_nano=5_000_000, ms=3.0
    )
    failed = UsageRow("r2.0", "r2", AT + 1, "claude", billable=False, fault="later")
    made.answers("dev", "s1", [row, failed])
    first, second = made.read("dev")
    assert (first.kind, first.id, first.trace_id, first.bottle) == ("llm_call", "s1.r1.0", "s1", "dev")
    assert (first.tokens_in, first.tokens_out, first.cost_usd, first.duration_ms) == (100, 7, 0.005, 3.0)
    assert (second.kind, second.error) == ("error", "later")
