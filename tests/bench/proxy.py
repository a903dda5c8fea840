"""The proxy's table (performance.md): our sidecar beside mitmproxy as shipped, sandbox-runtime's proxy and a direct
connection, interleaved in one run, medians. All on loopback, TLS on both sides, one process each.

    python -m tests.bench.proxy
"""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from sidecar.contract import Route
from tests.e2e.packages import installed
from tests.sidecar.proxy_kit import authority, bottle, pem

NAME = "localhost"
SMALL, POSTS, CONNECTIONS, EVENTS = 400, 40, 40, 100
PAUSES = 20
"""Posts with a pause before each, as an agent's come: a connection that was idle begins with few bytes at a time."""
BODY = os.urandom(512 * 1024).hex().encode()


# --- upstream (a process of its own) ----------------------------------------------------------------------------------


def upstream(fd: int, cert: str) -> None:
    import uvloop

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                if length:
                    await reader.readexactly(int(length))
                if head.startswith(b"GET /events"):
                    await events(writer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    async def events(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(EVENTS):
            line = b"data: %d\n\n" % time.monotonic_ns()
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
        server = await asyncio.start_server(serve, sock=socket.socket(fileno=fd), ssl=context, limit=4 * 1024 * 1024)
        await server.serve_forever()

    uvloop.run(run())


# --- client -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way to the upstream. `proxy` is the port of a proxy on loopback, 0 for none."""

    name: str
    proxy: int
    port: int
    tls: ssl.SSLContext

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy or self.port, limit=4 * 1024 * 1024)
        if self.proxy:
            writer.write(f"CONNECT {NAME}:{self.port} HTTP/1.1\r\nHost: {NAME}:{self.port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
        await writer.start_tls(self.tls, server_hostname=NAME)
        return reader, writer

    def request(self, body: bytes = b"", path: str = "/x") -> bytes:
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {NAME}:{self.port}\r\n"
        return (head + (f"Content-Length: {len(body)}\r\n" if body else "") + "\r\n").encode() + body


async def answered(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head, head
    await reader.readexactly(5)


async def one(way: Way, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> float:
    started = time.perf_counter()
    streams[1].write(request)
    await answered(streams[0])
    return (time.perf_counter() - started) * 1000


async def exchange_times(
    ways: list[Way], request: Callable[[Way], bytes], count: int, batch: int, *, pause: float = 0
) -> list[list[float]]:
    """Milliseconds of each request on a kept connection, the ways taking turns, `pause` seconds before each turn."""
    streams = [await way.open() for way in ways]
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(-1, count // batch):
        await asyncio.sleep(pause)
        for index, way in enumerate(ways):
            got = [await one(way, streams[index], request(way)) for _ in range(batch)]
            if turn >= 0:
                times[index] += got
    for _, writer in streams:
        writer.close()
    return times


async def connection_times(ways: list[Way], count: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(-2, count):
        for index, way in enumerate(ways):
            started = time.perf_counter()
            reader, writer = await way.open()
            writer.write(way.request())
            await answered(reader)
            if turn >= 0:
                times[index].append((time.perf_counter() - started) * 1000)
            writer.close()
    return times


async def rate(way: Way, connections: int, seconds: float) -> float:
    streams = [await way.open() for _ in range(connections)]
    until, request = time.perf_counter() + seconds, way.request()

    async def loop(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int:
        done = 0
        while time.perf_counter() < until:
            await one(way, pair, request)
            done += 1
        return done

    total = sum(await asyncio.gather(*(loop(pair) for pair in streams)))
    for _, writer in streams:
        writer.close()
    return total / seconds


async def stream_times(way: Way) -> tuple[float, list[float]]:
    """Time to the first event, and each event's delay from its being written to its being read."""
    reader, writer = await way.open()
    started = time.perf_counter()
    writer.write(way.request(path="/events"))
    first, delays, data = 0.0, list[float](), b""
    while not data.endswith(b"0\r\n\r\n"):
        chunk = await reader.read(65536)
        now = time.monotonic_ns()
        if not chunk:
            break
        for line in chunk.split(b"\n"):
            if line.startswith(b"data: "):
                first = first or (time.perf_counter() - started) * 1000
                delays.append((now - int(line[6:])) / 1e6)
        data = (data + chunk)[-64:]
    writer.close()
    return first, delays


# --- what is measured ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def processes(folder: Path, ca: trustme.CA) -> Iterator[tuple[int, int]]:
    """The upstream and mitmdump; gives their ports."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    port = sock.getsockname()[1]
    ca.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    dump = free.getsockname()[1]
    free.close()
    mitmdump = Path(sys.executable).with_name("mitmdump")
    serving = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.proxy", "upstream", str(sock.fileno()), str(folder / "leaf.pem")],
        pass_fds=[sock.fileno()],
    )
    shipped = subprocess.Popen(
        [
            *(str(mitmdump), "-q", "--listen-host", "127.0.0.1", "-p", str(dump)),
            *("--set", f"confdir={folder}", "--set", f"ssl_verify_upstream_trusted_ca={folder / 'ca.pem'}"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(dump)
        yield port, dump
    finally:
        for process in (serving, shipped):
            process.terminate()
            process.wait()
        sock.close()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise RuntimeError("mitmdump did not start")


@contextlib.contextmanager
def sandbox_runtime(folder: Path) -> Iterator[tuple[int, Path] | None]:
    """Port and authority of the npm package's proxy; None, with the reason said, where it cannot be had."""
    try:
        package = installed("sandbox-runtime").parent / "@anthropic-ai/sandbox-runtime"
    except pytest.skip.Exception as reason:
        print(f"no comparison with sandbox-runtime: {reason}")
        yield None
        return
    script = Path(__file__).with_name("sandbox_runtime.mjs")
    process = subprocess.Popen(
        ["node", script, package, folder / "ca.pem"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        port, _, authority_file = process.stdout.readline().strip().partition(" ")
        yield int(port), Path(authority_file)
    finally:
        process.terminate()
        process.wait()


@contextlib.asynccontextmanager
async def all_ways() -> AsyncIterator[list[Way]]:
    folder = Path(tempfile.mkdtemp(prefix="cb-bench-"))
    ca = authority()
    try:
        with processes(folder, ca) as (port, dump), sandbox_runtime(folder) as runtime:
            route = Route(host=NAME, ports=(port,), allow_private=True)
            plain = bottle(route, extra_ca=(pem(ca),), main="tests.bench._unscanned")
            async with bottle(route, extra_ca=(pem(ca),)) as box, plain as unscanned:
                direct = ssl.create_default_context(cadata=pem(ca))
                shipped = ssl.create_default_context(cafile=str(folder / "mitmproxy-ca-cert.pem"))
                ways = [
                    Way("direct", 0, port, direct),
                    Way("mitmproxy", dump, port, shipped),
                    Way("sidecar", box.port, port, box.tls()),
                    Way("without scan", unscanned.port, port, unscanned.tls()),
                ]
                if runtime is not None:
                    ways.append(Way("sandbox-rt", runtime[0], port, ssl.create_default_context(cafile=runtime[1])))
                yield ways
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row(name: str, values: list[float], unit: str, target: str) -> None:
    """`values` in the order of `all_ways`; ratios of the sidecar, and of it without the scan, to both other proxies."""
    cells = "".join(f"{value:>14.2f}" for value in values)
    ratios = "".join(
        f"{values[2] / values[other]:>8.2f}x ({values[3] / values[other]:.2f}x)"
        for other in (1, 4)
        if other < len(values)
    )
    print(f"{name:<26}{unit:<6}{cells}{ratios}   {target}")


async def run() -> None:
    async with all_ways() as ways:
        heads = "".join(f"{way.name:>14}" for way in ways)
        print(f"{'':<32}{heads}   sidecar (without scan) to mitmproxy, to sandbox-runtime; targets")
        small = await exchange_times(ways, lambda way: way.request(), SMALL, 20)
        row("small request, p50", [statistics.median(times) for times in small], "ms", "<= 1.0x, <= 2.5x")
        posts = await exchange_times(ways, lambda way: way.request(BODY), POSTS, 4)
        row("POST of 1 MB, p50", [statistics.median(times) for times in posts], "ms", "<= 1.8x, <= 0.2x")
        posts = await exchange_times(ways, lambda way: way.request(BODY), PAUSES, 1, pause=1)
        row("the same, a second later", [statistics.median(times) for times in posts], "ms", "<= 1.8x, <= 0.2x")
        new = await connection_times(ways, CONNECTIONS)
        row("new connection, p50", [statistics.median(times) for times in new], "ms", "<= 1.0x")
        rates = [[await rate(way, 16, 1.0) for way in ways] for _ in range(3)]
        row("requests/s at 16", [statistics.median(column) for column in zip(*rates, strict=True)], "1/s", "")
        streams = [await stream_times(way) for way in ways]
        row("event stream, first byte", [first for first, _ in streams], "ms", "")
        delays = [statistics.median(times) for _, times in streams]
        row("event delay, p50", delays, "ms", f"<= 1.3 ms more than direct: {delays[2] - delays[0]:.2f}")
        row("event delay, p99", [statistics.quantiles(times, n=100)[98] for _, times in streams], "ms", "")


if __name__ == "__main__":
    if sys.argv[1:2] == ["upstream"]:
        upstream(int(sys.argv[2]), sys.argv[3])
    else:
        asyncio.run(run())
