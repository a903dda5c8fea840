"""What was used, as values that the store keeps and every face shows: one answer's row, what was announced and never
reported, and sums over time. Pure. Money is whole billionths of a dollar; None is a price that nobody knows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.core.budget import Spent
from app.core.model import Snapshot, Sum

BUCKET = 900
"""Seconds of one bucket of sums: every time zone's midnight falls on one."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One answer of a model. `event_id` is unique within its session. `context` is all that the model read."""

    event_id: str
    request_id: str
    at: float
    provider: str
    host: str = ""
    path: str = ""
    model: str = ""
    dialect: str = ""
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost_nano: int | None = None
    tool_calls: int = 0
    billable: bool = True
    complete: bool = True
    estimated: bool = False
    unmetered: bool = False
    response_id: str = ""
    stop_reason: str = ""
    status: int | None = None
    ms: float = 0.0
    first_ms: float | None = None
    fault: str = ""
    fault_kind: str = ""
    flags: str = ""

    @property
    def context(self) -> int:
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """What a token budget counts."""
        return self.context + self.output


@dataclass(frozen=True, slots=True)
class Intent:
    """A metered request that is about to leave. Without a row of its own in the end, it becomes an estimated one."""

    request_id: str
    at: float
    provider: str
    host: str = ""
    path: str = ""
    model: str = ""
    input: int = 0
    output: int = 0
    known: bool = True
    """False where nothing could be estimated: then its row is unmetered."""
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Part of `cache_write`, at a price of its own."""

    @property
    def row(self) -> UsageRow:
        """The row that it becomes where its usage never came."""
        return UsageRow(
            event_id=f"intent-{self.request_id}"[:64],
            request_id=self.request_id,
            at=self.at,
            provider=self.provider,
            host=self.host,
            path=self.path,
            model=self.model,
            input=self.input,
            output=self.output,
            cache_read=self.cache_read,
            cache_write=self.cache_write,
            complete=False,
            estimated=self.known,
            unmetered=not self.known,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an announced answer had come at a time, in place of its intent's numbers. `input`: read at full price."""

    request_id: str
    at: float
    model: str = ""
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0


class Slice(Snapshot):
    """A sum for one provider, model and stretch of time in one scope; empty or 0 where these were not told apart."""

    scope: str = ""
    provider: str = ""
    model: str = ""
    start: int = 0
    sum: Sum = Sum()


class Metrics(Snapshot):
    """One session in numbers; the last hundred of each project are kept."""

    session_id: str
    slug: str
    project: str
    agent: str | None = None
    provider: str = ""
    model: str = ""
    started: float = 0.0
    ended: float | None = None
    tokens: int = 0
    peak_context: int = 0
    turns: int = 0
    tool_calls: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    status: str = ""
    error: str = ""


def sum_of(row: UsageRow, sign: int = 1) -> Sum:
    """One row as a sum; with `sign` -1 what takes it back."""
    if not row.billable:
        return Sum(errors=sign)
    unpriced = row.total if row.cost_nano is None else 0
    return Sum(
        requests=sign,
        input=sign * row.input,
        output=sign * row.output,
        cache_read=sign * row.cache_read,
        cache_write=sign * row.cache_write,
        reasoning=sign * row.reasoning,
        cost_nano=sign * (row.cost_nano or 0),
        unpriced=sign * unpriced,
        estimated=sign * row.estimated,
        unmetered=sign * row.unmetered,
        errors=sign * bool(row.fault_kind),
        tool_calls=sign * row.tool_calls,
        ms=sign * row.ms,
    )


def bucket(at: float) -> int:
    """The start of the bucket that `at` lies in."""
    return int(at) // BUCKET * BUCKET


def within(row: UsageRow, earliest: float, latest: float) -> UsageRow:
    """The row with a time that its session can have had: no sidecar's clock may move it out of a budget's period."""
    return replace(row, at=min(max(row.at, earliest), latest))


def total(sums: Iterable[Sum]) -> Sum:
    found = dict(Sum())
    for item in sums:
        for name, value in item:
            found[name] += value
    return Sum.model_construct(**found)


def spent(sums: Iterable[Sum]) -> Spent:
    """What counts against budgets."""
    found = total(sums)
    return Spent(found.total, found.cost_nano, found.unpriced)
