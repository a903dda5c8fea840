"""A TLS server on loopback that answers as the hosts it stands for, and remembers what it was asked.

The sidecar reaches it by `connect_to` and trusts it by `extra_ca`; the names are still verified. It must never
listen anywhere but on loopback, and never call out. What it remembers holds credentials: keep it in memory.
"""

import asyncio
import gzip
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import zstandard
from aiohttp import web

from app.demo.pretend.hosts import Vendors
from app.demo.pretend.script import Script
from app.demo.pretend.seen import Handler, Seen

MAX_BODY = 64 * 1024 * 1024
"""The sidecar's own cap for a request's body (sidecar.contract.DEFAULT_MAX_BODY)."""


class PretendServer:
    """All pretended hosts behind one port. `handlers` maps a host name to its handler; others are echoed."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, compress: bool = False) -> None:
        self.seen: list[Seen] = []
        self.port = 0
        self.vendors = Vendors(script, compress=compress, seen=self.seen.append)
        self.handlers: dict[str, Handler] = dict(self.vendors.handlers)
        self._tls = tls
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._serve)
        # bodies are decoded here: aiohttp knows no zstd without another package
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, auto_decompress=False)
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
        body = decoded(await request.read(), headers.get("content-encoding", ""))
        seen = Seen(host, request.method, request.path, request.query_string, headers, body)
        self.seen.append(seen)
        return await self.handlers.get(host, self._echo)(request, seen)

    async def refuse(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        """A handler for a test: a credential that the vendor does not know."""
        return web.json_response({"error": {"type": "invalid_api_key", "message": "Incorrect API key"}}, status=401)

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


def decoded(body: bytes, encoding: str) -> bytes:
    """A request's body as its client meant it: Codex compresses with zstd where it is logged in."""
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return gzip.decompress(body) if encoding == "gzip" else body


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
