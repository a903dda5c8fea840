"""How the approvals panel takes keys while a thousand cards wait. `python -m tests.bench.approvals`.

Times are the process's own CPU time for a key and everything it causes, until the app is idle again."""

import asyncio
import time

from tests.tui.scripted import ScriptedClient, app, asked
from tests.tui.waiting import ready, until

CARDS = 1000
KEYS = 60


async def main() -> None:
    client = ScriptedClient()
    client.proposals_now = [asked(f"p-{number:06}", host=f"h{number}.example") for number in range(CARDS)]
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: len(pilot.app.proposals) == CARDS, "all cards")  # type: ignore[attr-defined]
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
        print(f"{CARDS} cards: key p50 {taken[KEYS // 2]:.1f} ms, p95 {taken[int(KEYS * 0.95)]:.1f} ms of CPU")


if __name__ == "__main__":
    asyncio.run(main())
