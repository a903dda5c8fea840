"""What metering adds to a stream through a whole sidecar: the same bytes to a metered host and to one that is not, in
turns through one proxy. Delay of each event from its sender to the agent, and the sidecar's CPU for it.

    python -m tests.bench.metering
"""

import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import httpx

from tests.sidecar.metering_kit import HOST, OTHER, metered_bottle
from tests.sidecar.proxy_kit import Bottle

EVENTS, ROUNDS, PAUSE = 300, 6, 0.002


async def stream(seen: Any, send: Any) -> None:
    """Messages of Anthropic's, each delta with the time it was sent at."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    head = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 10, "output_tokens": 1}}}
    await send({"type": "http.response.body", "body": event(head), "more_body": True})
    for _ in range(EVENTS):
        delta = {"type": "text_delta", "text": f" {time.monotonic_ns()} and some more words of an answer"}
        body = event({"type": "content_block_delta", "index": 0, "delta": delta})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(PAUSE)
    tail = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4 * EVENTS}}
    await send({"type": "http.response.body", "body": event(tail) + event({"type": "message_stop"})})


def event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


async def delays(client: httpx.AsyncClient, host: str) -> list[float]:
    """Microseconds from each event's sending to its arrival."""
    found: list[float] = []
    async with client.stream("POST", f"https://{host}/v1/messages", json={"model": "m", "stream": True}) as response:
        async for line in response.aiter_lines():
            if "text_delta" in line:
                sent = int(json.loads(line[6:])["delta"]["text"].split()[0])
                found.append((time.monotonic_ns() - sent) / 1000)
    return found


def cpu(box: Bottle) -> float:
    fields = Path(f"/proc/{box.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    async with metered_bottle(stream) as (box, _), box.client() as client:
        for host in (HOST, OTHER):
            await delays(client, host)
        seen: dict[str, list[float]] = {HOST: [], OTHER: []}
        spent = {HOST: 0.0, OTHER: 0.0}
        for _ in range(ROUNDS):
            for host in (HOST, OTHER):
                before = cpu(box)
                seen[host] += await delays(client, host)
                spent[host] += cpu(box) - before
    print(f"{'stream':12} {'events':>7} {'p50 us':>8} {'p95 us':>8} {'p99 us':>8} {'CPU us an event':>16}")
    for name, host in (("not metered", OTHER), ("metered", HOST)):
        found = sorted(seen[host])
        p95, p99 = found[int(0.95 * len(found))], found[int(0.99 * len(found))]
        each = spent[host] / len(found) * 1e6
        print(f"{name:12} {len(found):>7} {statistics.median(found):>8.0f} {p95:>8.0f} {p99:>8.0f} {each:>16.0f}")
    print("asked for: at most 1,000 us p95 more for each event")


if __name__ == "__main__":
    asyncio.run(main())
