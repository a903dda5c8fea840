"""The one way from git and ssh to an upstream: a listener on the host's own loopback that leads to this upstream alone.

The sidecar resolves, checks and dials (`egress.reach`), as for every other connection of the bottle: addresses that are
private are refused, the checked one is dialled, and the settings' `connect_to` and `upstream_proxy` hold, whose
password git therefore never sees. ssh comes to it plainly, git's HTTP client by SOCKS5 (RFC 1928), which leaves the
name to us. It answers only while a call of ours is under way, and only processes of our own user.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator

from sidecar.egress.names import is_address
from sidecar.egress.reach import READ_LIMIT, Reach, Streams, Unreachable
from sidecar.gitgate.urls import Upstream
from sidecar.tasks import cancel_and_wait, spawn

CHUNK = 128 * 1024
MAX_CONNECTIONS = 16
"""A call of git's has one or two."""
ASK_SECONDS = 10.0
_MEANT = "; `allow_private: true` of the repository allows it"
_TABLE = "/proc/net/tcp"
_LOOPBACK = b"%08X" % int.from_bytes(bytes((127, 0, 0, 1)), sys.byteorder)
_GREETING, _CONNECT, _NAME, _V4, _V6 = 5, 1, 3, 1, 4


class Relay:
    """Of one upstream. `listen` before the sidecar locks itself in; `reach` is given after it."""

    def __init__(self, upstream: Upstream, *, allow_private: bool) -> None:
        self._upstream = upstream
        # an address that stands in the manifest is meant; a name may come to lead anywhere
        self._allow_private = allow_private or is_address(upstream.host)
        self._server: asyncio.Server | None = None
        self._table = -1
        self._users = 0
        self._live: set[asyncio.Task[None]] = set()
        self.reach: Reach | None = None
        self.port = 0
        self.trouble = ""
        """Why upstream was not reached, of the last call. For the client."""

    async def listen(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind(("127.0.0.1", 0))
        sock.listen(MAX_CONNECTIONS)
        sock.setblocking(False)
        self.port = int(sock.getsockname()[1])
        with contextlib.suppress(OSError):  # Linux
            self._table = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        self._server = await asyncio.start_server(self._accepted, sock=sock, limit=READ_LIMIT)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[int]:
        """While a call of ours is under way: the port that it goes to. What it began lives on after it."""
        if not self._users:
            self.trouble = ""
        self._users += 1
        try:
            yield self.port
        finally:
            self._users -= 1

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await cancel_and_wait(*self._live)
        if self._table >= 0:
            os.close(self._table)
            self._table = -1

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        if not self._users or len(self._live) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._live.add(me)
        try:
            if await self._ours(writer):
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self._live.discard(me)
            writer.transport.abort()

    async def _ours(self, writer: asyncio.StreamWriter) -> bool:
        """Whether it comes from a process of our own user. Where the system does not say, being asked for must do."""
        if self._table < 0:
            return True
        peer = int(writer.get_extra_info("peername")[1])
        data = await asyncio.to_thread(_read, self._table)
        return owner(data, peer, self.port) == os.geteuid()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socks = self._upstream.scheme != "ssh"
        if socks and not await self._asked_rightly(reader, writer):
            return
        try:
            far_reader, far_writer = await self._dial()
        except Unreachable as error:
            self.trouble = error.reason + (_MEANT if error.code == "private_address" else "")
            if socks:
                writer.write(_reply(1))
                await writer.drain()
            return
        try:
            if socks:
                writer.write(_reply(0))
            await _both_ways((reader, writer), (far_reader, far_writer))
        finally:
            far_writer.transport.abort()

    async def _dial(self) -> Streams:
        assert self.reach is not None
        self.trouble = f"{self._upstream.host} does not answer"
        found = await self.reach.find(self._upstream.host, self._upstream.port, self._allow_private)
        streams, _ = await self.reach.open(found)
        self.trouble = ""
        return streams

    async def _asked_rightly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """SOCKS5 up to its request: for this upstream, else it is refused."""
        async with asyncio.timeout(ASK_SECONDS):
            version, count = await reader.readexactly(2)
            methods = await reader.readexactly(count)
            if version != _GREETING or 0 not in methods:
                return False
            writer.write(bytes((_GREETING, 0)))
            version, command, _, kind = await reader.readexactly(4)
            host = await _host(reader, kind)
            (port,) = struct.unpack(">H", await reader.readexactly(2))
        wanted = (_plain(self._upstream.host), self._upstream.port)
        if version == _GREETING and command == _CONNECT and (host, port) == wanted:
            return True
        writer.write(_reply(2))
        await writer.drain()
        return False


async def _host(reader: asyncio.StreamReader, kind: int) -> str:
    """The host in a SOCKS5 request; empty where it is none."""
    if kind == _NAME:
        (size,) = await reader.readexactly(1)
        return _plain((await reader.readexactly(size)).decode("ascii", "replace"))
    if kind in (_V4, _V6):
        return str(ipaddress.ip_address(await reader.readexactly(4 if kind == _V4 else 16)))
    return ""


def _plain(host: str) -> str:
    return str(ipaddress.ip_address(host)) if is_address(host) else host.lower()


def _reply(code: int) -> bytes:
    return bytes((_GREETING, code, 0, _V4)) + bytes(6)


async def _both_ways(near: Streams, far: Streams) -> None:
    """Until both have said all, or one breaks off."""
    ways = [
        spawn(_pump(source, writer), name="git-relay", on_error=lambda _: None)
        for source, writer in ((near, far[1]), (far, near[1]))
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await cancel_and_wait(*ways)


async def _pump(source: Streams, target: asyncio.StreamWriter) -> None:
    reader, sock = source[0], source[1].get_extra_info("socket")
    while data := await reader.read(CHUNK):
        _acknowledge(sock)
        target.write(data)
        await target.drain()
    target.write_eof()


def _acknowledge(sock: socket.socket | None) -> None:
    """At once: until a session runs, small packets of ssh wait for the acknowledgement of the one before (tcp(7))."""
    if sock is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _read(fd: int) -> bytes:
    data, at = b"", 0
    while piece := os.pread(fd, 1024 * 1024, at):
        data, at = data + piece, at + len(piece)
    return data


def owner(table: bytes, peer: int, port: int) -> int | None:
    """Whose the connection from `peer` to `port` of the loopback is, by the kernel's list (proc(5): /proc/net/tcp)."""
    near, far = b"%s:%04X" % (_LOOPBACK, peer), b"%s:%04X" % (_LOOPBACK, port)
    for line in table.split(b"\n"):
        words = line.split()
        if len(words) > 7 and words[1] == near and words[2] == far:
            return int(words[7])
    return None
