"""One traced event as it stands in a bucket file, and which hour's bucket it belongs to. Pure."""

import calendar
import time
from typing import Any, Literal

from pydantic import Field

from app.core.budget import NANO
from app.core.model import Snapshot
from app.core.usage import UsageRow

VERSION = 1
HOUR = 3600
SEALED_AFTER = 2 * HOUR
"""Seconds from an hour's end until its bucket is closed (control-plane.md, "Store")."""

Kind = Literal[
    "message_in", "message_out", "llm_call", "tool_call", "tool_result", "reasoning", "error", "lifecycle"
]  # fmt: skip


class Trace(Snapshot):
    """The envelope. `trace_id` is the session; `id` is the same however often an event is written."""

    v: int = VERSION
    id: str
    trace_id: str
    parent_id: str = ""
    created_at: float
    bottle: str
    kind: Kind
    channel_id: str = ""
    thread_id: str = ""
    backend: str = ""
    model: str = ""
    duration_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    error: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)


def of_usage(slug: str, session_id: str, row: UsageRow) -> Trace:
    """One answer of a model, or its failure."""
    return Trace(
        id=f"{session_id}.{row.event_id}",
        trace_id=session_id,
        created_at=row.at,
        bottle=slug,
        kind="llm_call" if row.billable else "error",
        backend=row.provider,
        model=row.model,
        duration_ms=row.ms,
        tokens_in=row.context,
        tokens_out=row.output,
        cost_usd=None if row.cost_nano is None else row.cost_nano / NANO,
        error=row.fault,
        payload={
            "host": row.host, "path": row.path, "status": row.status, "cached": row.cache_read,
            "reasoning": row.reasoning, "tool_calls": row.tool_calls, "estimated": row.estimated,
            "unmetered": row.unmetered, "complete": row.complete, "stop_reason": row.stop_reason,
        },
    )  # fmt: skip


def bucket_name(created_at: float, now: float) -> str:
    """The file of an event that is written now: its own hour's (UTC), or that one's sibling once it is sealed."""
    start = int(created_at) // HOUR * HOUR
    name = time.strftime("%Y%m%dT%H", time.gmtime(start))
    return f"{name}.late.jsonl" if sealed(start, now) else f"{name}.jsonl"


def sealed(start: float, now: float) -> bool:
    return now >= start + HOUR + SEALED_AFTER


def start_of(name: str) -> float | None:
    """When the hour of this bucket file began; None for a file that is none."""
    try:
        return float(calendar.timegm(time.strptime(name.partition(".")[0], "%Y%m%dT%H")))
    except ValueError:
        return None
