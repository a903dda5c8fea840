"""The optional pre-flight count: before a metered request leaves, its provider's own endpoint says how much the model
will read, and the budget is asked again with that number. Fails closed: without a number it does not leave.

The question goes to the same host, over the same route and with its credential, and only where the route allows it.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.egress.addons.budget import Budget, decoded
from sidecar.egress.books import Books, Call
from sidecar.egress.errand import Errand, ErrandFailed, run
from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.policy import RequestFacts
from sidecar.egress.reach import Reach, Unreachable
from sidecar.egress.state import State
from sidecar.egress.tls import Upstreams
from sidecar.guard import patient
from sidecar.meter.counting import CountQuestion, answered, question

log = logging.getLogger(__name__)

COUNT_SECONDS = 10.0
"""For the whole errand. The endpoints answer within some hundred milliseconds."""
_OWN = frozenset(
    (
        "content-length", "content-encoding", "transfer-encoding", "accept-encoding", "accept", "connection", "expect",
        "te", "host", "content-type",
    )
)  # fmt: skip

Slot = Callable[[], AbstractContextManager[bool]]


class Counting:
    """Behind the injection of credentials, before the intent is written."""

    def __init__(
        self, state: State, books: Books, budget: Budget, reach: Reach, upstreams: Upstreams, slot: Slot
    ) -> None:
        self._state = state
        self._books = books
        self._budget = budget
        self._reach = reach
        self._upstreams = upstreams
        self._slot = slot

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        call = exchange.call
        if call is None or exchange.local or call.purpose != "call" or not self._books.counts(call.provider):
            return None
        return self._count(flow, exchange, call)

    async def _count(self, flow: HTTPFlow, exchange: Exchange, call: Call) -> None:
        encoding, body = flow.request.headers.get("content-encoding", ""), flow.request.raw_content or b""
        asked = await asyncio.to_thread(lambda: question(call.target, decoded(encoding, body)))
        if asked is None:
            return  # its API has no such endpoint: the estimate has decided
        if not self._allowed(exchange, asked):
            refuse(flow, "budget_preflight", f"its route does not let {asked.target} be asked for the tokens it needs")
            return
        number = await self._ask(flow, exchange, asked)
        if number is None:
            refuse(flow, "budget_preflight", "its provider did not say how many tokens it needs")
            return
        if not asked.whole:
            number += call.before or 0
        exchange.detail["counted"] = number
        self._books.counted(call, number)
        verdict = await self._budget.hold(flow, call)
        if verdict.code:
            refuse(flow, verdict.code, verdict.reason)
        else:
            self._books.reserve(call)

    async def _ask(self, flow: HTTPFlow, exchange: Exchange, asked: CountQuestion) -> int | None:
        errand = Errand(
            exchange.host, flow.request.scheme == "https", asked.target, _headers(flow, asked.body), asked.body
        )
        destination = exchange.edge.destinations.get((exchange.host, exchange.port)) if exchange.edge else None
        try:
            async with patient(flow, COUNT_SECONDS), asyncio.timeout(COUNT_SECONDS):
                with self._slot() as free:
                    if destination is None or not free:
                        return None
                    status, body = await run(errand, destination, self._reach, self._upstreams)
        except (ErrandFailed, Unreachable, OSError, TimeoutError) as error:
            log.warning("the provider's count could not be had: %s", type(error).__name__)
            return None
        return answered(body) if status == 200 else None

    def _allowed(self, exchange: Exchange, asked: CountQuestion) -> bool:
        """By the same rules as if the agent asked, and with the same credential."""
        facts = RequestFacts(exchange.host, exchange.port, "POST", asked.target, ())
        verdict = self._state.policy.decide(facts)
        return (
            verdict.allowed
            and verdict.route is not None
            and exchange.route is not None
            and verdict.route.auth == exchange.route.auth
        )


def _headers(flow: HTTPFlow, body: bytes) -> list[tuple[bytes, bytes]]:
    """The request's own, but for what describes its body and this connection."""
    kept = [
        (name, value)
        for name, value in flow.request.headers.fields
        if name.decode("latin-1").lower() not in _OWN and not name.startswith(b":")
    ]
    own = {
        b"host": flow.request.pretty_host.encode() if flow.request.port in (80, 443) else
        f"{flow.request.pretty_host}:{flow.request.port}".encode(),
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
    }  # fmt: skip
    return [*own.items(), *kept]
