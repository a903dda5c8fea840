"""The canary in a request that was refused before it was looked through (its host is on no list, its body cannot be
read): nothing leaves, and that it moved is an alarm all the same.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Coroutine
from functools import partial
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.egress.addons.journal import Journal
from sidecar.egress.examine import canary_in
from sidecar.egress.exchange import Exchange, exchange_of
from sidecar.egress.message import Message
from sidecar.egress.scanner import Scanner
from sidecar.egress.verdict import alarm_text

MOST = 256 * 1024
"""Bytes of a body that are looked at: of what was refused, no more than its beginning is of interest."""


class Alarms:
    """Before the journal, which writes down how it ended."""

    def __init__(self, scanner: Scanner, journal: Journal) -> None:
        self._scanner = scanner
        self._journal = journal

    def response(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        refused = exchange.refusal is not None and not exchange.sent and not exchange.local
        # without engines nothing was let out either, and nobody waits for them to be told no
        return self._look(flow, exchange) if refused and not exchange.alarmed and self._scanner.ready else None

    def error(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        return self.response(flow)

    async def _look(self, flow: HTTPFlow, exchange: Exchange) -> None:
        request = flow.request.data
        host = exchange.host or flow.request.host
        body = bytes(exchange.dropped or (request.content or b"")[:MOST])
        message = Message(host, request.method, request.path, request.headers.fields, body, MOST)
        found = await self._scanner.run(message.size, partial(canary_in, message=message))
        if found is not None:
            exchange.alarmed = True
            self._journal.notice("error", "canary_leaked", alarm_text(found, host, "was stopped on its way"))
