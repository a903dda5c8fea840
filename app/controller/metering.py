"""What a sidecar reported of usage, as the store's values, with its price. Pure but for the price table, which the
first question loads: called beside the loop. The wire types have validated the numbers; here they get a meaning."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from app.core.budget import NANO
from app.core.usage import Intent, Progress, UsageRow
from app.core.windows import Gauge
from sidecar.allowance import IntentEvent, ProgressEvent, SaidInfo, UsageEvent, WindowEvent
from sidecar.meter.usage import Usage

LAST_TIME = 253402300800.0
"""The year 10000: later times cannot be formatted."""
MOST_NANO = 1 << 44
"""Some $17,000 for one answer: beyond it a price is garbage. Half a million such answers still add up in 64 bits."""


@dataclass
class Report:
    """What one batch of lines says of usage. `charged` adds up what was counted against each lease."""

    intents: list[Intent] = field(default_factory=list[Intent])
    progress: list[Progress] = field(default_factory=list[Progress])
    rows: list[UsageRow] = field(default_factory=list[UsageRow])
    gauges: list[Gauge] = field(default_factory=list[Gauge])
    charged: dict[str, float] = field(default_factory=dict[str, float])
    said: dict[str, SaidInfo] = field(default_factory=dict[str, SaidInfo])
    """By a row's event id."""
    retry_at: float | None = None
    """The latest time that a provider asked to wait for, where it did."""

    def __bool__(self) -> bool:
        return bool(self.intents or self.rows or self.gauges)  # progress is nobody's news

    def take(self, event: IntentEvent | ProgressEvent | UsageEvent | WindowEvent) -> None:
        """Add one event. Raises ValueError for a time that no honest sidecar writes."""
        if not 0 <= event.at < LAST_TIME:
            raise ValueError("not a time")
        if isinstance(event, IntentEvent):
            self.intents.append(intent(event))
        elif isinstance(event, ProgressEvent):
            self.progress.append(progress(event))
        elif isinstance(event, UsageEvent):
            self.rows.append(row(event))
            if event.said is not None:
                self.said[event.id] = event.said
            if event.fault is not None and event.fault.retry_after:
                self.retry_at = max(event.at + event.fault.retry_after, self.retry_at or 0.0)
            for lease, amount in event.charged.items():
                self.charged[lease] = self.charged.get(lease, 0.0) + amount
        else:
            self.gauges += gauges(event)


def intent(event: IntentEvent) -> Intent:
    known = event.purpose != "unknown"
    return Intent(
        request_id=event.request_id,
        at=event.at,
        provider=event.provider,
        host=event.host,
        path=event.path,
        model=event.model,
        input=event.input_tokens if known else 0,
        output=event.output_tokens if known else 0,
        known=known,
    )


def progress(event: ProgressEvent) -> Progress:
    written = event.cache_write_5m + event.cache_write_1h
    return Progress(
        request_id=event.request_id,
        at=event.at,
        model=event.model,
        input=max(0, event.input_tokens - event.cache_read - written),
        output=event.output_tokens,
        cache_read=event.cache_read,
        cache_write=written,
        cache_write_1h=event.cache_write_1h,
    )


def row(event: UsageEvent) -> UsageRow:
    return UsageRow(
        event_id=event.id,
        request_id=event.request_id,
        at=event.at,
        provider=event.provider,
        host=event.host,
        path=event.path,
        model=event.model,
        dialect=event.dialect,
        input=event.input,
        output=event.output,
        cache_read=event.cache_read,
        cache_write=event.cache_write_5m + event.cache_write_1h,
        reasoning=event.reasoning,
        cost_nano=cost(event),
        tool_calls=event.tool_calls,
        billable=event.billable,
        complete=event.complete,
        estimated=event.estimated,
        unmetered=event.unmetered,
        response_id=event.response_id,
        stop_reason=event.stop_reason,
        status=event.status,
        ms=event.ms if math.isfinite(event.ms) else 0.0,
        first_ms=event.first_ms,
        fault=event.fault.message if event.fault else "",
        fault_kind=event.fault.kind if event.fault else "",
        flags=" ".join(event.flags)[:200],
    )


def gauges(event: WindowEvent) -> list[Gauge]:
    return [
        Gauge(
            provider=event.provider,
            name=item.name,
            kind=item.kind,
            at=event.at,
            used=item.used_fraction,
            resets_at=item.resets_at,
            status=item.status,
        )
        for item in event.windows
    ]


def cost(event: UsageEvent) -> int | None:
    """Billionths of a dollar; None where nobody knows the price."""
    return priced(
        Usage(
            dialect=event.dialect,
            model=event.model,
            input=event.input,
            output=event.output,
            cache_read=event.cache_read,
            cache_write_5m=event.cache_write_5m,
            cache_write_1h=event.cache_write_1h,
            reasoning=event.reasoning,
            web_searches=event.web_searches,
            file_searches=event.file_searches,
            cost_usd=None if event.cost_usd is None else Decimal(repr(event.cost_usd)),
            service_tier=event.service_tier,
            billable=event.billable,
            unmetered=event.unmetered,
        ),
        event.host,
        event.at,
    )


def cost_of_lost(given: Intent) -> int | None:
    """The price of what was announced and never reported."""
    row = given.row
    usage = Usage(
        dialect="",
        model=row.model,
        input=row.input,
        output=row.output,
        cache_read=row.cache_read,
        cache_write_5m=row.cache_write - given.cache_write_1h,
        cache_write_1h=given.cache_write_1h,
        estimated=True,
        unmetered=row.unmetered,
    )
    return priced(usage, given.host, given.at)


def priced(usage: Usage, host: str, at: float) -> int | None:
    from sidecar.meter.prices import price

    found = price(usage, host, datetime.fromtimestamp(min(at, LAST_TIME - 86400), UTC))
    if found is None or not found.is_finite():
        return None
    nano = int(found * NANO)
    return nano if 0 <= nano <= MOST_NANO else None
