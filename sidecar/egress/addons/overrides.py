"""Once a request's body is there: whether it names another method than the request line, and may (`egress.overrides`).
Headers and query are the gate's, as soon as the head is there."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.dlp.decode import Undecodable
from sidecar.egress.addons.outbound import message_of
from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.message import Message
from sidecar.egress.overrides import in_body
from sidecar.egress.scanner import INLINE
from sidecar.egress.state import State


class Overrides:
    """After the gate, which decided by the head."""

    def __init__(self, state: State) -> None:
        self._state = state

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None or exchange.facts is None:
            return None
        if not self._state.policy.limits_methods(exchange.host, exchange.port):
            return None
        message = message_of(flow, exchange)
        return self._check(flow, exchange, message) if message.body else None

    async def _check(self, flow: HTTPFlow, exchange: Exchange, message: Message) -> None:
        assert exchange.facts is not None
        try:
            found = _said(message) if message.size < INLINE else await asyncio.to_thread(_said, message)
        except Undecodable as error:
            refuse(flow, error.code, str(error))
            return
        if not found:
            return
        exchange.facts = replace(exchange.facts, body_methods=found)
        verdict = self._state.policy.decide(exchange.facts)
        if not verdict.allowed:
            refuse(flow, verdict.code, verdict.reason)
        elif verdict.route != exchange.route:
            refuse(flow, "method_not_allowed", "its body names a method that another route is for")


def _said(message: Message) -> tuple[str, ...]:
    """Of the body as it is, and in the character set that it names."""
    kinds = message.values(b"content-type")
    texts = [message.decoded]
    if any("charset" in kind.lower() for kind in kinds):
        texts += [part.data for part in message.parts() if part.name == "charset"]
    return tuple(dict.fromkeys(method for text in texts for method in in_body(text, kinds)))
