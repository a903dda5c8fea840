"""Steps 1 to 3 of egress.md: port, host, agreement of names, shape of the request, rules. Decides on heads alone and
touches nothing outside: no look-up, no connection."""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import re

from mitmproxy.http import HTTPFlow

from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.names import canonical_host, is_address, split_authority
from sidecar.egress.paths import MAX_TARGET
from sidecar.egress.policy import RequestFacts
from sidecar.egress.refusal import call_to_ask
from sidecar.egress.state import State

_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_TARGET = re.compile(rb"[\x00-\x20\x7f]")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Z-]{1,32}")
_REFLECTING = frozenset({"TRACE", "TRACK"})
"""They send the request back, the injected credential included."""
_HOP_TOKENS = frozenset({"keep-alive", "close", "upgrade"})
_FRAMING = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "te",
        "trailer",
        "proxy-connection",
    )
)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")
MAX_FIELDS = 1000
"""Header lines. Clients send some dozens; each costs a look at every check."""
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
        if host is None or flow.request.data.method != b"CONNECT":
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
        exchange.facts = _facts(flow, exchange)
        verdict = self._state.policy.decide(exchange.facts)
        exchange.route = verdict.route
        if not verdict.allowed:
            asked = verdict.reading or exchange.facts
            supervised = self._state.policy.policy.supervise
            ask = call_to_ask(verdict.code, exchange.host, asked.method, asked.target) if supervised else None
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


def _facts(flow: HTTPFlow, exchange: Exchange) -> RequestFacts:
    request = flow.request.data
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.fields)
    # as they are: mitmproxy's `method` is in upper case whatever is sent
    method, target = request.method.decode("latin-1"), request.path.decode("latin-1")
    return RequestFacts(exchange.host, exchange.port, method, target, headers)


def _shape(flow: HTTPFlow) -> tuple[str, str] | None:
    """What is wrong with the request as such, if anything."""
    request = flow.request
    if len(request.headers.fields) > MAX_FIELDS:
        return "headers_too_large", f"more than {MAX_FIELDS} headers"
    if len(request.data.path) > MAX_TARGET:
        return "headers_too_large", f"a request target of more than {MAX_TARGET} bytes"
    return _line(flow) or _fields(flow) or _upgrade(flow)


def _line(flow: HTTPFlow) -> tuple[str, str] | None:
    request = flow.request
    if request.http_version not in (("HTTP/2.0",) if flow.client_conn.alpn == b"h2" else ("HTTP/1.1", "HTTP/1.0")):
        return "bad_request", "another version of HTTP than the connection has"
    if request.scheme not in ("http", "https") or (request.scheme == "https" and not flow.client_conn.tls):
        return "bad_request", "https goes through CONNECT"
    if not request.is_http2 and request.data.authority:
        # it would go out as it came, and its host counts more than the Host header (RFC 9112 3.2.2)
        return "names_disagree", "inside a tunnel the request target is a path, not a URL"
    if not _METHOD.fullmatch(request.data.method) or _BAD_TARGET.search(request.data.path):
        return "bad_request", "the request line has characters that do not belong there (methods are in upper case)"
    if request.method in _REFLECTING:
        return "method_not_allowed", "TRACE would send credentials back"
    whole_server = request.data.path == b"*" and request.method == "OPTIONS"
    if not request.data.path.startswith(b"/") and not whole_server:
        return "bad_request", "the request target is no path"
    return None


def _fields(flow: HTTPFlow) -> tuple[str, str] | None:
    headers = flow.request.headers
    for name, value in headers.fields:
        if _BAD_VALUE.search(value) or _BAD_VALUE.search(name):
            return "bad_request", "a header has control characters"
        plain = name.decode("latin-1").lower()
        if plain not in _FRAMING and _NOT_IN_NAMES.sub("-", plain) in _FRAMING:
            # gateways turn it into the name that it looks like (RFC 3875 4.1.18)
            return "bad_request", "a header that some servers take for another one"
    if headers.get("expect", "100-continue").lower() != "100-continue":
        return "bad_request", "an unknown Expect header"
    if headers.get("transfer-encoding", "chunked").lower() != "chunked":
        return "bad_request", "a transfer coding other than chunked"
    return None


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
        # as it is on the wire: `request.authority` turns a name in other letters into those letters
        said.append(request.data.authority.decode("latin-1"))
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
    if "te" in headers and headers["te"].strip().lower() != "trailers":
        headers.pop("te")  # it asks for transfer codings, which answers may not have (`answers.mend`)
