"""Step 7: the name of an allowed request becomes checked addresses, just before it leaves."""

from collections.abc import Coroutine
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.egress.exchange import exchange_of, refuse
from sidecar.egress.reach import Destination, Reach, Unreachable


class Dial:
    """Resolves, and leaves the destination with the connection: nothing else is ever dialled."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None:
            return None
        try:
            known = self._reach.known(exchange.host, exchange.port, exchange.route.allow_private)
        except Unreachable as error:
            refuse(flow, error.code, error.reason)
            return None
        if known is None:
            return self._find(flow)
        _keep(flow, known)
        return None

    async def _find(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        assert exchange.route is not None
        try:
            found = await self._reach.find(exchange.host, exchange.port, exchange.route.allow_private)
        except Unreachable as error:
            refuse(flow, error.code, error.reason)
            return
        _keep(flow, found)


def _keep(flow: HTTPFlow, destination: Destination) -> None:
    exchange = exchange_of(flow)
    if exchange.edge is None:
        refuse(flow, "internal_error", "the request has no connection")
        return
    exchange.edge.destinations[(exchange.host, exchange.port)] = destination
    if destination.by_proxy:
        exchange.detail["resolved_by"] = "upstream proxy"
    exchange.inside = destination.inside
