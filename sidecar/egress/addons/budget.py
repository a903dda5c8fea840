"""Step 4: may this metered request leave? Decided on the allowance that this sidecar holds, with nobody's help; what it
will use is set aside before any other check waits for anything.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.egress import overrides, paths
from sidecar.egress.books import Books, Call, Purpose
from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.state import State
from sidecar.guard import patient
from sidecar.meter.decode import Decoder, Undecodable
from sidecar.meter.dialects import choose
from sidecar.meter.dialects.responses import Responses
from sidecar.meter.ledger import Verdict
from sidecar.meter.request import RequestFacts, hides_usage, request_facts

BESIDE = 256 * 1024
"""Bytes of a body from which it is read beside the loop (5 to 10 ms for each MB)."""


class Budget:
    """Right behind the gate."""

    def __init__(self, state: State, books: Books) -> None:
        self._state = state
        self._books = books

    def requestheaders(self, flow: HTTPFlow) -> None:
        """What cannot change any more is told before the body is read."""
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None:
            return
        target = flow.request.data.path.decode("latin-1")
        provider = self._state.metered.provider_of(exchange.host, target)
        closed = self._books.closed(provider)
        if closed is not None:
            refuse(flow, closed.code, closed.reason)
        elif provider is not None:
            exchange.call = self._call(flow, exchange, provider, target)

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        call = exchange.call
        if call is None or exchange.local:
            return None
        if call.purpose == "free":
            verdict = self._books.check(call.need)
            socket = "upgrade" in flow.request.headers
            if socket and unreadable(call) and self._limited(call):
                refuse(flow, "budget_unknown", "what this connection uses could not be counted")
            elif not verdict.code:
                return None
            elif socket:
                return self._hold(flow, call, reserve=False)
            elif not verdict.wait and not verdict.hold:
                refuse(flow, verdict.code, verdict.reason)
            return None
        body = flow.request.raw_content or b""
        if len(body) >= BESIDE:
            return self._read_beside(flow, call, body)
        self._books.estimate(call, _facts(flow, call, body))
        return self._admit(flow, call)

    async def _read_beside(self, flow: HTTPFlow, call: Call, body: bytes) -> None:
        self._books.estimate(call, await asyncio.to_thread(_facts, flow, call, body))
        waiting = self._admit(flow, call)
        if waiting is not None:
            await waiting

    def _admit(self, flow: HTTPFlow, call: Call) -> Coroutine[Any, Any, None] | None:
        uncounted = self.uncounted(call)
        if uncounted is not None:
            refuse(flow, uncounted.code, uncounted.reason)
            return None
        if self._books.check(call.need).code:
            return self._hold(flow, call)
        self._books.reserve(call)
        return None

    async def _hold(self, flow: HTTPFlow, call: Call, *, reserve: bool = True) -> None:
        """Wait for as long as the verdict says that waiting may help."""
        verdict = await self.hold(flow, call)
        if verdict.code:
            refuse(flow, verdict.code, verdict.reason)
        elif reserve:
            self._books.reserve(call)

    def renew(self, flow: HTTPFlow, call: Call) -> Coroutine[Any, Any, None] | None:
        """While a request was held for something else, what was set aside for it may have gone: ask again then."""
        return self._hold(flow, call) if call.purpose != "free" and self._books.give_up_lapsed(call) else None

    async def hold(self, flow: HTTPFlow, call: Call) -> Verdict:
        """The verdict on `call`, after the waits that may change it. What is free to go must be reserved at once."""
        started = time.monotonic()
        verdict = self._books.check(call.need)
        while verdict.code:
            most = self._state.policy.policy.hold_seconds if verdict.hold else verdict.wait
            left = started + most - time.monotonic()
            if left <= 0:
                break
            if self._books.full:
                return Verdict("budget_busy", "too many requests wait already")
            async with patient(flow, left):
                await self._books.wait(call.need, left)
            verdict = self._books.check(call.need)
        return verdict

    def uncounted(self, call: Call) -> Verdict | None:
        """Why a request does not leave under a budget whose answer would not say what it used: it is worked on behind
        that, and what was set aside for it is no bound, or it is asked for without its usage."""
        if not self._limited(call):
            return None
        if call.purpose == "deferred" or call.facts.background:
            return Verdict("budget_unknown", "what it uses later could not be counted: send it to be answered at once")
        if call.hides_usage:
            return Verdict("budget_unknown", "its answer would not say what it used: ask for all of it, as JSON")
        return None

    def _limited(self, call: Call) -> bool:
        return any(held.limit is not None and held.provider == call.provider for held in self._books.standing().leases)

    def _call(self, flow: HTTPFlow, exchange: Exchange, provider: str, target: str) -> Call:
        method, (path, query) = flow.request.data.method.decode("latin-1"), paths.split(target)
        path = paths.canonical(path)
        fields = flow.request.headers.fields
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in fields]
        if overrides.methods(headers, (target,)):
            method = "POST"
        purpose: Purpose = choose.purpose(method, path) if path is not None else "unknown"
        return Call(
            exchange.id,
            provider,
            exchange.host,
            method,
            path or "",
            purpose,
            hides_usage=hides_usage(query, (name for name, _ in headers)),
            clock=exchange.clock,
        )


def unreadable(call: Call) -> bool:
    """True for a WebSocket in whose messages no usage would be found."""
    return not isinstance(choose.by_path(call.target), Responses)


def _facts(flow: HTTPFlow, call: Call, body: bytes) -> RequestFacts:
    return request_facts(call.method, call.target, decoded(flow.request.headers.get("content-encoding", ""), body))


def decoded(encoding: str, body: bytes) -> bytes:
    """A copy of a request's body without its encodings; as far as it can be read."""
    pieces: list[bytes] = []
    with contextlib.suppress(Undecodable):
        pieces += Decoder(encoding).feed(body)
    return b"".join(pieces)
