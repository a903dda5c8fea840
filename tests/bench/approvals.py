"""From the operator's decision to the released request, and how the panel takes keys while a thousand cards wait.

    python -m tests.bench.approvals [released | keys]

The first is with a real controller, sidecar and bottle: from before the client's call until the request has reached the
upstream. Times of the second are the process's own CPU time for a key and everything it causes, until the app is idle
again."""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from app.core.approvals import ApproveBody
from app.paths import Paths
from tests.conftest import until
from tests.integration.asking import asking
from tests.tui.scripted import ScriptedClient, app, asked
from tests.tui.waiting import ready
from tests.tui.waiting import until as seen

HELD = 60
CARDS = 1000
KEYS = 60


async def released() -> None:
    with tempfile.TemporaryDirectory(prefix="cb-") as home:
        os.environ["CARBOY_HOME"] = str(Path(home) / "home")
        paths = Paths.resolve(dict(os.environ))
        async with asking(paths) as rig:
            await rig.launch("one", 1)
            taken: list[float] = []
            for number in range(1, HELD + 1):
                waiting: list[str] = []

                async def there(waiting: list[str] = waiting) -> bool:
                    waiting += [view.id for view in await rig.client.proposals(state="pending")]
                    return bool(waiting)

                await until(there)
                name = f"one.0/{number}"
                start = time.perf_counter()
                await rig.client.approve(waiting[0], ApproveBody(reason="measured", by="bench"))
                await until(lambda name=name: name in rig.arrived)
                taken.append((rig.arrived[name][0] - start) * 1000)
    taken.sort()
    print(f"decision to released request, {HELD} of them: p50 {taken[HELD // 2]:.1f} ms, p95 {_p95(taken):.1f} ms")


def _p95(ordered: list[float]) -> float:
    return ordered[int(len(ordered) * 0.95)]


async def keys() -> None:
    client = ScriptedClient()
    client.proposals_now = [asked(f"p-{number:06}", host=f"h{number}.example") for number in range(CARDS)]
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await seen(pilot, lambda: len(pilot.app.proposals) == CARDS, "all cards")  # type: ignore[attr-defined]
        await pilot.press("a")
        taken: list[float] = []
        for number in range(KEYS):
            start = time.process_time()
            await pilot.press("down" if number % 10 < 8 else "up")
            await pilot.pause()
            taken.append((time.process_time() - start) * 1000)
            if number % 10 == 0:  # more come in meanwhile
                client.ask(asked(f"q-{number:06}"))
        taken.sort()
        print(f"{CARDS} cards: key p50 {taken[KEYS // 2]:.1f} ms, p95 {_p95(taken):.1f} ms of CPU")


if __name__ == "__main__":
    for name, work in {"released": released, "keys": keys}.items():
        if name in (sys.argv[1:] or (name,)):
            asyncio.run(work())
