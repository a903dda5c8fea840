"""Steps and their undoing, whatever fails or is cancelled."""

import asyncio

import pytest

from app.controller.transaction import Transaction, side_by_side
from app.tasks import spawn


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, step: str, state: str, ms: float | None, detail: str) -> None:
        self.lines.append((step, state))


async def test_undo_runs_backwards_and_past_failures() -> None:
    told, undone = Told(), list[str]()
    transaction = Transaction(told)

    async def undo(name: str) -> None:
        if name == "b":
            raise OSError("stuck")
        undone.append(name)

    for name in "abc":
        async with transaction.step(name):
            transaction.undoing(name, lambda name=name: undo(name))
    with pytest.raises(ValueError):
        async with transaction.step("d"):
            raise ValueError("no")
    await transaction.roll_back()
    assert undone == ["c", "a"]
    assert told.lines[-4:] == [("d", "failed"), ("c", "undone"), ("b", "failed"), ("a", "undone")]


async def test_a_cancelled_roll_back_still_completes() -> None:
    transaction = Transaction(Told())
    begun, undone = asyncio.Event(), list[str]()

    async def slow() -> None:
        begun.set()
        await asyncio.sleep(0.05)
        undone.append("slow")

    async def quick() -> None:
        undone.append("quick")

    transaction.undoing("first", quick)
    transaction.undoing("second", slow)
    task = spawn(transaction.roll_back(), name="test")
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["slow", "quick"]


async def test_the_first_failure_cancels_the_rest_and_is_the_one_raised() -> None:
    ended = list[str]()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("first")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with pytest.raises(ValueError, match="first"):
        await side_by_side(waits=waits(), fails=fails())
    assert ended == ["cancelled"]
