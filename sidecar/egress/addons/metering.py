"""Metering of HTTP answers: an intent on disk before a metered request leaves, copies of the answer's bytes for the
meter as they pass, and its usage in the spool when it has ended, however it ended.

It changes no byte of an answer, and holds none up but where some kilobytes hold megabytes: others have their turn then.
What fails here ends the request: nothing unmetered goes on.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import time
from collections.abc import Coroutine
from typing import Any

from mitmproxy.http import Headers, HTTPFlow

from sidecar.egress.addons.budget import Budget
from sidecar.egress.addons.journal import Journal
from sidecar.egress.answer import MOST_AT_ONCE
from sidecar.egress.books import Books, Call
from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.meter.faults import Fault, network_fault
from sidecar.meter.meter import Meter
from sidecar.meter.usage import Usage

READABLE = ("gzip", "br", "zstd", "deflate", "identity")
"""Encodings that the meter decodes on its copy."""

NO_SOCKET = 426
"""Codex goes on by plain requests then: that is no fault of an answer."""


class Metering:
    """Behind everything that may refuse a request, before the journal."""

    def __init__(self, books: Books, budget: Budget, journal: Journal) -> None:
        self._books = books
        self._budget = budget
        self._journal = journal

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        """The last thing before it leaves."""
        exchange = exchange_of(flow)
        call = exchange.call
        closed = self._books.closed(call.provider if call is not None else None) if not exchange.local else None
        if closed is not None:  # while it was held for something else
            refuse(flow, closed.code, closed.reason)
            return None
        if call is None:
            return None
        stuck = self._books.stuck(call)
        if stuck is not None:
            refuse(flow, stuck.code, stuck.reason)
            return None
        renewing = self._budget.renew(flow, call)
        if renewing is not None:
            return self._renewed(flow, call, renewing)
        self._leave(flow, call)
        return None

    async def _renewed(self, flow: HTTPFlow, call: Call, renewing: Coroutine[Any, Any, None]) -> None:
        await renewing
        if exchange_of(flow).refusal is None:
            self._leave(flow, call)

    def _leave(self, flow: HTTPFlow, call: Call) -> None:
        accept_readable(flow.request.headers)
        call.path = self._journal.path(flow)
        if call.purpose != "free" and not self._books.intend(call):
            refuse(flow, "spool_unavailable", "what it uses cannot be written to disk")

    def responseheaders(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        call, response = exchange.call, flow.response
        if call is None or response is None or not exchange.sent or exchange.refusal is not None:
            return
        headers = plain(response.headers)
        call.status = response.status_code
        call.meter = Meter.for_response(
            call.target, response.status_code, headers, call.facts, now=time.time(), learned=self._books.learned
        )
        if call.meter is not None:
            self._books.windows(call, call.meter.windows)
            exchange.taps.append(_tap(self._books, call, call.meter))

    def response(self, flow: HTTPFlow) -> None:
        if flow.websocket is None:
            self._end(exchange_of(flow), complete=flow.error is None)

    def error(self, flow: HTTPFlow) -> None:
        self._end(exchange_of(flow), complete=False)

    # --- from outside the hooks --------------------------------------------------------------------------------------

    def killed(self, flow: HTTPFlow) -> None:
        """Its connection was ended."""
        self._end(exchange_of(flow), complete=False)

    def gone(self, flow: HTTPFlow) -> None:
        """Nothing more will be heard of it: what failed to be metered is written down as that."""
        call = exchange_of(flow).call
        if call is None or call.closed:
            return
        if call.intended and exchange_of(flow).sent:
            self._books.lost(call)
        else:
            self._books.close(call, ())

    def _end(self, exchange: Exchange, *, complete: bool) -> None:
        call = exchange.call
        if call is None or call.closed or (call.purpose == "free" and not _refused(call)):
            return
        usage, fault = _result(call, exchange, complete)
        if call.purpose == "free" and fault is None:
            return
        # a row for the fault, also of a refused connection, and of a call whose host has no address: it never left
        call.intended = call.intended or call.purpose == "free" or fault is not None
        if call.meter is not None:
            self._books.windows(call, call.meter.windows)
        exchange.detail.update(self._books.close(call, (usage,), fault))
        if fault is not None:
            exchange.detail["fault"] = fault.kind


def _refused(call: Call) -> bool:
    """Whether the provider refused what costs nothing by itself: a WebSocket, in which the calls would have come."""
    return call.meter is not None and (call.status or 0) >= 400 and call.status != NO_SOCKET


def _result(call: Call, exchange: Exchange, complete: bool) -> tuple[Usage, Fault | None]:
    if call.meter is not None:
        usage, fault = call.meter.finish(complete), call.meter.fault
        broken = fault is not None and fault.kind == "network" and fault.status is None
        ours = broken and not call.meter.unfinished and exchange.ended_by != "upstream"
        return usage, None if ours else fault
    # no head of an answer came
    refusal = exchange.refusal
    fault = network_fault(refusal.reason) if refusal is not None and refusal.status == 502 else None
    never = refusal is not None or not exchange.sent
    if never:
        return Usage("", call.facts.model, billable=False, complete=False), fault
    # the model may have been at work when it was given up: what it read is paid, what it wrote is not known
    read = call.input if call.purpose == "call" else 0
    gone = Usage("", call.facts.model, input=read, complete=False, estimated=True, billable=call.purpose != "unknown")
    return gone, None


def _tap(books: Books, call: Call, meter: Meter):
    def tap(data: bytes) -> None:
        if call.first is None and data:
            call.first = time.perf_counter()
        if data:
            meter.feed(data, MOST_AT_ONCE)
        else:
            meter.read_on(MOST_AT_ONCE)
        books.passed(call, len(data), meter.so_far)

    return tap


def plain(headers: Headers) -> dict[str, str]:
    """With names in lower case, as the meter reads them."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers.fields}


def accept_readable(headers: Headers) -> None:
    """Leave of `accept-encoding` what can be read here; where nothing is left, ask for none."""
    if "accept-encoding" not in headers:
        return
    offered = [part.strip() for value in headers.get_all("accept-encoding") for part in value.split(",")]
    kept = [part for part in offered if part.partition(";")[0].strip().lower() in READABLE]
    headers["accept-encoding"] = ", ".join(kept) or "identity"
