"""Writes down what happened to each request, counts what passes, and keeps responses streaming.

Paths are redacted before they are written: values of queries, and every known credential. A flood of the same refusal
becomes one line with a count, and beyond what agents do all requests of a second do: a bottle cannot fill the disk with
its own lines.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from mitmproxy.http import HTTPFlow

from sidecar.contract import EgressEvent, NoticeEvent
from sidecar.egress.addons.contents import TOLD_BYTES
from sidecar.egress.exchange import Exchange, exchange_of, new_id
from sidecar.egress.limits import Bucket
from sidecar.egress.state import State

FLOOD_SECONDS = 1.0
MAX_FLOODS = 256
"""Kinds of refusal being counted at once; beyond that, hosts are no longer told apart."""
BURST, RATE = 5000, 5.0
"""Lines of ended requests that are written in full, at once and a second after that: 300 MB a day at most. A build that
fetches a thousand packages stays far below."""
MAX_PATHS = 64
"""Of those, the ones told apart by method and path, which is what learning mode is made of."""
_LONG_BODY = 1024 * 1024
_UNSAFE = re.compile(r"[^ -~]")
_VALUE = re.compile(r"(?<==)[^&]+")
_MASK = "*"
NEVER_LEFT = "error", "client_closed", "the client went away before its request was sent"
"""Decision, code and reason: nobody refused it, and nothing of it is at a server."""


def printable(text: str, limit: int) -> str:
    """`text` with everything but printable ASCII escaped, and cut to `limit`."""
    cut = text[: limit * 2]
    safe = _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), cut)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


class Journal:
    """Also the guard's recorder."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._floods: dict[tuple[str, ...], list[Any]] = {}
        self._notices: dict[tuple[str, str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._room = Bucket(BURST, RATE)
        self.allowed = 0
        self.refused = 0

    # --- hooks -------------------------------------------------------------------------------------------------------

    def responseheaders(self, flow: HTTPFlow) -> None:
        assert flow.response is not None
        exchange = exchange_of(flow)
        flow.response.headers.pop("alt-svc", None)
        if not exchange.sent:
            return
        flow.response.stream = _counter(exchange)
        if exchange.edge is not None:
            exchange.address = exchange.edge.addresses.get(flow.server_conn.id, "")
        if _goes_on(flow):
            self._open(self._event(flow, exchange, "open", "allow", "ok", ""), exchange)

    def response(self, flow: HTTPFlow) -> None:
        if flow.websocket is None:
            self._finish(flow)

    def websocket_end(self, flow: HTTPFlow) -> None:
        self._finish(flow)

    def error(self, flow: HTTPFlow) -> None:
        self._finish(flow)

    def http_connect_error(self, flow: HTTPFlow) -> None:
        self._finish(flow)

    # --- from outside the hooks --------------------------------------------------------------------------------------

    def killed(self, flow: HTTPFlow, reason: str) -> None:
        """The connection was ended with this flow on it. One that was refused stays refused, however it ended."""
        if exchange_of(flow).refusal is not None:
            self._finish(flow)
            return
        if reason != "the client is gone":
            self._close(flow, "error", "killed", reason)
        elif exchange_of(flow).sent:
            self._close(flow, *_left(exchange_of(flow)))
        else:
            self._close(flow, *NEVER_LEFT)

    def over(self, flow: HTTPFlow) -> None:
        """Nothing more will be heard of this flow."""
        if not exchange_of(flow).closed:
            self._close(flow, "error", "internal_error", "a check of its end failed")

    def record(self, decision: str, code: str, reason: str, **values: Any) -> bool:
        """An event of something that is no flow (a push, a fetch); true once it is on disk. Counted as requests are."""
        text = {
            name: printable(self._redact(str(value)), 500) for name, value in values.items() if isinstance(value, str)
        }
        event = {"kind": "egress", "request_id": new_id(), "phase": "closed"} | values | text
        event |= {"id": new_id(), "at": time.time(), "decision": decision, "code": code[:64]}
        event["reason"] = printable(self._redact(reason), 500)
        if event["phase"] == "closed":
            self.refused += decision == "deny"
            self.allowed += decision == "allow"
        return self._write(event)

    def held(self, flow: HTTPFlow, exchange: Exchange, reason: str) -> None:
        """It waits for the operator."""
        self._open(self._event(flow, exchange, "open", "hold", "held", reason), exchange)

    def failed(self, where: str, flow: HTTPFlow | None) -> None:
        text = f"a check failed in {where}; what it was about did not pass"
        self._notice_counted("error", "internal_error", text)

    def notice(self, level: str, code: str, text: str) -> None:
        """Tell the operator."""
        if self._room.take():
            self._write_notice(level, code, text)
        else:
            self._notice_counted(level, code, text, "others like this")

    def flush(self) -> None:
        """Write the counts of floods that are over."""
        self._timer = None
        notices, self._notices = self._notices, {}
        for (level, code, text), count in notices.items():
            if count:
                self._write_notice(level, code, f"{text}; {count} times more")
        floods, self._floods = self._floods, {}
        for event, count in floods.values():
            if count:
                event.update(id=new_id(), request_id=new_id(), at=time.time())
                event["detail"] = {**event["detail"], "count": count - 1}  # more of them than this one
                self._state.spool.write(event)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _finish(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange.refusal is not None:
            refusal = exchange.refusal
            failed = refusal.status == 502 or refusal.code in ("internal_error", "client_closed")
            self._close(flow, "error" if failed else "deny", refusal.code, refusal.reason)
        elif flow.error is None and exchange.redacted:
            self._close(flow, "redact", "redacted", "what was found in it was taken out before it left")
        elif flow.error is None:
            self._close(flow, "allow", "ok", "")
        elif not exchange.sent and exchange.ended_by == "client":
            self._close(flow, *NEVER_LEFT)
        elif not exchange.sent:
            self._close(flow, "deny", "bad_request", flow.error.msg)
        else:
            self._close(flow, *_why_ended(exchange, flow.error.msg))

    def _open(self, event: dict[str, Any], exchange: Exchange) -> None:
        if exchange.opened or self._room.take():
            exchange.opened = True
            self._write(event)

    def _close(self, flow: HTTPFlow, decision: str, code: str, reason: str) -> None:
        exchange = exchange_of(flow)
        if exchange.closed:
            return
        exchange.closed = True
        if exchange.local:
            return
        event = self._event(flow, exchange, "closed", decision, code, reason)
        if decision == "deny":
            self.refused += 1
        else:
            self.allowed += decision == "allow"
        if exchange.opened:  # its first line waits for this one
            self._write(event)
        elif not self._room.take():
            self._write_counted(event, (decision, event["code"]))
        elif decision == "deny":
            self._write_refusal(event)
        else:
            self._write(event)

    def _event(
        self, flow: HTTPFlow, exchange: Exchange, phase: str, decision: str, code: str, reason: str
    ) -> dict[str, Any]:
        request = flow.request
        detail = dict(exchange.detail)
        if exchange.answer is not None and exchange.answer.names:
            detail["credentials_masked"] = sorted(exchange.answer.names)
        status = flow.response.status_code if flow.response is not None else None
        if flow.websocket is not None:
            detail.update(messages_up=exchange.messages_up, messages_down=exchange.messages_down)
        return {
            "id": new_id(),
            "at": time.time(),
            "kind": "egress",
            "request_id": exchange.id,
            "phase": phase,
            "decision": decision,
            "code": code[:64],
            "reason": printable(self._redact(reason), 500),
            "method": printable(request.method, 32),
            "scheme": printable(exchange.scheme or request.scheme, 16),
            "host": printable(exchange.host or request.host, 260),
            "port": exchange.port,
            "path": self.path(flow),
            "protocol": "websocket" if status == 101 else request.http_version,
            "status": status,
            "bytes_up": exchange.bytes_up,
            "bytes_down": exchange.bytes_down,
            "ms": round((time.perf_counter() - exchange.clock) * 1000, 3),
            "address": exchange.address,
            "detail": detail,
        }

    def path(self, flow: HTTPFlow) -> str:
        """The target as it may be kept: values of the query masked, credentials and findings gone, bounded."""
        exchange = exchange_of(flow)
        target = flow.request.data.path.decode("latin-1")
        for match in exchange.masks:
            target = target.replace(match.reveal().decode("latin-1"), "[found]") if match else target
        path, mark, query = target[:4096].partition("?")
        path = "/[found]" if exchange.path_hidden else path
        return printable(self._redact(path) + mark + self._redact(_VALUE.sub(_MASK, query)), 1024)

    def _redact(self, text: str) -> str:
        text = self._state.without_secrets(text)
        for placeholder in self._state.placeholders:
            text = text.replace(placeholder.value, "[placeholder]")
        return text

    def _write_refusal(self, event: dict[str, Any]) -> None:
        key: tuple[str, ...] = (event["host"], event["code"], event["method"], event["path"].partition("?")[0])
        if key not in self._floods and len(self._floods) >= MAX_PATHS:
            key = key[:2]
        if key not in self._floods and len(self._floods) >= MAX_FLOODS:
            key = ("", event["code"])
        self._write_counted(event, key)

    def _write_counted(self, event: dict[str, Any], key: tuple[str, ...]) -> None:
        """The first of its kind in a second, and then the last with a count."""
        if key in self._floods:
            flood = self._floods[key]
            flood[0] = event
            flood[1] += 1
            return
        self._floods[key] = [event, 0]
        self._flush_soon()
        self._write(dict(event))

    def _flush_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLOOD_SECONDS, self.flush)

    def _notice_counted(self, level: str, code: str, text: str, others: str = "") -> None:
        """The first in a second, and then a count, of the same or of `others`."""
        key = level, code, others or text
        if key in self._notices:
            self._notices[key] += 1
            return
        self._notices[key] = 0
        self._flush_soon()
        self._write_notice(level, code, text)

    def _write_notice(self, level: str, code: str, text: str) -> None:
        event = NoticeEvent.model_validate(
            {"id": new_id(), "at": time.time(), "level": level, "code": code, "text": printable(text, 1000)}
        )
        self._write(event.model_dump(mode="json"))

    def _write(self, event: dict[str, Any]) -> bool:
        return self._state.spool.write(event)


def _counter(exchange: Exchange) -> Callable[[bytes | None], list[bytes]]:
    """The stream callable of every response: it passes on what comes, at once; None asks for what goes on by itself.
    Nothing is no piece: an empty chunk would be the end (RFC 9112 7.1)."""

    def count(data: bytes | None) -> list[bytes]:
        answer, metering = exchange.answer, exchange.metering
        for tap in exchange.taps:
            tap(data or b"")
        if data is not None:
            exchange.bytes_down += len(data)
            data = data if answer is None else answer.feed(data)
        elif answer is not None and (answer.packed or not metering):
            data = answer.release()
        data = data or b""
        if exchange.told is not None and len(exchange.told) < TOLD_BYTES:
            exchange.told += data[:TOLD_BYTES]
        return [data] if data else []

    return count


def _goes_on(flow: HTTPFlow) -> bool:
    """True where the response may take a while, so that its start is worth an event of its own."""
    response = flow.response
    assert response is not None
    if response.status_code == 101 or response.headers.get("content-type", "").startswith("text/event-stream"):
        return True
    length = response.headers.get("content-length", "")
    return length.isdigit() and int(length) > _LONG_BODY


def _left(exchange: Exchange) -> tuple[str, str, str]:
    """Of one that was sent: what was found in it was taken out all the same."""
    return "redact" if exchange.redacted else "allow", "client_closed", "the client went away"


def _why_ended(exchange: Exchange, message: str) -> tuple[str, str, str]:
    """Decision, code and reason of a flow that broke after it was sent."""
    if exchange.ended_by == "client":
        return _left(exchange)
    if exchange.ended_by == "upstream":
        return "error", "upstream_failed", message.partition(":")[0]
    return "error", "killed", "ended by the proxy"


def validate(event: dict[str, Any]) -> EgressEvent:
    """For tests and readers: what is written is what the contract says."""
    return EgressEvent.model_validate(event)
