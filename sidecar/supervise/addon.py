"""Where the bottle finds the MCP server: `http://mcp.carboy.internal/` through the proxy, and `/mcp` on the listener.

Before the introspection pages and the gate: a call to it is no egress. It never reads a request before it is whole.
"""

from mitmproxy.http import HTTPFlow, Response

from sidecar.egress.addons.introspect import MCP_HOST, own_name
from sidecar.egress.exchange import exchange_of
from sidecar.egress.scanner import Scanner
from sidecar.egress.state import State
from sidecar.supervise.bridge import Bridge
from sidecar.supervise.desk import Desk
from sidecar.supervise.server import MAX_BODY, Service, make_server
from sidecar.supervise.tools import Toolbox


class Mcp:
    """First of the addons."""

    def __init__(self, state: State, desk: Desk, scanner: Scanner) -> None:
        self._service = Service(make_server(Toolbox(state, desk, scanner)))
        self._bridge = Bridge(self._service.app)

    def requestheaders(self, flow: HTTPFlow) -> None:
        name = own_name(flow) if flow.error is None else None
        path = flow.request.data.path.partition(b"?")[0].rstrip(b"/")
        if name is None or (path != b"/mcp" and (name != MCP_HOST or path)):
            return
        exchange = exchange_of(flow)
        exchange.local, exchange.host, exchange.max_body = True, MCP_HOST, MAX_BODY
        if flow.request.method != "POST":
            # no stream of its own accord and no session: the protocol has clients go on without
            flow.response = Response.make(405, b"", {"allow": "POST"})

    def request(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if not exchange.local or exchange.host != MCP_HOST:
            return
        answer = self._bridge.call(flow.request, (MCP_HOST, 80))
        if isinstance(answer, Response):
            flow.response = answer
        else:
            exchange.source = answer
