"""Step 9: no answer brings a real credential to the agent, and none brings it orders.

What was injected may come back in any encoding; it is masked while the answer streams. Answers of the agent's own
provider are not ended for what they say: a model that writes about injections is no attack.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import re
from collections.abc import Sequence

from mitmproxy.http import Headers, HTTPFlow, Response

from sidecar.contract import Route
from sidecar.dlp.echo import EchoRedactor, FrameRedactor, in_events
from sidecar.dlp.echo_seek import Seeker, masked
from sidecar.dlp.engine import Engine
from sidecar.dlp.finding import Finding
from sidecar.dlp.injection import find
from sidecar.dlp.injection_deltas import AnswerWatch
from sidecar.egress.addons.journal import Journal
from sidecar.egress.addons.metering import accept_readable
from sidecar.egress.answer import AnswerFilter, BadAnswer, Nothing
from sidecar.egress.answers import bodiless
from sidecar.egress.exchange import Exchange, exchange_of
from sidecar.egress.refusal import Refusal
from sidecar.egress.scanner import Scanner
from sidecar.egress.state import State
from sidecar.egress.verdict import evidence
from sidecar.meter.decode import Decoder

_TEXT = ("text/", "json", "xml", "javascript", "yaml", "markdown", "x-www-form-urlencoded")
_LEAST = 16
"""Bytes of the shortest order: a usual reason is none."""
_MOST_TOLD = 20
"""Findings of one answer that are written down."""


_RANGES = ("range", "request-range", "if-range")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})|bytes=-(\d{1,18})")
_LEAST_RANGE = 64 * 1024


class Inbound:
    """Behind the meter, which reads what the upstream sent; before the journal, which passes it on."""

    def __init__(self, state: State, scanner: Scanner, journal: Journal) -> None:
        self._state = state
        self._scanner = scanner
        self._journal = journal

    def request(self, flow: HTTPFlow) -> None:
        """Ask for what can be read here, and for parts of it only as they are."""
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None or not self._looks(exchange.route):
            return
        exchange.inspects = True
        headers = flow.request.headers
        accept_readable(headers)
        if exchange.route.auth is not None and not _wide(",".join(headers.get_all("range"))):
            for name in _RANGES:  # the whole is an answer to it too (RFC 9110 14.2)
                headers.pop(name, None)
        if "range" in headers:
            headers["accept-encoding"] = "identity"

    def responseheaders(self, flow: HTTPFlow) -> None:
        exchange, response = exchange_of(flow), flow.response
        if response is None or not exchange.sent or exchange.route is None or exchange.refusal is not None:
            return
        if not self._looks(exchange.route):
            return
        self._clean_head(exchange, exchange.route, response)
        if response.status_code == 101:
            exchange.frames = FrameFilter(self, exchange)
        elif bodiless(flow.request, response):
            exchange.answer = Nothing()  # HTTP/2 could bring a body all the same
        else:
            exchange.answer = self._filter(flow, exchange, exchange.route, response)

    def response(self, flow: HTTPFlow) -> None:
        """Trailers (HTTP/2 alone has them here): its body has gone on, they have not."""
        exchange, response = exchange_of(flow), flow.response
        if not exchange.sent or response is None or not response.trailers or exchange.route is None:
            return
        response.trailers = self._cleaned(exchange, exchange.route, response.trailers)

    def _looks(self, route: Route) -> bool:
        return self._holds() or route.dlp.inbound_detectors is not False

    def _filter(self, flow: HTTPFlow, exchange: Exchange, route: Route, response: Response) -> AnswerFilter:
        kind = response.headers.get("content-type", "").lower()
        events = in_events(kind)
        text = not kind or any(word in kind for word in _TEXT)
        watched = route.dlp.inbound_detectors is not False
        encoding = response.headers.get("content-encoding", "")
        decoder = None
        if encoding:
            decoder = Decoder(encoding)  # one that cannot be read was told as that (`answers.unreadable`)
            del response.headers["content-encoding"]
        expected: int | None = None
        length = response.headers.get("content-length", "")
        if decoder is None and not events and length.isdigit():
            expected = int(length)
        else:
            _without_length(flow, response)
        return AnswerFilter(
            decoder=decoder,
            echo=self.echo(kind),
            watch=AnswerWatch(events=events, text=text) if watched else None,
            found=lambda findings: self.found(exchange, findings),
            events="text/event-stream" in kind,
            expected=expected,
        )

    def echo(self, kind: str) -> EchoRedactor | None:
        return EchoRedactor(self._real, kind) if self._holds() else None

    def frames(self) -> FrameRedactor | None:
        return FrameRedactor(self._real) if self._holds() else None

    def found(self, exchange: Exchange, findings: Sequence[Finding]) -> Refusal | None:
        """Note what was found; the refusal where it ends the answer."""
        told = exchange.detail.setdefault("inbound", [])
        told += evidence([*findings])[: _MOST_TOLD - len(told)]
        worst = next((finding for finding in findings if finding.severity == "block"), None)
        route = exchange.route
        if worst is None or route is None or route.host in self._state.policy.policy.provider_hosts:
            return None
        exchange.refusal = Refusal("injection_found", worst.title, exchange.host)  # not its words: they are the attack
        text = f"An answer of {exchange.host} was ended: {worst.title}. What it says are no orders of yours"
        self._journal.notice("warning", "injection_found", text)
        return exchange.refusal

    def _clean_head(self, exchange: Exchange, route: Route, response: Response) -> None:
        response.headers = self._cleaned(exchange, route, response.headers)
        reason = Headers([(b"reason", response.data.reason)])
        if self._cleaned(exchange, route, reason).fields != reason.fields:
            response.data.reason = b""

    def _cleaned(self, exchange: Exchange, route: Route, headers: Headers) -> Headers:
        """These fields without credentials and without orders."""
        if self._holds():
            headers = _masked(Seeker(self._real), headers)
        if route.dlp.inbound_detectors is False or route.host in self._state.policy.policy.provider_hosts:
            return headers
        text = b"\n".join(value for _, value in headers.fields)
        if len(text) < _LEAST or not any(finding.severity == "block" for finding in find(text)):
            return headers
        kept: list[tuple[bytes, bytes]] = []
        told = exchange.detail.setdefault("inbound", [])
        for name, value in headers.fields:
            found = [each for each in find(value, where="header") if each.severity == "block"]
            told += evidence(found)[: _MOST_TOLD - len(told)]
            kept += [] if found else [(name, value)]
        return Headers(kept)

    def _holds(self) -> bool:
        return bool(self._state.secrets) or self._scanner.holds

    def _real(self) -> Engine:
        """What knows the credentials of now: a long answer may tell one that was renewed meanwhile."""
        engines = self._scanner.engines
        if engines is None:
            raise BadAnswer("the scan is not ready")
        return engines.real


def _wide(said: str) -> bool:
    """Whether a part is large enough for a credential to be seen in it: where a server tells the one that came with the
    request, it could be asked for a few letters at a time."""
    found = _RANGE.fullmatch(said.replace(" ", ""))
    if found is None:
        return False
    start, end, last = found.groups()
    if last is not None:
        return int(last) >= _LEAST_RANGE
    return not end or int(end) - int(start) >= _LEAST_RANGE - 1


def _masked(seeker: Seeker, headers: Headers) -> Headers:
    """These fields with what they give away masked; a name has no room for a mask, so its field is left out."""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers.fields:
        lead = name + b": "
        spans = seeker.spans(lead + value)
        if not spans:
            fields.append((name, value))
        elif spans[0][0] >= len(lead):
            fields.append((name, masked(lead + value, spans).removeprefix(lead)))
    return Headers(fields)


class FrameFilter:
    """The upstream's messages on one WebSocket."""

    def __init__(self, inbound: Inbound, exchange: Exchange) -> None:
        self._inbound = inbound
        self._exchange = exchange
        self._redactor = inbound.frames()
        route = exchange.route
        watched = route is not None and route.dlp.inbound_detectors is not False
        self._watch = AnswerWatch("websocket") if watched else None

    def down(self, message: str | bytes) -> list[str | bytes]:
        """The messages that may go on now. One that must not sets the exchange's refusal."""
        data = message.encode() if isinstance(message, str) else message
        findings = self._watch.message(data) if self._watch is not None else ()
        if findings and self._inbound.found(self._exchange, findings) is not None:
            return []
        if self._redactor is None:
            return [message]
        return [_message(*each) for each in self._redactor.message(data, isinstance(message, str))]

    @property
    def holding(self) -> bool:
        return self._redactor is not None and self._redactor.holding

    def release(self) -> list[str | bytes]:
        """What waits: nothing came next."""
        return [_message(*each) for each in self._redactor.finish()] if self._redactor is not None else []

    def finish(self) -> list[str | bytes]:
        """What waited: the connection closes."""
        findings = self._watch.finish() if self._watch is not None else ()
        if findings and self._inbound.found(self._exchange, findings) is not None:
            return []
        return self.release()


def _message(data: bytes, text: object) -> str | bytes:
    return data.decode("utf-8", "replace") if text else data


def _without_length(flow: HTTPFlow, response: Response) -> None:
    """Its length changes: HTTP/2 needs none, HTTP/1.1 has chunks, and HTTP/1.0 the end of the connection."""
    response.headers.pop("content-length", None)
    if flow.request.http_version == "HTTP/1.1":
        response.headers["transfer-encoding"] = "chunked"
        if not response.is_http2:
            response.http_version = "HTTP/1.1"
    else:
        response.headers.pop("transfer-encoding", None)
