"""What requests and answers say, for bottles whose manifest has `egress.log: 2`: the beginning of each, cleaned as a
text that leaves is, by every detector. The route's credential is never among it: it is taken off before, and put in
after. What cannot be cleaned is not written down.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import contextlib
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from mitmproxy.http import Headers, HTTPFlow

from sidecar.contract import ContentEvent
from sidecar.dlp.engine import DEFAULT
from sidecar.dlp.finding import Location
from sidecar.dlp.redact import redacted
from sidecar.egress.exchange import Exchange, exchange_of, new_id
from sidecar.egress.scanner import Engines, Scanner
from sidecar.egress.state import State
from sidecar.meter.decode import Decoder, Undecodable

LEVEL = 2
KEPT = 6 * 1024
"""Bytes of a body that are written down: with its headers a line of the spool, whatever has to be escaped in it."""
MARGIN = 4 * 1024
"""Looked at behind them, so that a credential that lies across the end is found."""
TOLD_BYTES = KEPT + MARGIN
"""Of an answer's beginning that are kept until it ends."""
MAX_HEADERS, MAX_VALUE, MAX_HEAD = 40, 300, 3 * 1024
_HIDDEN = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-goog-api-key"}
)
_NOT_KEPT = "(not written down: it cannot be cleaned)"


class Contents:
    """Behind the outbound check, whose redactions it sees, and before the credentials go in; of answers what the agent
    gets."""

    def __init__(self, state: State, scanner: Scanner) -> None:
        self._state = state
        self._scanner = scanner

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if self._state.policy.policy.log < LEVEL or exchange.local or exchange.route is None:
            return None
        exchange.told = bytearray()
        raw = flow.request.raw_content or b""
        body = _beginning(raw, flow.request.headers.get("content-encoding", ""))
        return self._write(exchange, "request", flow.request.headers, body, len(raw))

    def response(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if exchange.told is None or flow.response is None or not exchange.sent or flow.websocket is not None:
            return None
        data, exchange.told = bytes(exchange.told), None
        headers = flow.response.headers
        if headers.get("content-encoding", "identity") != "identity":
            data = b""
        return self._write(exchange, "response", headers, data, exchange.bytes_down)

    async def _write(self, exchange: Exchange, part: str, headers: Headers, body: bytes, length: int) -> None:
        fields = [(name.lower(), value) for name, value in headers.items(multi=True)][:MAX_HEADERS]
        size = len(body) + sum(len(name) + len(value) for name, value in fields)
        kept, text = await self._scanner.run(size, partial(_cleaned, fields=fields, body=body))
        event = ContentEvent.model_validate(
            {
                "id": new_id(),
                "at": time.time(),
                "request_id": exchange.id,
                "part": part,
                "headers": kept,
                "body": text,
                "length": length,
            }
        )
        self._state.spool.write(event.model_dump(mode="json"))


def _beginning(raw: bytes, encoding: str) -> bytes:
    """As much of a body as is looked at, without its content encoding; nothing where that cannot be taken off."""
    out = bytearray()
    with contextlib.suppress(Undecodable):
        decoder = Decoder(encoding)
        for at in range(0, len(raw), MARGIN):
            for piece in decoder.feed(raw[at : at + MARGIN]):
                out += piece
                if len(out) >= TOLD_BYTES:
                    return bytes(out[:TOLD_BYTES])
    return bytes(out)


def _cleaned(engines: Engines, *, fields: list[tuple[str, str]], body: bytes) -> tuple[list[tuple[str, str]], str]:
    """Headers and the beginning of a body as they may be written down."""
    kept: list[tuple[str, str]] = []
    room = MAX_HEAD
    for name, value in fields:
        text = b"[masked]" if name in _HIDDEN else value.encode("utf-8", "replace")
        clean = _clean(engines, text, "header", MAX_VALUE)
        room -= len(name) + len(clean)
        if room < 0:
            break
        kept.append((name[:100], clean))
    return kept, _clean(engines, body, "body", KEPT)


def _clean(engines: Engines, data: bytes, part: str, limit: int) -> str:
    where = Location("body" if part == "body" else "header")
    after = redacted(data[: limit + MARGIN], lambda text: engines.all.scan(text, where=where, detectors=DEFAULT))
    return _NOT_KEPT if after is None else after[:limit].decode("utf-8", "replace")
