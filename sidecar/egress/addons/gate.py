"""Steps 1 to 3 of egress.md: port, host, agreement of names, shape of the request, rules. Decides on heads alone and
touches nothing outside: no look-up, no connection."""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import re

from mitmproxy.http import HTTPFlow

from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.names import canonical_host, is_address, split_authority
from sidecar.egress.policy import RequestFacts
from sidecar.egress.refusal import call_to_ask
from sidecar.egress.state import State

_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_TARGET = re.compile(rb"[\x00-\x20\x7f]")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_REFLECTING = frozenset({"TRACE", "TRACK"})
"""They send the request back, the injected credential included."""
_HOP_TOKENS = frozenset({"keep-alive", "close", "upgrade"})
_PROXY_HEADERS = ("proxy-connection", "proxy-authorization", "proxy-authenticate", "keep-alive")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Gate:
    """First of the addons that may refuse."""

    def __init__(self, state: State) -> None:
        self._state = state

    def http_connect(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        exchange.scheme = "connect"
        exchange.port = flow.request.port
        host = canonical_host(flow.request.host)
        if host is None:
            refuse(flow, "bad_request", "CONNECT names no valid host")
            return
        exchange.host = flow.request.data.host = host
        if not self._state.policy.port_open(flow.request.port):
            refuse(flow, "port_not_allowed", f"no route has port {flow.request.port}")

    def requestheaders(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange.local or flow.error is not None:
            return
        problem = _shape(flow) or _names(flow, exchange)
        if problem is not None:
            refuse(flow, *problem)
            return
        if not self._state.spool.ready():
            refuse(flow, "spool_unavailable", "events cannot be written to disk")
            return
        headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in flow.request.headers.fields
        )
        target = flow.request.data.path.decode("latin-1")
        verdict = self._state.policy.decide(
            RequestFacts(exchange.host, exchange.port, flow.request.method, target, headers)
        )
        exchange.route = verdict.route
        if not verdict.allowed:
            supervised = self._state.policy.policy.supervise
            ask = call_to_ask(verdict.code, exchange.host, flow.request.method, target) if supervised else None
            refuse(flow, verdict.code, verdict.reason, ask)
            return
        _tidy(flow)

    def request(self, flow: HTTPFlow) -> None:
        """Once more before it leaves: the body took its time, and the last of it may bring trailers."""
        if exchange_of(flow).local:
            return
        if flow.request.trailers:
            refuse(flow, "bad_request", "trailers in requests are not passed on")
        elif not self._state.spool.ready():
            refuse(flow, "spool_unavailable", "events cannot be written to disk")


def _shape(flow: HTTPFlow) -> tuple[str, str] | None:
    """What is wrong with the request as such, if anything."""
    request = flow.request
    if request.scheme not in ("http", "https") or (request.scheme == "https" and not flow.client_conn.tls):
        return "bad_request", "https goes through CONNECT"
    if not _METHOD.fullmatch(request.method) or _BAD_TARGET.search(request.data.path):
        return "bad_request", "the request line has characters that do not belong there"
    if request.method.upper() in _REFLECTING:
        return "method_not_allowed", "TRACE would send credentials back"
    if request.method == "PRI" or not request.data.path.startswith((b"/", b"*")):
        return "bad_request", "the request target is no path"
    if any(_BAD_VALUE.search(value) or _BAD_VALUE.search(name) for name, value in request.headers.fields):
        return "bad_request", "a header has control characters"
    if request.headers.get("expect", "100-continue").lower() != "100-continue":
        return "bad_request", "an unknown Expect header"
    return _upgrade(flow)


def _upgrade(flow: HTTPFlow) -> tuple[str, str] | None:
    request = flow.request
    upgrade = [value.strip().lower() for value in request.headers.get_all("upgrade")]
    if "http2-settings" in request.headers or (upgrade and upgrade != ["websocket"]):
        return "not_http", "an upgrade to anything but websocket"
    if upgrade and (request.method != "GET" or request.http_version != "HTTP/1.1"):
        return "not_http", "a websocket starts with GET in HTTP/1.1"
    return None


def _names(flow: HTTPFlow, exchange: Exchange) -> tuple[str, str] | None:
    """Find host and port, and refuse where the request names more than one."""
    request = flow.request
    host = canonical_host(request.host)
    exchange.scheme, exchange.port = request.scheme, request.port
    if host is None:
        return "bad_request", "the request names no valid host"
    # not `request.host`: setting that would rewrite the Host header which is about to be compared
    exchange.host = request.data.host = host
    default = _DEFAULT_PORTS[request.scheme]
    said = [value.decode("latin-1") for name, value in request.headers.fields if name.lower() == b"host"]
    if len(said) > 1:
        return "names_disagree", "more than one Host header"
    if request.is_http2:
        said.append(request.authority)
    elif not said and request.http_version != "HTTP/1.0":
        return "bad_request", "there is no Host header"
    for name in said:
        if split_authority(name, default) != (host, request.port):
            return "names_disagree", "the Host header and the connection name different hosts"
    sni = flow.client_conn.sni
    if sni is not None and canonical_host(sni) != host:
        return "names_disagree", "the name in TLS and the connection name different hosts"
    if flow.client_conn.tls and sni is None and not is_address(host):
        return "names_disagree", "TLS without a server name"
    return None


def _tidy(flow: HTTPFlow) -> None:
    """Take off what concerns this hop alone, and what would let an extension change what we can read."""
    headers = flow.request.headers
    for name in _PROXY_HEADERS:
        headers.pop(name, None)
    if "connection" in headers:
        # a header that is listed here would be dropped by the next hop: an agent must not choose which
        tokens = [token.strip().lower() for value in headers.get_all("connection") for token in value.split(",")]
        kept = [token for token in tokens if token in _HOP_TOKENS]
        headers.pop("connection")
        if kept and not flow.request.is_http2:
            headers["connection"] = ", ".join(kept)
    headers.pop("sec-websocket-extensions", None)
