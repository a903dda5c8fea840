"""From the request to the agent's first byte, over the real API; the sandbox's part of it; what an idle bottle costs
in memory and CPU. `python -m tests.bench.launch [bottles]` prints tables.

PSS is the honest figure for processes forked from one another: a page that N share counts a Nth for each.
"""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.client import Client
from app.controller import record
from app.core.model import BottleView, LaunchRequest, LaunchStep
from app.paths import Paths
from tests.integration.launching import prepare

ROUNDS = 10
IDLE_SECONDS = 10.0


@dataclass
class Times:
    first_byte: list[float] = field(default_factory=list[float])
    steps: dict[str, list[float]] = field(default_factory=dict[str, list[float]])


def request(project: Path, label: str, script: str) -> LaunchRequest:
    return LaunchRequest(bottles=("plain",), command=("/bin/sh", "-c", script), cwd=str(project), label=label)


async def launch(client: Client, asked: LaunchRequest, times: Times | None = None) -> BottleView:
    async for told in client.launch(asked):
        if isinstance(told, BottleView):
            return told
        assert isinstance(told, LaunchStep)
        if times is not None and told.state == "done" and told.ms is not None:
            times.steps.setdefault(told.step, []).append(told.ms)
    raise AssertionError("the launch said nothing at its end")


async def one(client: Client, project: Path, label: str, times: Times) -> None:
    began = time.perf_counter()
    await launch(client, request(project, label, "echo up; sleep 600"), times)
    terminal = await client.terminal(label)
    seen = b""
    async for piece in terminal.output():
        seen += piece
        if b"up" in seen:
            break
    times.first_byte.append((time.perf_counter() - began) * 1000)
    await terminal.close()
    await client.kill(label)


def pss(pid: int) -> float:
    """MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_seconds(pids: list[int]) -> float:
    """Of processes of ours, in user and system time."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def zygote_of(controller: int) -> int:
    for pid in Path(f"/proc/{controller}/task/{controller}/children").read_text().split():
        if b"app.processes.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("the controller has no zygote")


def holders_and_sidecars(paths: Paths) -> list[int]:
    found: list[int] = []
    for kept in record.all_sessions(paths.state / "bottles").values():
        if kept is not None and kept.view.state == "running":
            found += [process.pid for process in (kept.holder, kept.sidecar) if process is not None]
    return found


async def measure_times(client: Client, project: Path) -> None:
    times = Times()
    await one(client, project, "warm-up", Times())
    for number in range(ROUNDS):
        await one(client, project, f"n{number}", times)
    print(f"launch to the agent's first byte: median {statistics.median(times.first_byte):.0f} ms of {ROUNDS}, "
          f"worst {max(times.first_byte):.0f} ms (limit 1500)")  # fmt: skip
    for step, spent in times.steps.items():
        print(f"  {step:10} {statistics.median(spent):7.1f} ms")


async def measure_memory(client: Client, paths: Paths, project: Path, bottles: int) -> None:
    controller = (await client.status()).pid
    zygote = zygote_of(controller)
    print(f"without bottles: controller {pss(controller):.1f} MiB PSS (limit 80), "
          f"zygote {pss(zygote):.1f} MiB (limit 90)")  # fmt: skip
    before = pss(controller) + pss(zygote)
    for number in range(bottles):
        await launch(client, request(project, f"idle-{number}", "sleep 3600"))
    await asyncio.sleep(1)
    pids = holders_and_sidecars(paths)
    total = pss(controller) + pss(zygote) + sum(pss(pid) for pid in pids)
    print(f"{bottles} idle bottles: {(total - before) / bottles:.1f} MiB PSS each, sidecar and holder (limit 25)")
    began = cpu_seconds([controller, zygote, *pids])
    await asyncio.sleep(IDLE_SECONDS)
    used = cpu_seconds([controller, zygote, *pids]) - began
    print(
        f"{bottles} idle bottles: {100 * used / IDLE_SECONDS:.2f} % of a core, controller, zygote, sidecars and holders"
    )
    for number in range(bottles):
        await client.kill(f"idle-{number}")


async def main(bottles: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="cb-"))
    paths = Paths.resolve({**os.environ, "CARBOY_HOME": str(home)})
    os.environ["CARBOY_HOME"] = str(home)
    project = prepare(paths)
    try:
        async with await Client.connect(paths) as client:
            await measure_times(client, project)
            await measure_memory(client, paths, project, bottles)
            await client.shutdown(force=True)
    finally:
        shutil.rmtree(project, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
