"""Behind the outbound scan: what a request asks a model's vendor to reach out for is refused, where the bottle's
`egress.vendor_fetch` does not allow it. For all that costs tokens: by HTTP, and each message of a WebSocket.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.dlp.decode import Undecodable
from sidecar.egress.addons.outbound import message_of
from sidecar.egress.exchange import exchange_of, refuse
from sidecar.egress.overrides import content_types
from sidecar.egress.refusal import Refusal
from sidecar.egress.state import State
from sidecar.egress.vendor_fetch import Unreadable, fetches
from sidecar.meter.dialects import choose

CODE = "vendor_fetch"
BESIDE = 64 * 1024
"""Bytes from which it is read beside the loop: 2 to 30 ms for each MB of a conversation, 350 of the worst."""


class VendorFetch:
    def __init__(self, state: State) -> None:
        self._state = state
        self._large = asyncio.Lock()

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if exchange.local or exchange.call is None or self._allowed or not flow.request.raw_content:
            return None
        return self._check(flow)

    async def _check(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        assert exchange.call is not None
        message = message_of(flow, exchange)
        try:
            body = message.decoded
        except Undecodable as error:
            refuse(flow, error.code, str(error))
            return
        file = choose.uploads(exchange.call.method, exchange.call.target)
        kinds = [*message.values(b"content-type"), *content_types(message.target.decode("latin-1"))]
        why = await self._why(body, host=exchange.host, kinds=kinds, file=file)
        if why is not None:
            refuse(flow, CODE, why)

    def agent_message(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if exchange.call is None or self._allowed or exchange.refusal is not None:
            return None
        return self._message(flow)

    async def _message(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        message = exchange.message
        body = message if isinstance(message, bytes) else message.encode("utf-8", "surrogatepass")
        why = await self._why(body, host=exchange.host)
        if why is not None:
            exchange.refusal = Refusal(CODE, why, exchange.host)

    async def _why(self, body: bytes, **about: Any) -> str | None:
        """The reason of a refusal. Large bodies are read one at a time: what they are read into takes memory."""
        if len(body) < BESIDE:
            return _reason(body, **about)
        async with self._large:
            return await asyncio.to_thread(_reason, body, **about)

    @property
    def _allowed(self) -> bool:
        return self._state.policy.policy.vendor_fetch


def _reason(body: bytes, **about: Any) -> str | None:
    try:
        found = fetches(body, **about)
    except Unreadable as error:
        return f"what the vendor would fetch for it cannot be told: {error}"
    return f"it has the model's vendor reach out from its own servers: {found}" if found else None
