"""Between the proxy, which terminates HTTP, and an ASGI application in this process: one call is one `Source`.

A stream that falls silent gets a comment every few seconds, and an answer that takes its time becomes a stream: clients
and whatever sits between give up on silence. Bounded in size, number and rate; ends with the client.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mitmproxy.http import Headers, Request, Response
from mitmproxy.net.http import status_codes

from sidecar.supervise.faults import trail
from sidecar.supervise.limits import Bucket
from sidecar.tasks import spawn

log = logging.getLogger(__name__)

STREAM_AFTER = 0.5
"""Seconds without an answer after which it becomes an event stream."""
COMMENT_SECONDS = 5.0
COMMENT = b": waiting\n\n"
MAX_PIECES = 16
"""Written and not yet taken by the client; beyond it the application waits."""
_HOP = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})
_INTERNAL = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"Internal error"}}'
_BUSY = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Too many calls at once: make fewer"}}'

type App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
type GetApp = Callable[[], Awaitable[App]]


class Bridge:
    """Makes the calls of one bottle, and counts them."""

    def __init__(self, app: GetApp, *, at_once: int = 32, rate: float = 20.0, burst: float = 100.0) -> None:
        self._app = app
        self._at_once = at_once
        self._bucket = Bucket(rate, burst)
        self.live = 0

    def call(self, request: Request, server: tuple[str, int]) -> "Call | Response":
        """What answers `request`, whose body is complete; a finished response where there are too many."""
        if self.live >= self._at_once or not self._bucket.take(time.monotonic()):
            # not 429 or 503: clients repeat those at once, or hang on them
            return Response.make(400, _BUSY, {"content-type": "application/json"})
        return Call(self, self._app, _scope(request, server), request.raw_content or b"")


class Call:
    """One request in the application, as the `Source` of its answer. It starts with the first `next()`."""

    def __init__(self, bridge: Bridge, app: GetApp, scope: dict[str, Any], body: bytes) -> None:
        self._bridge = bridge
        self._app = app
        self._scope = scope
        self._body: bytes | None = body
        self._pieces: asyncio.Queue[Response | bytes] = asyncio.Queue(MAX_PIECES)
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._head_given = self._streaming = self._wrapping = False
        self._wrapped = b""
        accept = dict(scope["headers"]).get(b"accept", b"")
        self._may_stream = scope["method"] == "POST" and b"text/event-stream" in accept

    async def next(self) -> Response | bytes:
        if self._task is None:
            self._bridge.live += 1
            self._task = spawn(self._run(), name="mcp-call")
        while True:
            limit = COMMENT_SECONDS if self._head_given else STREAM_AFTER
            try:
                async with asyncio.timeout(limit):
                    piece = await self._pieces.get()
            except TimeoutError:
                if self._head_given and self._streaming:
                    return COMMENT
                if not self._head_given and self._may_stream:
                    return self._begin_stream()
                continue
            self._head_given = True
            return piece

    def close(self) -> None:
        self._gone.set()
        if self._task is not None:
            self._task.cancel()

    def _begin_stream(self) -> Response:
        """Answer before the application does; what it says later becomes an event."""
        self._head_given = self._streaming = self._wrapping = True
        fields = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache, no-transform")]
        return head(200, fields, self._scope["http_version"])

    # --- the application's side ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            app = await self._app()
            await app(self._scope, self._receive, self._send)
        except Exception as error:
            log.error("an MCP call failed: %s", trail(error))
            await self._fail()
        finally:
            self._bridge.live -= 1
        await self._pieces.put(b"")

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await self._start(message["status"], list(message.get("headers", [])))
        elif message["type"] == "http.response.body":
            await self._more(message.get("body", b""), bool(message.get("more_body")))

    async def _start(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        types = [value for name, value in fields if name.lower() == b"content-type"]
        events = bool(types) and types[0].startswith(b"text/event-stream")
        if self._wrapping:
            self._wrapping = not events
            return
        self._streaming = events
        # from here on a timeout must not begin another answer
        self._may_stream = False
        await self._pieces.put(head(status, fields, self._scope["http_version"]))

    async def _more(self, body: bytes, more: bool) -> None:
        if not self._wrapping:
            if body:
                await self._pieces.put(body)
            return
        self._wrapped += body
        if not more and self._wrapped:
            await self._pieces.put(_event(self._wrapped))

    async def _fail(self) -> None:
        if self._head_given:
            if self._streaming:
                await self._pieces.put(_event(_INTERNAL))
            return
        self._may_stream = False
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(_INTERNAL)).encode())]
        await self._pieces.put(head(500, fields, self._scope["http_version"]))
        await self._pieces.put(_INTERNAL)


def _event(data: bytes) -> bytes:
    """`data` as one event of a stream."""
    return b"event: message\n" + b"".join(b"data: " + line + b"\n" for line in data.splitlines()) + b"\n"


def head(status: int, fields: list[tuple[bytes, bytes]], version: str) -> Response:
    kept = [(name, value) for name, value in fields if name.lower() not in _HOP]
    sized = any(name.lower() == b"content-length" for name, _ in kept)
    if not sized:
        kept.append((b"transfer-encoding", b"chunked") if version == "1.1" else (b"connection", b"close"))
    reason = status_codes.RESPONSES.get(status, "")
    now = time.time()
    return Response(b"HTTP/1.1", status, reason.encode(), Headers(kept), None, None, now, now)


def _scope(request: Request, server: tuple[str, int]) -> dict[str, Any]:
    target = request.data.path.partition(b"?")
    path = target[0].decode("ascii", "replace")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1" if request.http_version == "HTTP/1.1" else "1.0",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "raw_path": target[0],
        "root_path": "",
        "query_string": target[2],
        "headers": [(name.lower(), value) for name, value in request.headers.fields],
        "client": ("127.0.0.1", 0),
        "server": server,
    }
