"""One traced event as it stands in a bucket file, and which hour's bucket it belongs to. Pure."""

import calendar
import time
from typing import Any, Literal

from pydantic import Field

from app.core.budget import NANO
from app.core.model import BottleView, Snapshot
from app.core.usage import UsageRow

VERSION = 1
HOUR = 3600
SEALED_AFTER = 2 * HOUR
"""Seconds from an hour's end until its bucket is closed (control-plane.md, "Store")."""

KEEP_DAYS = 30
"""A bucket is removed so long after its hour."""

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


class TraceQuery(Snapshot):
    """Which traces: the newest `limit`."""

    kind: Kind | None = None
    since: float = 0.0
    session_id: str | None = None
    limit: int = Field(default=200, ge=1, le=5000)

    def wants(self, one: Trace) -> bool:
        return (
            one.created_at >= self.since and self.kind in (None, one.kind) and self.session_id in (None, one.trace_id)
        )


class Said(Snapshot):
    """What was said in one call (`sidecar.allowance.SaidInfo`)."""

    message: int = 0
    results: int = 0
    failed: int = 0
    tools: tuple[str, ...] = ()
    speech: int = 0


def of_call(slug: str, session_id: str, row: UsageRow, said: Said | None) -> list[Trace]:
    """One call of a model with all that was said in it: what it was brought, its answer, what it did then."""
    call = of_usage(slug, session_id, row)
    if said is None:
        return [call]
    began = row.at - row.ms / 1000
    found: list[Trace] = []

    def add(kind: Kind, name: str, at: float, **payload: Any) -> None:
        found.append(
            Trace(
                id=f"{call.id}.{name}", trace_id=session_id, parent_id=call.id, created_at=at, bottle=slug, kind=kind,
                backend=row.provider, model=row.model, payload=payload,
            )
        )  # fmt: skip

    if said.message:
        add("message_in", "in", began, characters=said.message)
    if said.results:
        add("tool_result", "results", began, results=said.results, failed=said.failed)
    found.append(call)
    if row.reasoning:
        add("reasoning", "reasoning", row.at, tokens=row.reasoning)
    for number, tool in enumerate(said.tools):
        add("tool_call", f"tool-{number}", row.at, tool=tool)
    if said.speech:
        add("message_out", "out", row.at, characters=said.speech)
    return found


def of_state(view: BottleView, at: float) -> Trace:
    """A bottle came into another state."""
    return Trace(
        id=f"{view.session_id}.{view.state}.{int(at * 1000)}",
        trace_id=view.session_id,
        created_at=at,
        bottle=view.slug,
        kind="lifecycle",
        backend=view.provider,
        model=view.model or "",
        error=view.error,
        payload={
            "state": view.state, "agent": view.agent, "engine": view.engine, "project": view.cwd,
            "exit_code": view.exit_code,
        },
    )  # fmt: skip


def changed_at(view: BottleView, before: str | None, now: float) -> float:
    """When the state that a bottle is in now began: the same where a restarted controller hears of it anew."""
    known = {"launching": view.created_at, "running": view.started_at if before in (None, "launching") else None}
    at = view.ended_at if view.ended_at is not None else known.get(view.state)
    return now if at is None else at


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


def over(start: float, now: float) -> bool:
    """Whether a bucket has been kept for long enough."""
    return now >= start + HOUR + KEEP_DAYS * 86400


def start_of(name: str) -> float | None:
    """When the hour of this bucket file began; None for a file that is none."""
    try:
        return float(calendar.timegm(time.strptime(name.partition(".")[0], "%Y%m%dT%H")))
    except ValueError:
        return None
