"""Steps that are undone in reverse when one fails: the shape of a launch. Knows nothing of bottles."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

type Undo = Callable[[], Awaitable[None]]
type StepState = Literal["running", "done", "failed", "undone"]
type Report = Callable[[str, StepState, float | None, str], None]

UNDO_SECONDS = 30.0
"""No undo may hang the others; what one leaves behind is on record, and `cleanup` finds it."""


@dataclass(frozen=True)
class _Made:
    step: str
    undo: Undo


class Transaction:
    """`async with transaction.step("name"):` around each part; `undoing(...)` before the part makes something."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._made: list[_Made] = []

    def undoing(self, step: str, undo: Undo) -> None:
        """Register `undo` before the thing exists: it must cope with a thing that was never or half made."""
        self._made.append(_Made(step, undo))

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        began = time.monotonic()
        self._report(name, "running", None, "")
        try:
            yield
        except BaseException as error:
            self._report(name, "failed", _ms(began), str(error)[:500])
            raise
        self._report(name, "done", _ms(began), "")

    async def roll_back(self) -> None:
        """Undo everything, last first. Completes although the launch was cancelled, once or again."""
        work = spawn(self._undo_all(), name="launch-undo")
        cancelled = False
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def _undo_all(self) -> None:
        while self._made:
            made = self._made.pop()
            began = time.monotonic()
            try:
                async with asyncio.timeout(UNDO_SECONDS):
                    await made.undo()
            except Exception:
                log.exception("undoing %s failed; cleanup will finish it", made.step)
                self._report(made.step, "failed", _ms(began), "could not be undone; `carboy cleanup` will")
            else:
                self._report(made.step, "undone", _ms(began), "")


async def side_by_side(**parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts at once. The first that fails cancels the others, and its error is the one raised, after all have
    ended."""
    tasks = [spawn(part, name=f"launch-{name}", on_error=lambda _: None) for name, part in parts.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await cancel_and_wait(*tasks)
    for task in tasks:
        if task in done:
            task.result()


def _ms(began: float) -> float:
    return (time.monotonic() - began) * 1000
