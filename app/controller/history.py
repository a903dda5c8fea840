"""Tells and remembers how bottles change: every change goes to the event bus at once, and the ones worth keeping to
the store, the newest of each session, in the background. A store that fails never disturbs a bottle."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from app.controller.events import Bus
from app.core.model import LIVE, BottleView
from app.errors import CarboyError
from app.store.base import Store
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""After a failure: a full disk has room again when somebody made it."""
_PASSING = {"last_activity": None, "title": "", "allowed": 0, "refused": 0, "attention": 0}
"""What changes many times a second and is not worth a row until something else changes."""


class History:
    """`changed` is the sessions' `on_change`."""

    def __init__(self, bus: Bus, store: Store, on_change: Callable[[], None] = lambda: None) -> None:
        self._bus = bus
        self._store = store
        self.on_change = on_change
        self.also: Callable[[BottleView], None] = lambda _: None
        """Told of every change as well."""
        self._waiting: dict[str, BottleView] = {}
        self._saved: dict[str, BottleView] = {}
        self._news = asyncio.Event()
        self._task = spawn(self._run(), name="session history")

    def changed(self, view: BottleView) -> None:
        """A bottle is now like this."""
        self._bus.bottle(view)
        self.also(view)
        core = view.model_copy(update=_PASSING)
        if self._saved.get(view.session_id) != core:
            self._saved[view.session_id] = core
            self._waiting[view.session_id] = view
            self._news.set()
        self.on_change()

    async def close(self) -> None:
        """Write what waits."""
        await cancel_and_wait(self._task)
        await self._write()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):  # what could not be written is tried again, and only then
                async with asyncio.timeout(RETRY_SECONDS if self._waiting else None):
                    await self._news.wait()
            self._news.clear()
            await self._write()

    async def _write(self) -> None:
        while self._waiting:
            session_id, view = next(iter(self._waiting.items()))
            try:
                await self._store.save_session(view)
            except CarboyError as error:
                log.error("the history of %s could not be written yet: %s", view.slug, error)
                return
            except Exception:
                log.exception("the history of %s could not be written", view.slug)
            # only what was written: it may have changed meanwhile
            if self._waiting.get(session_id) is view:
                del self._waiting[session_id]
                if view.state not in LIVE:
                    self._saved.pop(session_id, None)
