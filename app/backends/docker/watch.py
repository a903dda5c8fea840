"""Whether an engine answers, asked once for all bottles in it while there are any. Tells changes; does nothing about
them."""

import asyncio
from collections.abc import Callable
from typing import Any

from app.backends.docker.engine import Engine
from app.errors import CarboyError
from app.tasks import spawn

EVERY = 3.0
"""Seconds. An engine that was restarted is found again within that."""
type Tell = Callable[[bool], None]


class Watch:
    def __init__(self, engine: Engine, every: float = EVERY) -> None:
        self._engine = engine
        self._every = every
        self._listeners: list[Tell] = []
        self._task: asyncio.Task[Any] | None = None
        self._answers = True

    def add(self, tell: Tell) -> None:
        """Told at once what is known (a view read back from disk may say something else), and of every change."""
        self._listeners.append(tell)
        tell(self._answers)
        if self._task is None or self._task.done():
            self._task = spawn(self._look(), name="engine-watch")

    def remove(self, tell: Tell) -> None:
        self._listeners.remove(tell)

    async def _look(self) -> None:
        while self._listeners:
            await asyncio.sleep(self._every)
            try:
                answers = bool(await self._engine.call(lambda client: client.ping()))
            except CarboyError:
                answers = False
            if answers != self._answers:
                self._answers = answers
                for tell in tuple(self._listeners):
                    tell(answers)
        self._answers = True
