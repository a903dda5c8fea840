"""What a connection needs of the proxy that accepted it: the seam between `connection` and `proxy`. Types only."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mitmproxy.http import HTTPFlow
from OpenSSL import SSL

from sidecar.egress.backlog import Backlog
from sidecar.egress.limits import Limits
from sidecar.egress.reach import Reach
from sidecar.egress.tls import Upstreams
from sidecar.egress.turns import Turns
from sidecar.guard import Guard

type Origin = tuple[str, int]


@dataclass(frozen=True)
class EngineOptions:
    """The options that mitmproxy's layers read, fixed. Names and meanings are mitmproxy's."""

    http2: bool = True
    http2_ping_keepalive: int = 58
    websocket: bool = True
    rawtcp: bool = False
    validate_inbound_headers: bool = True
    normalize_outbound_headers: bool = True
    connection_strategy: str = "lazy"
    store_streamed_bodies: bool = False
    stream_large_bodies: None = None
    body_size_limit: None = None
    keep_host_header: bool = True
    http_connect_send_host_header: bool = True
    proxy_debug: bool = False
    tcp_timeout: int = 600


class Engine(Protocol):
    options: EngineOptions
    guard: Guard
    reach: Reach
    upstreams: Upstreams
    limits: Limits
    turns: Turns
    backlog: Backlog

    def piece(self) -> int: ...
    def leaf(self, sni: str | None, target: str | None) -> SSL.Connection: ...
    def room_for(self, size: int) -> bool: ...
    def slot(self) -> AbstractContextManager[bool]: ...
    def done(self, flow: HTTPFlow) -> None: ...
    def killed(self, flow: HTTPFlow, reason: str) -> None: ...
