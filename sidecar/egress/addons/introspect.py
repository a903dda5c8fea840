"""The sidecar's own pages for the bottle: `/allowlist` (live routes, manifest schema) and `/health`. No secret,
no value of a token, nothing of other bottles."""

import orjson
from mitmproxy.http import HTTPFlow, Response

from sidecar.contract import INTERNAL_HOST, routes_hash
from sidecar.egress.exchange import exchange_of, refuse
from sidecar.egress.names import split_authority
from sidecar.egress.state import State

MCP_HOST = f"mcp.{INTERNAL_HOST}"
GIT_HOST = f"git.{INTERNAL_HOST}"
_INTERNAL = frozenset({INTERNAL_HOST, MCP_HOST, GIT_HOST})
_OWN_NAMES = _INTERNAL | {"127.0.0.1", "localhost", "::1"}


def own_name(flow: HTTPFlow) -> str | None:
    """Under which of our names this asks for a page of ours, if it does.

    On the plain listener alone; a proxied request to 127.0.0.1:OTHER goes to the gate.
    """
    if flow.client_conn.tls or flow.request.scheme != "http":
        return None
    own_port = flow.client_conn.sockname[1]
    said = split_authority(flow.request.host_header or "", 80)
    named = split_authority(f"[{flow.request.host}]" if ":" in flow.request.host else flow.request.host, 80)
    if named is None or said is None or named[0] not in _OWN_NAMES or said[0] not in _OWN_NAMES:
        return None
    ours = flow.request.port == own_port or (named[0] in _INTERNAL and flow.request.port == 80)
    return named[0] if ours else None


class Introspect:
    """Before the gate: what it answers is no egress."""

    def __init__(self, state: State) -> None:
        self._state = state

    def requestheaders(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.error is not None or exchange.local or own_name(flow) is None:
            return
        exchange.local, exchange.host = True, INTERNAL_HOST
        path = flow.request.data.path.partition(b"?")[0]
        if flow.request.method not in ("GET", "HEAD"):
            refuse(flow, "method_not_allowed", "these pages are for reading")
        elif path == b"/allowlist":
            flow.response = _json(self._allowlist())
        elif path == b"/health":
            flow.response = _json({"ok": True, "policy": self._state.policy.policy.version})
        else:
            flow.response = _json({"pages": ["/allowlist", "/health"]}, 404)

    def _allowlist(self) -> dict[str, object]:
        policy = self._state.policy.policy
        routes = [route.model_dump(mode="json", exclude_defaults=True) for route in policy.routes]
        egress = {"log": policy.log, "routes": routes}
        base_hash = routes_hash(policy.routes)
        return {"slug": self._state.slug, "version": policy.version, "base_hash": base_hash, "egress": egress}


def _json(document: object, status: int = 200) -> Response:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    return Response.make(status, body, {"content-type": "application/json", "cache-control": "no-store"})
