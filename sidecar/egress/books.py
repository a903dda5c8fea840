"""What one bottle's metered requests are, used and may use: the seam between the add-ons that see requests (`budget`,
`metering`), the ledger, the spool and the control channel. Writes intents before and usages after; decides nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sidecar.allowance import (
    Allowance,
    FaultInfo,
    Gauge,
    IntentEvent,
    LeaseNote,
    ProgressEvent,
    SaidInfo,
    Standing,
    UsageEvent,
    WindowEvent,
)
from sidecar.egress.exchange import new_id
from sidecar.meter.faults import Fault
from sidecar.meter.learned import Calibration
from sidecar.meter.ledger import Ledger, Need, Spent, Verdict
from sidecar.meter.meter import Meter
from sidecar.meter.request import RequestFacts
from sidecar.meter.usage import Usage, Window
from sidecar.spool import SpoolWriter

NOTE_SECONDS = 1.0
MAX_WAITING = 256
"""Requests that wait at once. Their bodies count against the proxy's own bound as well."""
FIRST_OUTPUT = 1000
"""Tokens set aside for an answer before this bottle had any."""
STEP, LEAST_STEP, STEP_SECONDS = 0.015, 256, 0.02
"""How far an answer has come is written down after so much more of it (a part, and bytes), not more often than so: a
sidecar that is killed leaves the rest uncounted. Some 400 rows for an answer of megabytes."""
MOST_UNFINISHED = 8
"""Answers in a row that ended before the model had ended them, until one request is refused: some agents take such an
answer for a turn and ask again at once, without end (OpenCode 1.18.33: ten times a second). The others give up after
two to six."""
MAX_WINDOWS = 64
MAX_PARTS = 20

type Purpose = Literal["call", "deferred", "unknown", "free"]


@dataclass
class Call:
    """One metered request: of HTTP, or one `response.create` on a WebSocket."""

    request_id: str
    provider: str
    host: str
    method: str
    target: str
    """What the meter knows the API by; empty where it could be read in two ways."""
    purpose: Purpose
    path: str = ""
    """As it may be kept: filled in right before it leaves."""
    protocol: Literal["http", "websocket"] = "http"
    facts: RequestFacts = field(default_factory=RequestFacts)
    hides_usage: bool = False
    """Its answer is asked for without what would be counted."""
    input: int = 0
    output: int = 0
    before: int | None = 0
    """Tokens of the conversation that it goes on with, also in `input`; None: that was not seen here."""
    clock: float = field(default_factory=time.perf_counter)
    first: float | None = None
    """When the answer's body began."""
    intended: bool = False
    closed: bool = False
    status: int | None = None
    meter: Meter | None = None
    seen: int = 0
    """Bytes of the answer that have passed."""
    next_step: int = 0
    stepped: float = 0.0
    timer: asyncio.TimerHandle | None = None

    @property
    def need(self) -> Need:
        return Need(self.provider, self.facts.model, self.input, self.output, self.before is not None)


class Books:
    """One a sidecar. `tell` passes a note to the controller."""

    def __init__(self, spool: SpoolWriter, tell: Callable[[str, dict[str, Any]], None]) -> None:
        self.ledger = Ledger()
        self.learned = Calibration()
        self._spool = spool
        self._tell = tell
        self._waiting: list[Need] = []
        self._changed = asyncio.Event()
        self._told: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._windows: dict[str, tuple[Gauge, ...]] = {}
        self._output = float(FIRST_OUTPUT)
        self._unfinished: dict[str, int] = {}
        """Of each provider: how many answers in a row the model had not ended."""

    # --- allowances ---------------------------------------------------------------------------------------------------

    def grant(self, allowance: Allowance) -> None:
        if self.ledger.grant(allowance):
            self._told.clear()
            self._wake()

    def standing(self) -> Standing:
        return self.ledger.standing(len(self._waiting))

    @property
    def full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING

    async def wait(self, need: Need, seconds: float) -> None:
        """Until something changed that `need` may have waited for, or for `seconds`."""
        self._waiting.append(need)
        self._look()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.remove(need)

    def check(self, need: Need) -> Verdict:
        return self.ledger.check(need)

    def closed(self, provider: str | None) -> Verdict | None:
        """Why nothing leaves any more: of this provider, or of any host."""
        return self.ledger.closed(None) or (self.ledger.closed(provider) if provider is not None else None)

    def give_up_lapsed(self, call: Call) -> bool:
        """Give up the place of `call` where what was set aside for it is no longer there; true if so."""
        lapsed = self.ledger.lapsed(call.provider)
        if lapsed:
            self.ledger.release(call.request_id)
        return lapsed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._look()

    def _look(self) -> None:
        """Tell the controller of leases that run low: each once a second at most, again while somebody waits."""
        notes, now = self.ledger.low(self._waiting), time.monotonic()
        later = False
        for note in notes:
            if now - self._told.get(note.lease, -NOTE_SECONDS) < NOTE_SECONDS:
                later = True
                continue
            self._told[note.lease] = now
            self._say(note)
        if (later or self._waiting) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NOTE_SECONDS, self._again)

    def _again(self) -> None:
        self._timer = None
        self._look()

    def _say(self, note: LeaseNote) -> None:
        self._tell("lease", note.model_dump(mode="json"))

    # --- requests -----------------------------------------------------------------------------------------------------

    def estimate(self, call: Call, facts: RequestFacts) -> None:
        """Fill in what `call` will use, about."""
        call.facts = facts
        call.before = self.learned.read_before(facts.previous)
        call.input = self.learned.tokens("input", facts.model, facts.input_units) + (call.before or 0)
        call.output = round(self._output) if call.purpose != "unknown" else 0

    def counts(self, provider: str) -> bool:
        """Whether the provider itself is to be asked what a request needs: only where a budget governs it."""
        allowance = self.ledger.allowance
        if allowance is None or not allowance.count:
            return False
        return any(lease.provider == provider and lease.limit is not None for lease in allowance.leases)

    def counted(self, call: Call, tokens: int) -> None:
        """The provider's own number in place of the estimate; nothing is set aside for it any more."""
        call.input = tokens
        self.ledger.release(call.request_id)

    def stuck(self, call: Call) -> Verdict | None:
        """Why `call` must not leave where its agent asks again and again for what never comes. It is told once, then
        the count begins anew: whoever mended it may go on."""
        if call.purpose != "call" or self._unfinished.get(call.provider, 0) < MOST_UNFINISHED:
            return None
        del self._unfinished[call.provider]
        what = f"the last {MOST_UNFINISHED} answers from {call.host} ended before the model had ended them"
        return Verdict("answers_unfinished", what)

    def reserve(self, call: Call) -> None:
        self.ledger.reserve(call.request_id, call.need)
        self._look()

    def intend(self, call: Call) -> bool:
        """Write down that `call` is about to leave; false if the disk does not take it, and then it must not."""
        event = IntentEvent(
            id=f"{call.request_id}.i",
            at=time.time(),
            request_id=call.request_id,
            provider=call.provider,
            host=call.host[:260],
            method=call.method[:32],
            path=call.path[:1024],
            model=call.facts.model,
            protocol=call.protocol,
            purpose="call" if call.purpose == "free" else call.purpose,
            stream=call.facts.stream,
            input_tokens=call.input,
            output_tokens=call.output,
        )
        call.intended = True
        return self._spool.write(event.model_dump(mode="json"))

    def passed(self, call: Call, size: int, so_far: Callable[[], Usage | None]) -> None:
        """So much more of its answer has passed: now and then, how far it is is written down."""
        call.seen += size
        if call.seen < call.next_step or call.timer is not None or not call.intended or call.closed:
            return
        early = STEP_SECONDS - (time.perf_counter() - call.stepped)
        if early > 0:
            call.timer = asyncio.get_running_loop().call_later(early, self._step, call, so_far)
        else:
            self._step(call, so_far)

    def _step(self, call: Call, so_far: Callable[[], Usage | None]) -> None:
        call.timer = None
        usage = so_far() if not call.closed else None
        if usage is None:
            return
        now = time.perf_counter()
        call.next_step, call.stepped = call.seen + max(LEAST_STEP, int(call.seen * STEP)), now
        event = ProgressEvent(
            id=f"{call.request_id}.{call.seen}"[:80],
            at=time.time(),
            request_id=call.request_id,
            model=usage.model,
            input_tokens=usage.context,
            output_tokens=usage.output,
            cache_read=usage.cache_read,
            cache_write_5m=usage.cache_write_5m,
            cache_write_1h=usage.cache_write_1h,
        )
        self._spool.write(event.model_dump(mode="json"))

    def close(self, call: Call, usages: Iterable[Usage], fault: Fault | None = None) -> dict[str, Any]:
        """Write what `call` used, charge it, and say it for the request's own row. Only the first time counts."""
        if call.closed:
            return {}
        call.closed = True
        self._count_unfinished(call)
        if call.timer is not None:
            call.timer.cancel()
        parts = [_set_aside(call, part) for part in _parts(usages)] or [Usage("", call.facts.model, billable=False)]
        charged = self.ledger.settle(call.request_id, call.provider, [_spent(part) for part in parts])
        if call.intended:
            for number, part in enumerate(parts):
                event = self._usage(call, number, part)
                if number == 0:
                    event = event.model_copy(
                        update={"charged": charged, "fault": _info(fault), "said": _said(call, part)}
                    )
                self._spool.write(event.model_dump(mode="json"))
        if parts[0].billable and parts[0].output and not parts[0].estimated:
            self._output += (parts[0].output - self._output) * 0.2
        self._wake()
        tokens = sum(part.total for part in parts if part.billable)
        return {"provider": call.provider, "model": parts[0].model, "tokens": tokens} if parts[0].billable else {}

    def _count_unfinished(self, call: Call) -> None:
        if call.meter is None or call.purpose != "call":
            return
        if call.meter.unfinished:
            self._unfinished[call.provider] = self._unfinished.get(call.provider, 0) + 1
        elif call.meter.fault is None:
            self._unfinished.pop(call.provider, None)

    def lost(self, call: Call) -> None:
        """Its answer's metering failed: what was set aside for it is what it used."""
        unknown = call.purpose == "unknown"
        usage = Usage(
            "",
            call.facts.model,
            input=0 if unknown else call.input,
            output=0 if unknown else call.output,
            complete=False,
            estimated=True,
            unmetered=True,
        )
        self.close(call, (usage,))

    def windows(self, call: Call, found: tuple[Window, ...]) -> None:
        """Write the gauges that an answer told of, if they moved."""
        gauges = tuple(
            Gauge(
                name=window.name[:100],
                used_fraction=window.used_fraction,
                resets_at=window.resets_at,
                kind=window.kind,
                status=window.status[:200],
            )
            for window in found[:MAX_WINDOWS]
        )
        if not gauges or self._windows.get(call.provider) == gauges:
            return
        self._windows[call.provider] = gauges
        event = WindowEvent(
            id=new_id(), at=time.time(), request_id=call.request_id, provider=call.provider, windows=gauges
        )
        self._spool.write(event.model_dump(mode="json"))

    def _usage(self, call: Call, number: int, usage: Usage) -> UsageEvent:
        now = time.perf_counter()
        return UsageEvent(
            id=f"{call.request_id}.{number}",
            at=time.time(),
            request_id=call.request_id,
            part=number,
            provider=call.provider,
            host=call.host[:260],
            path=call.path[:1024],
            model=usage.model,
            dialect=usage.dialect,
            protocol=call.protocol,
            input=usage.input,
            output=usage.output,
            cache_read=usage.cache_read,
            cache_write_5m=usage.cache_write_5m,
            cache_write_1h=usage.cache_write_1h,
            reasoning=usage.reasoning,
            web_searches=usage.web_searches,
            file_searches=usage.file_searches,
            cost_usd=float(usage.cost_usd) if usage.cost_usd is not None else None,
            service_tier=usage.service_tier,
            stop_reason=usage.stop_reason,
            response_id=usage.response_id if _asked_again(call, usage) else "",
            tool_calls=usage.tool_calls,
            billable=usage.billable,
            complete=usage.complete,
            estimated=usage.estimated,
            unmetered=usage.unmetered,
            flags=usage.flags,
            status=call.status,
            ms=round((now - call.clock) * 1000, 3),
            first_ms=round((call.first - call.clock) * 1000, 3) if call.first is not None else None,
        )


def _parts(usages: Iterable[Usage]) -> list[Usage]:
    """Main answers and other models' shares in them, each a row."""
    found: list[Usage] = []
    for usage in usages:
        found += [usage, *usage.also]
    return found[:MAX_PARTS]


def _asked_again(call: Call, usage: Usage) -> bool:
    """Only of background responses an answer may come twice. Other ids are no proof: some servers give all the same."""
    return usage.dialect == "responses" and (call.facts.background or call.method == "GET")


def _set_aside(call: Call, usage: Usage) -> Usage:
    """Paid later, and nobody may tell how much: what was set aside for it counts."""
    if not (usage.billable and usage.unmetered and "deferred" in usage.flags):
        return usage
    return replace(usage, model=usage.model or call.facts.model, input=call.input, output=call.output, cache_read=0)


def _spent(usage: Usage) -> Spent:
    if not usage.billable:
        return Spent(usage.model)
    return Spent(
        usage.model,
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.web_searches,
        usage.file_searches,
        float(usage.cost_usd) if usage.cost_usd is not None else None,
    )


def _said(call: Call, usage: Usage) -> SaidInfo | None:
    if not usage.billable or call.purpose == "unknown":
        return None
    new = call.facts.brought
    return SaidInfo(message=new.message, results=new.results, failed=new.failed, tools=usage.tools, speech=usage.speech)


def _info(fault: Fault | None) -> FaultInfo | None:
    if fault is None:
        return None
    return FaultInfo(
        kind=fault.kind,
        status=fault.status,
        code=fault.code,
        message=fault.message[:600],
        retry_after=fault.retry_after,
        retryable=fault.retryable,
    )
