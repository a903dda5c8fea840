"""Names to checked addresses, and connections to exactly those. The only place that resolves or dials.

Nothing here runs before a verdict. A name is resolved in a thread, for a bounded time; every address must be public
unless the route says otherwise; the connection goes to an address that was checked, never to the name again.
"""

import asyncio
import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sidecar.contract import UpstreamSettings
from sidecar.egress.addresses import why_private
from sidecar.egress.names import is_address, split_authority
from sidecar.tasks import cancel_and_wait, spawn

RESOLVE_SECONDS = 10.0
CONNECT_SECONDS = 20.0
"""For all addresses together. Browsers and SDKs give up after 10–30 s."""
STAGGER_SECONDS = 0.25
"""RFC 8305 8: the next address is tried after 250 ms."""
CACHE_SECONDS = 30.0
FAILURE_CACHE_SECONDS = 2.0
MAX_CACHED = 1024
MAX_LOOKUPS = 16
"""Look-ups at once: each holds a thread until it ends, past its time limit."""
MAX_ADDRESSES = 8
READ_LIMIT = 64 * 1024
"""Half of the bytes that are read ahead of a peer before it is held back (asyncio doubles it)."""
_PROXY_ANSWER = 16 * 1024


class Unreachable(Exception):
    """No connection: `code` is the refusal's (`private_address`, `upstream_unreachable`)."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Destination:
    """Where connections for one origin go. `by_proxy`: the proxy of the host resolves the name, since we could not."""

    addresses: tuple[str, ...]
    port: int
    by_proxy: bool = False
    mapped: bool = False
    private: bool = False
    """Only a route with `allow_private` leads there."""
    inside: bool = False
    """Nothing sent there crosses the internet, as far as addresses tell: all are private, or the host's settings name
    it. Where `by_proxy` leads the operator's `allow_private` tells alone."""


@dataclass(frozen=True)
class Proxy:
    """The host's own way out (settings.yml `egress.upstream_proxy`), an HTTP proxy that takes CONNECT."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """Raises ValueError unless `url` is `http://[user:password@]host[:port]`."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("upstream_proxy must read http://host:port")
        credentials = ""
        if parts.username is not None:
            plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = "Basic " + base64.b64encode(plain.encode()).decode()
        return cls(parts.hostname, parts.port or 3128, credentials)


type Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Reach:
    """Resolver and dialler of one sidecar, with its short memory."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.proxy = Proxy.parse(settings.upstream_proxy) if settings.upstream_proxy else None
        self._mapped = _read_map(settings.connect_to)
        self._cache: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lookups = asyncio.Semaphore(MAX_LOOKUPS)

    def known(self, host: str, port: int, allow_private: bool) -> Destination | None:
        """The destination where no look-up is needed: a `connect_to` entry or one resolved just now.

        Raises Unreachable as `find`.
        """
        mapped = self._mapped.get((host, port))
        if mapped is not None:
            return Destination((mapped[0],), mapped[1], mapped=True, inside=True)
        if is_address(host):
            return self._checked(host, port, (host,), allow_private)
        until, addresses = self._cache.get(host, (0.0, ()))
        if until < time.monotonic():
            return None
        return self._checked(host, port, addresses, allow_private)

    async def find(self, host: str, port: int, allow_private: bool) -> Destination:
        """Resolve `host` and check what comes out. Raises Unreachable."""
        known = self.known(host, port, allow_private)
        if known is not None:
            return known
        addresses = await self._resolve(host)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        keep = CACHE_SECONDS if addresses else FAILURE_CACHE_SECONDS
        self._cache[host] = (time.monotonic() + keep, addresses)
        return self._checked(host, port, addresses, allow_private)

    async def open(self, destination: Destination) -> tuple[Streams, str]:
        """Connect to one of the checked addresses; returns the streams and the address. Raises Unreachable."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self.proxy is not None and not destination.mapped:
                    return await _through(self.proxy, destination)
                return await _race(destination.addresses, destination.port)
        except TimeoutError:
            raise Unreachable("upstream_unreachable", f"no connection within {CONNECT_SECONDS:.0f} s") from None
        except OSError as error:
            raise Unreachable("upstream_unreachable", error.strerror or str(error)) from None

    def _checked(self, host: str, port: int, addresses: Sequence[str], allow_private: bool) -> Destination:
        if not addresses:
            if self.proxy is not None:
                return Destination((host,), port, by_proxy=True, inside=allow_private)
            raise Unreachable("upstream_unreachable", f"the name {host} could not be resolved")
        private = [(address, why) for address in addresses if (why := why_private(address)) is not None]
        if private and not allow_private:
            raise Unreachable("private_address", f"{host} leads to {private[0][0]}: {private[0][1]}")
        inside = len(private) == len(addresses)
        return Destination(tuple(addresses[:MAX_ADDRESSES]), port, private=bool(private), inside=inside)

    async def _resolve(self, host: str) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await self._lookups.acquire()
                return await _in_thread(host, self._lookups.release)
        except (OSError, UnicodeError, TimeoutError):
            return ()


def _in_thread(host: str, over: Callable[[], None]) -> asyncio.Future[tuple[str, ...]]:
    """Ask the system's resolver; `over` is called when it has let go of its thread, however late.

    A thread each: the event loop's own pool (libuv's) gives look-ups two, so that two slow names would hold up all.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def done(found: tuple[str, ...], error: Exception | None) -> None:
        over()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(found)

    def work() -> None:
        found, problem = (), None
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            found = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except Exception as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done, found, problem)

    try:
        threading.Thread(target=work, name="look-up", daemon=True).start()
    except RuntimeError as error:  # the system has no thread for it now: its place is the next one's
        over()
        raise OSError(str(error)) from None
    return future


def _read_map(connect_to: dict[str, str]) -> dict[tuple[str, int], tuple[str, int]]:
    mapped: dict[tuple[str, int], tuple[str, int]] = {}
    for source, target in connect_to.items():
        left, right = split_authority(source, 443), split_authority(target, 443)
        if left is None or right is None:
            raise ValueError(f"connect_to maps host:port to host:port, not {source!r} to {target!r}")
        mapped[left] = right
    return mapped


async def _connect(address: str, port: int) -> tuple[Streams, str]:
    return await asyncio.open_connection(address, port, limit=READ_LIMIT), address


async def _race(addresses: Sequence[str], port: int) -> tuple[Streams, str]:
    """The first address that answers; the next one is tried when the one before failed or is slow."""
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    tries: list[asyncio.Task[tuple[Streams, str]]] = []
    waiting: set[asyncio.Task[tuple[Streams, str]]] = set()
    errors: list[BaseException] = []
    left = list(addresses)
    try:
        while left or waiting:
            if left:
                task = spawn(_connect(left.pop(0), port), name="dial", on_error=lambda _: None)
                tries.append(task)
                waiting.add(task)
            done, waiting = await asyncio.wait(
                waiting, timeout=STAGGER_SECONDS if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    tries.remove(task)
                    return task.result()
                errors.append(error)
        raise errors[0]
    finally:
        await _abandon(tries)


async def _abandon(tries: list[asyncio.Task[tuple[Streams, str]]]) -> None:
    await cancel_and_wait(*tries)
    for task in tries:
        if not task.cancelled() and task.exception() is None:
            task.result()[0][1].close()


async def _through(proxy: Proxy, destination: Destination) -> tuple[Streams, str]:
    """CONNECT through the host's proxy to the first checked address that it reaches."""
    problem = "no address"
    for address in destination.addresses:
        target = f"[{address}]:{destination.port}" if ":" in address else f"{address}:{destination.port}"
        (reader, writer), _ = await _connect(proxy.host, proxy.port)
        try:
            problem = await _ask(proxy, target, reader, writer)
        except BaseException:
            writer.close()
            raise
        if not problem:
            return (reader, writer), address
        writer.close()
    raise Unreachable("upstream_unreachable", f"the upstream proxy answered: {problem}")


async def _ask(proxy: Proxy, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Nothing where the proxy let us through, else its status line."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "no HTTP answer"
    status = head.partition(b"\r\n")[0][:100].decode("ascii", "replace")
    words = status.split(" ")
    accepted = len(head) <= _PROXY_ANSWER and len(words) > 1 and words[0].startswith("HTTP/1.") and words[1][:1] == "2"
    return "" if accepted else status
