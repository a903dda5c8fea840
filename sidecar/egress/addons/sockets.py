"""Metering of Responses over a WebSocket: each `response.create` of the agent's is a request of its own, which must be
allowed and written down before it leaves; each last event of the provider's ends one.
"""

import time
from collections import deque
from collections.abc import Coroutine
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.egress.addons.budget import Budget, unreadable
from sidecar.egress.addons.metering import plain
from sidecar.egress.books import Books, Call
from sidecar.egress.exchange import Exchange, exchange_of
from sidecar.egress.refusal import Refusal
from sidecar.meter.ledger import Verdict
from sidecar.meter.request import RequestFacts
from sidecar.meter.usage import Usage
from sidecar.meter.websocket import MOST_OPEN, SocketMeter, request_of


class Conversation:
    """One metered WebSocket (an exchange.SocketTap)."""

    def __init__(self, books: Books, exchange: Exchange, upgrade: Call, headers: dict[str, str]) -> None:
        self._books = books
        self._exchange = exchange
        self.upgrade = upgrade
        self.meter = SocketMeter(headers, now=time.time(), learned=books.learned)
        self.open: deque[Call] = deque()
        self._count = 0
        self._heard = False

    def call(self, facts: RequestFacts) -> Call:
        """The next request on it."""
        self._count += 1
        up = self.upgrade
        made = Call(
            f"{up.request_id}-{self._count}", up.provider, up.host, "WEBSOCKET", up.target, "call", up.path, "websocket"
        )
        self._books.estimate(made, facts)
        made.status = 101
        return made

    def left(self, call: Call) -> None:
        self.meter.asked(call.facts)
        self.open.append(call)

    def down(self, message: str | bytes) -> None:
        self._heard = True
        if self.open and self.open[0].first is None:
            self.open[0].first = time.perf_counter()
        self._close(self.meter.feed_message("down", message, now=time.time()))
        facts = self.meter.under_way
        if facts is not None and facts.input_units and not self.open:  # what nobody asked for has none
            self._again(facts)
        if self.open:
            self._books.passed(self.open[0], len(message), self.meter.so_far)
        self._books.windows(self.upgrade, self.meter.windows)

    def _again(self, facts: RequestFacts) -> None:
        """An error that seemed to be about a request ended its call, and what it asked for comes all the same."""
        call = self.call(facts)
        self._books.reserve(call)
        self._books.intend(call)
        self.open.append(call)

    def end(self) -> None:
        """The connection is over: what was open broke off."""
        self._close(self.meter.finish())
        while self.open:
            self._books.lost(self.open.popleft())
        if self._heard and not self._count and unreadable(self.upgrade):
            # another protocol than the one that is read here, with a model behind it for all that is known
            call = self.call(RequestFacts(method="WEBSOCKET"))
            call.purpose = "unknown"
            if self._books.intend(call):
                self._books.lost(call)

    def _close(self, usages: tuple[Usage, ...]) -> None:
        for usage in usages:
            # one that nobody asked for has a row as well
            call = self.open.popleft() if self.open else self.call(RequestFacts(method="WEBSOCKET"))
            call.intended = True
            told = self._books.close(call, (usage,), self.meter.fault)
            detail = self._exchange.detail
            detail.update(told | {"tokens": detail.get("tokens", 0) + told.get("tokens", 0)})


class Sockets:
    """Beside `Metering`, which sees the upgrade alone."""

    def __init__(self, books: Books, budget: Budget) -> None:
        self._books = books
        self._budget = budget

    def websocket_start(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange.call is not None and flow.response is not None:
            exchange.socket = Conversation(self._books, exchange, exchange.call, plain(flow.response.headers))

    def agent_message(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        talk = exchange.socket
        if not isinstance(talk, Conversation) or exchange.refusal is not None:
            return None  # what another check refused does not leave, and costs nothing
        closed = self._books.closed(talk.upgrade.provider)
        facts = request_of(exchange.message, doubtful=not unreadable(talk.upgrade))
        if closed is not None:
            _refuse(exchange, closed)
        elif facts is not None:
            return self._request(flow, exchange, talk, facts)
        return None

    def _request(
        self, flow: HTTPFlow, exchange: Exchange, talk: Conversation, facts: RequestFacts
    ) -> Coroutine[Any, Any, None] | None:
        call = talk.call(facts)
        if len(talk.open) >= MOST_OPEN:
            _refuse(exchange, Verdict("budget_busy", "too many requests on one connection"))
        elif (uncounted := self._budget.uncounted(call)) is not None:
            _refuse(exchange, uncounted)
        elif self._books.check(call.need).code:
            return self._hold(flow, exchange, talk, call)
        else:
            self._go(exchange, talk, call)
        return None

    async def _hold(self, flow: HTTPFlow, exchange: Exchange, talk: Conversation, call: Call) -> None:
        verdict = await self._budget.hold(flow, call)
        if verdict.code:
            _refuse(exchange, verdict)
        else:
            self._go(exchange, talk, call)

    def _go(self, exchange: Exchange, talk: Conversation, call: Call) -> None:
        self._books.reserve(call)
        if self._books.intend(call):
            talk.left(call)
        else:
            self._books.close(call, ())
            _refuse(exchange, Verdict("budget_unknown", "what it uses cannot be written to disk"))

    def websocket_end(self, flow: HTTPFlow) -> None:
        self.gone(flow)

    def gone(self, flow: HTTPFlow) -> None:
        """Also from outside the hooks: its connection was ended."""
        exchange = exchange_of(flow)
        talk = exchange.socket
        if isinstance(talk, Conversation):
            exchange.socket = None
            talk.end()


def _refuse(exchange: Exchange, verdict: Verdict) -> None:
    exchange.refusal = Refusal(verdict.code, verdict.reason, exchange.host)
