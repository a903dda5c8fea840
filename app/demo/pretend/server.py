"""A TLS server on loopback that answers as the hosts it stands for, and remembers what it was asked.

The sidecar reaches it by `connect_to` and trusts it by `extra_ca`; the names are still verified. It must never
listen anywhere but on loopback, and never call out. What it remembers holds credentials: keep it in memory.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from app.demo.pretend import anthropic
from app.demo.pretend.script import Script

MAX_BODY = 64 * 1024 * 1024
"""The sidecar's own cap for a request's body (sidecar.contract.DEFAULT_MAX_BODY)."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived. Header names are in lower case; one sent twice is joined by a newline."""

    host: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return json.loads(self.body or b"{}")


Handler = Callable[[web.Request, Seen], Awaitable[web.StreamResponse]]


class PretendServer:
    """All pretended hosts behind one port. `handlers` maps a host name to its handler; others are echoed."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, compress: bool = False) -> None:
        self.seen: list[Seen] = []
        self.port = 0
        self.handlers: dict[str, Handler] = {anthropic.HOST: self._anthropic}
        self._script = script
        self._tls = tls
        self._compress = compress
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> "PretendServer":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def of(self, host: str, path: str | None = None) -> list[Seen]:
        """What was asked of `host` (and `path`), oldest first."""
        return [seen for seen in list(self.seen) if seen.host == host and path in (None, seen.path)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        headers = dict[str, str]()
        for name, value in request.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}\n{value}" if key in headers else value
        host = request.host.partition(":")[0]
        seen = Seen(host, request.method, request.path, request.query_string, headers, await request.read())
        self.seen.append(seen)
        return await self.handlers.get(host, self._echo)(request, seen)

    async def _echo(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        """Any other host: what was asked, without the values of headers."""
        body = {
            "host": seen.host,
            "method": seen.method,
            "path": seen.path,
            "headers": sorted(seen.headers),
            "bytes": len(seen.body),
        }
        return web.json_response(body)

    async def _anthropic(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if not ("x-api-key" in seen.headers or "authorization" in seen.headers):
            return web.json_response(anthropic.error("authentication_error", "no credential"), status=401)
        if (seen.method, seen.path) == ("POST", "/v1/messages"):
            return await self._messages(request, seen)
        if (seen.method, seen.path) == ("POST", "/v1/messages/count_tokens"):
            return web.json_response(anthropic.count(seen.json()))
        if (seen.method, seen.path) == ("GET", "/v1/models"):
            return web.json_response(anthropic.models())
        return web.json_response(anthropic.error("not_found_error", "no such path"), status=404)

    async def _messages(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        try:
            conversation = anthropic.read(seen.json())
        except (ValueError, AttributeError, TypeError):
            return web.json_response(anthropic.error("invalid_request_error", "not a conversation"), status=400)
        turn = self._script(conversation)
        if not conversation.stream:
            return web.json_response(anthropic.message(conversation, turn))
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        if self._compress:
            response.enable_compression()
        await response.prepare(request)
        for event in anthropic.events(conversation, turn):
            await response.write(event)
            if turn.delay:
                await asyncio.sleep(turn.delay)
        await response.write_eof()
        return response


@contextmanager
def in_thread(server: PretendServer) -> Iterator[PretendServer]:
    """`server`, running on an event loop and a thread of its own, for callers that are busy with another loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pretend", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
