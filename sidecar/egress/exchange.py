"""What the sidecar knows of one request while it lives, beside mitmproxy's flow. Holds; decides nothing."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from mitmproxy.http import HTTPFlow, Request, Response

from sidecar.contract import Route
from sidecar.dlp.finding import Match
from sidecar.egress.policy import RequestFacts
from sidecar.egress.reach import Destination
from sidecar.egress.refusal import Refusal

if TYPE_CHECKING:
    from sidecar.egress.books import Call
    from sidecar.egress.lfs import Batch

_KEY = "carboy"


class EdgeState(Protocol):
    """What addons may know of the connection a request came on."""

    destinations: dict[tuple[str, int], Destination]
    addresses: dict[str, str]


class AnswerFilter(Protocol):
    """Changes an answer on its way (`answer.py`)."""

    @property
    def names(self) -> frozenset[str]: ...
    @property
    def holding(self) -> bool: ...
    @property
    def packed(self) -> bool: ...
    def feed(self, data: bytes) -> bytes: ...
    def release(self) -> bytes: ...


class FrameFilter(Protocol):
    """Changes an upstream's messages on their way (`addons/inbound.py`)."""

    @property
    def holding(self) -> bool: ...
    def down(self, message: str | bytes) -> list[str | bytes]: ...
    def release(self) -> list[str | bytes]: ...
    def finish(self) -> list[str | bytes]: ...


class SocketTap(Protocol):
    """Sees the messages of one WebSocket. What it raises ends the connection."""

    def down(self, message: str | bytes) -> None:
        """A whole message of the upstream's, before its last frame goes on."""
        ...


class Source(Protocol):
    """An answer that is made in this process, piece by piece. The connection asks for the next piece when the client
    has taken the last."""

    async def next(self) -> Response | bytes:
        """First the response without its body, then the body's pieces; an empty one is the end."""
        ...

    def close(self) -> None:
        """Nobody listens any more."""
        ...


class Intake(Protocol):
    """Where the body of a local request goes piece by piece, in place of memory. It takes what it is given and bounds
    what it keeps."""

    def take(self, data: bytes) -> None: ...

    def close(self) -> None:
        """It is not needed any more."""
        ...


def new_id() -> str:
    """An identifier that sorts by time: 48 bits of milliseconds, 80 random ones."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


@dataclass
class Exchange:
    """One request and its answer. `sent` turns true right before the first byte goes upstream."""

    id: str = field(default_factory=new_id)
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.perf_counter)
    host: str = ""
    port: int = 0
    scheme: str = ""
    route: Route | None = None
    facts: RequestFacts | None = None
    """What the verdict was about; a new policy is asked again while it lives."""
    refusal: Refusal | None = None
    local: bool = False
    """Answered by the sidecar itself (introspection, MCP): not an egress event."""
    intake: Intake | None = None
    """Takes the body of a local request that is too large for memory."""
    source: Source | None = None
    """Where a local answer comes from that takes its time."""
    max_body: int = 64 * 1024
    """Of a request that no route decides on."""
    held: int = 0
    """How many checks have it wait for somebody's answer."""
    whole: bool = False
    """All of its body is here."""
    sent: bool = False
    ended_by: Literal["", "client", "upstream"] = ""
    """Which side broke it off."""
    opened: bool = False
    """An `open` event was written: the `closed` one must follow."""
    closed: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    messages_up: int = 0
    messages_down: int = 0
    """WebSocket messages."""
    buffered: int = 0
    """Bytes of the request's body that are held in memory."""
    dropped: bytearray = field(default_factory=bytearray)
    """How the body of a request begins that was refused before all of it was here."""
    alarmed: bool = False
    """The operator was told of the canary in it."""
    address: str = ""
    inside: bool = False
    """Its destination is in a private network, or the host's settings name its address."""
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    call: "Call | None" = None
    """What is metered of it; None where it costs nobody's tokens."""
    socket: "SocketTap | None" = None
    """Who sees whole messages of this WebSocket."""
    socket_nonce: str = ""
    """Of the agent's handshake for a WebSocket: it does not leave (`answers.own_nonce`)."""
    message: str | bytes = b""
    """The agent's message that the hook `agent_message` is about."""
    taps: list[Callable[[bytes], None]] = field(default_factory=list[Callable[[bytes], None]])
    """They see the answer's body, piece by piece, as the upstream sent it, and are called with nothing for more of what
    came. One that raises ends the flow."""
    answer: "AnswerFilter | None" = None
    """What the answer's bytes go through before the agent gets them."""
    inspects: bool = False
    """The answer's body has to be looked through: one in an encoding that cannot be read ends."""
    frames: "FrameFilter | None" = None
    """The same for the messages of a WebSocket."""
    inspected: bool = False
    """The agent's messages on a WebSocket are asked about."""
    carry: bytes = b""
    """The end of what left on it."""
    edge: "EdgeState | None" = None
    """The connection that it came on."""
    on_left: Callable[[], object] | None = None
    """Called when the client goes away while a check of this request waits for somebody."""
    redacted: bool = False
    """Something was taken out of it before it left."""
    leads: bool = False
    """All of it was looked through for credentials, and none was let through: where its answer leads, none of the
    bottle's can be brought."""
    links: "Batch | None" = None
    """A copy of an answer that tells addresses, where the answer may lead there."""
    told: bytearray | None = None
    """The beginning of the answer as the agent gets it, where that is to be written down (`addons/contents.py`)."""

    masks: tuple[Match, ...] = ()
    """What the scan found: never written down, wherever it stands."""
    path_hidden: bool = False
    """Something was found in the path that stands there in disguise: none of it is written down."""

    @property
    def metering(self) -> bool:
        """The meter has not yet read all that came of the answer."""
        return self.call is not None and self.call.meter is not None and self.call.meter.packed

    @property
    def packed(self) -> bool:
        """Of what came of the answer, more is to be done than is done at once."""
        return self.metering or (self.answer is not None and self.answer.packed)


def exchange_of(flow: HTTPFlow) -> Exchange:
    """The exchange of `flow`, made on first use."""
    found = cast(Exchange | None, flow.metadata.get(_KEY))
    if found is None:
        found = flow.metadata[_KEY] = Exchange()
    return found


def refuse(flow: HTTPFlow, code: str, reason: str, ask: dict[str, Any] | None = None) -> None:
    """Answer `flow` with a refusal, unless it was refused already. Must be called before it was sent.

    `ask` are the arguments of the tool call that would ask the operator for it (`refusal.call_to_ask`).
    """
    exchange = exchange_of(flow)
    if exchange.refusal is None:
        exchange.refusal = Refusal(code, reason, exchange.host or flow.request.host, ask)
        flow.response = refusal_response(exchange.refusal, flow.request)


def refusal_response(refusal: Refusal, request: Request | None = None) -> Response:
    headers = {"content-type": "application/json", "cache-control": "no-store", "x-carboy-code": refusal.code}
    body = refusal.body()
    fields = request.headers.fields if request is not None else ()
    if any(name.lower() == b"user-agent" and value.startswith(b"git/") for name, value in fields):
        headers["content-type"] = "text/plain; charset=utf-8"
        body = refusal.message().encode() + b"\n"
    response = Response.make(refusal.status, body, headers)
    response.data.reason = refusal.phrase()
    return response
