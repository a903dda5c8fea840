"""What many idle bottles cost, on the real controller: memory and CPU of everything of ours by kind of process, and how
soon a controller that was killed has them all again. `python -m tests.bench.idle [bottles]` prints a table.

The agents are `sleep`: their own cost is not counted.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from app.client import Client
from app.controller import record
from app.core.model import LaunchRequest
from app.errors import CarboyError
from app.paths import Paths
from tests.bench.launch import cpu_seconds, launch, pss, zygote_of
from tests.integration.launching import prepare

SETTLE_SECONDS = 5.0
IDLE_SECONDS = 20.0
AT_ONCE = 4
MEMORY_LIMIT, CPU_LIMIT = 25, 2
"""MiB for each bottle beyond its agent, and per cent of a core for all of them (docs/performance.md)."""


def request(project: Path, label: str) -> LaunchRequest:
    return LaunchRequest(bottles=("plain",), command=("sleep", "36000"), cwd=str(project), label=label)


def processes(paths: Paths, controller: int) -> dict[str, list[int]]:
    """Pids of ours, by kind."""
    found: dict[str, list[int]] = {"controller": [controller], "zygote": [zygote_of(controller)]}
    for kept in record.all_sessions(paths.state / "bottles").values():
        if kept is not None and kept.view.state == "running":
            for kind, process in (("holders", kept.holder), ("sidecars", kept.sidecar)):
                if process is not None:
                    found.setdefault(kind, []).append(process.pid)
                if kind == "sidecars":
                    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                    found.setdefault("their workers", []).extend(map(int, children.split()))
    return found


async def start(client: Client, project: Path, bottles: int) -> None:
    waiting = [f"idle-{number}" for number in range(bottles)]

    async def some() -> None:
        while waiting:
            await launch(client, request(project, waiting.pop()))

    began = time.monotonic()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    took = time.monotonic() - began
    print(f"{bottles} launches, {AT_ONCE} at a time: {took:.1f} s, {1000 * took / bottles:.0f} ms each")


async def measure(client: Client, paths: Paths, before: float, bottles: int) -> None:
    ours = processes(paths, (await client.status()).pid)
    memory = {kind: sum(map(pss, pids)) for kind, pids in ours.items()}
    began = {kind: cpu_seconds(pids) for kind, pids in ours.items()}
    await asyncio.sleep(IDLE_SECONDS)
    used = {kind: 100 * (cpu_seconds(pids) - began[kind]) / IDLE_SECONDS for kind, pids in ours.items()}
    print(f"{'':14} {'count':>6} {'MiB PSS':>9} {'% of a core':>12}")
    for kind, pids in ours.items():
        print(f"{kind:14} {len(pids):6} {memory[kind]:9.1f} {used[kind]:12.2f}")
    each = (sum(memory.values()) - before) / bottles
    print(f"each bottle: {each:.1f} MiB (limit {MEMORY_LIMIT}); all: {sum(used.values()):.2f} % of a core "
          f"(limit {CPU_LIMIT})")  # fmt: skip


async def adoption(client: Client, bottles: int) -> None:
    """From kill -9 to a controller that has all of them, each with its sidecar's channel."""
    os.kill((await client.status()).pid, signal.SIGKILL)
    began = time.monotonic()
    while True:
        try:
            views = await client.bottles()
        except CarboyError as error:
            if error.code != "connection_lost":
                raise
            continue
        if sum(view.state == "running" and view.sidecar.state == "healthy" for view in views) == bottles:
            break
        await asyncio.sleep(0.05)
    print(
        f"adoption of {bottles} after kill -9 of the controller, its start included: {time.monotonic() - began:.2f} s"
    )


async def main(bottles: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="cb-"))
    paths = Paths.resolve({**os.environ, "CARBOY_HOME": str(home)})
    os.environ["CARBOY_HOME"] = str(home)
    project = prepare(paths)
    try:
        async with await Client.connect(paths) as client:
            controller = (await client.status()).pid
            await launch(client, request(project, "first"))  # the zygote is there afterwards
            await client.kill("first")
            before = pss(controller) + pss(zygote_of(controller))
            await start(client, project, bottles)
            await asyncio.sleep(SETTLE_SECONDS)
            await measure(client, paths, before, bottles)
            await adoption(client, bottles)
            await asyncio.gather(*(client.kill(view.slug) for view in await client.bottles() if view.slug != "first"))
            await client.shutdown(force=True)
    finally:
        shutil.rmtree(project, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
