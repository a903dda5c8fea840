"""What the tests of the app wait by."""

import asyncio
import time

from tests.tui.idle import MOST, idle


async def test_work_is_waited_for_where_others_have_the_processor() -> None:
    async def work() -> str:
        for _ in range(20):
            time.sleep(MOST / 10)  # as a process does that waits for its turn
            await asyncio.sleep(0)
        return "done"

    working = asyncio.ensure_future(work())  # noqa: TID251
    await idle()
    assert working.done()
    assert await working == "done"


async def test_what_never_rests_is_not_waited_for() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    spinning = asyncio.ensure_future(spin())  # noqa: TID251
    await idle()
    assert not spinning.done()
    spinning.cancel()


async def test_a_repaint_that_slow_work_orders_is_waited_for() -> None:
    painted: list[str] = []

    async def work() -> None:
        time.sleep(0.1)
        asyncio.get_running_loop().call_later(0.015, painted.append, "done")

    working = asyncio.ensure_future(work())  # noqa: TID251
    await idle()
    assert painted == ["done"]
    await working
