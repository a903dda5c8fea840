"""What streams notice of large bodies that are scanned meanwhile (performance.md, outbound scanning): the delay of each
event while 1 MB posts go through the same sidecar, beside one that scans nothing and beside mitmproxy as shipped.

    python -m tests.bench.streams
"""

import asyncio
import contextlib
import shutil
import ssl
import statistics
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sidecar.contract import Route
from sidecar.tasks import spawn
from tests.bench import dlp
from tests.bench.proxy import NAME, Way, one, processes, stream_times
from tests.sidecar.proxy_kit import authority, bottle, pem

ROUNDS, POSTERS, PAUSE = 5, 2, 0.1


@contextlib.asynccontextmanager
async def ways() -> AsyncIterator[list[Way]]:
    folder, ca = Path(tempfile.mkdtemp(prefix="cb-bench-")), authority()
    secrets = {f"SECRET_{number}": value for number, value in enumerate(dlp.secrets(20))}
    try:
        with processes(folder, ca) as (port, dump):
            route = Route(host=NAME, ports=(port,), allow_private=True)
            async with (
                bottle(route, extra_ca=(pem(ca),), secrets=secrets) as scanning,
                bottle(route, extra_ca=(pem(ca),), secrets=secrets, main="tests.bench._unscanned") as passing,
            ):
                shipped = ssl.create_default_context(cafile=str(folder / "mitmproxy-ca-cert.pem"))
                yield [
                    Way("sidecar that scans nothing", passing.port, port, passing.tls()),
                    Way("sidecar", scanning.port, port, scanning.tls()),
                    Way("mitmproxy as shipped", dump, port, shipped),
                ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def post(way: Way, bodies: list[bytes], times: list[float]) -> None:
    """One body after the other, at the same pace whatever the way."""
    streams, loop = await way.open(), asyncio.get_running_loop()
    for turn in range(1_000_000):
        due = loop.time() + PAUSE
        times.append(await one(way, streams, way.request(bodies[turn % len(bodies)])))
        await asyncio.sleep(max(0.0, due - loop.time()))


async def delays_of(way: Way, bodies: list[bytes], posts: list[float]) -> list[float]:
    tasks = [spawn(post(way, bodies[number::POSTERS], posts), name="post") for number in range(POSTERS)]
    try:
        await asyncio.sleep(0.2)
        _, delays = await stream_times(way)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return delays


async def run() -> None:
    bodies = [dlp.body(dlp.messages(1_000_000, seed)) for seed in range(40, 48)]
    async with ways() as found:
        delays: list[list[float]] = [[] for _ in found]
        posts: list[list[float]] = [[] for _ in found]
        for way, times in zip(found, posts, strict=True):
            await delays_of(way, bodies, times)  # warm
            times.clear()
        for _ in range(ROUNDS):
            for index, way in enumerate(found):
                delays[index] += await delays_of(way, bodies, posts[index])
        quantiles = [statistics.quantiles(each, n=100) for each in delays]
        print(
            f"events while {POSTERS} clients post 1 MB each {PAUSE * 1000:.0f} ms; times the sidecar that scans nothing"
        )
        for index, way in enumerate(found):
            p50, p99 = quantiles[index][49], quantiles[index][98]
            print(
                f"{way.name:<28} p50 {p50:6.2f} ms ({p50 / quantiles[0][49]:4.2f}x)   p99 {p99:7.2f} ms "
                f"({p99 / quantiles[0][98]:4.2f}x)   post {statistics.median(posts[index]):6.1f} ms"
            )
        print("targets: p50 <= 1.4x, p99 <= 2x")


if __name__ == "__main__":
    asyncio.run(run())
