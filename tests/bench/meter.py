"""What metering adds to each event of a stream: reading, and the estimate's share of it. The baseline is the same
loop over the same chunks without a meter, in the same run, interleaved.

    python -m tests.bench.meter
"""

import json
import random
import statistics
import time
from collections.abc import Callable

from sidecar.meter.estimate import json_units
from sidecar.meter.request import request_facts
from tests.sidecar.meter.meter_forms import STREAMS
from tests.sidecar.meter.meter_kit import flushed, meter_of, tokens

ROUNDS, TOKENS = 5, 3000


def per_event(chunks: list[bytes], feed: Callable[[bytes], None]) -> list[float]:
    """Microseconds for each chunk."""
    found: list[float] = []
    for chunk in chunks:
        began = time.perf_counter()
        feed(chunk)
        found.append((time.perf_counter() - began) * 1e6)
    return found


def nothing(chunk: bytes) -> None:
    """The baseline: what a loop over chunks costs by itself."""


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def streams() -> None:
    rng = random.Random(1)
    heads = "".join(f" {name:>8}" for name in ("p50 us", "p95 us", "p99 us", "max us", "end us"))
    print(f"{'stream, encoding':28} {'events':>7} {'baseline':>9}{heads}")
    for maker in STREAMS:
        answer = maker(rng, TOKENS, TOKENS)
        for encoding in ("", "gzip", "br", "zstd") if maker is STREAMS[0] else ("",):
            chunks = flushed(answer, encoding) if encoding else list(answer.pieces)
            base: list[float] = []
            ours: list[float] = []
            ends: list[float] = []
            for _ in range(ROUNDS):
                base += per_event(chunks, nothing)
                meter = meter_of(answer, encoding)
                ours += per_event(chunks, meter.feed)
                began = time.perf_counter()
                meter.finish(complete=True)
                ends.append((time.perf_counter() - began) * 1e6)
            print(
                f"{maker.__name__ + ' ' + encoding:28} {len(chunks):>7} {statistics.median(base):>9.2f} "
                f"{statistics.median(ours):>8.1f} {quantile(ours, 0.95):>8.1f} {quantile(ours, 0.99):>8.1f} "
                f"{max(ours):>8.0f} {statistics.median(ends):>8.0f}"
            )
    print("asked for: at most 1,000 us p95 for each event")


def requests() -> None:
    rng = random.Random(2)
    print(f"\n{'request bytes':>14} {'tokens estimated, ms':>21} {'all facts, ms':>14}")
    for size in (2_000, 20_000, 200_000, 1_000_000):
        run = tokens(rng, size, size)
        turns = ["".join(token.text for token in run[at : at + 200]) for at in range(0, size, 200)]
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": turn} for turn in turns]}).encode()
        estimate = took(lambda body=body: json_units(body, ()))
        facts = took(lambda body=body: request_facts("POST", "/v1/messages", body))
        print(f"{len(body):>14,} {estimate:>21.2f} {facts:>14.2f}")


def took(work: Callable[[], object]) -> float:
    """Milliseconds, the median."""
    found: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found)


if __name__ == "__main__":
    streams()
    requests()
