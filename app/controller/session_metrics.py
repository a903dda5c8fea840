"""Keeps each session's facts beside the numbers that its usage adds up by itself (`app.store.usage`): when it began and
ended, where, how. The store keeps a hundred sessions a project."""

import asyncio
import logging
from collections.abc import Callable

from app.core.model import BottleView
from app.core.usage import Metrics
from app.errors import CarboyError
from app.store.base import Store
from app.tasks import spawn

log = logging.getLogger(__name__)


type Traced = Callable[[BottleView, str | None], None]
"""Told of a bottle's new state and the former one, where that is known; beside the loop."""


class SessionMetrics:
    """Told of every change of a bottle; writes when its state is another one."""

    def __init__(self, store: Store, traced: Traced = lambda *_: None) -> None:
        self._store = store
        self._traced = traced
        self._states: dict[str, str] = {}

    def changed(self, view: BottleView) -> None:
        before = self._states.get(view.session_id)
        if before == view.state:
            return
        self._states[view.session_id] = view.state
        while len(self._states) > 1000:
            self._states.pop(next(iter(self._states)))
        spawn(asyncio.to_thread(self._traced, view, before), name=f"trace of {view.slug}")
        spawn(self._save(view), name=f"metrics of {view.slug}")

    async def _save(self, view: BottleView) -> None:
        facts = Metrics(
            session_id=view.session_id,
            slug=view.slug,
            project=view.cwd,
            agent=view.agent,
            provider=view.provider,
            model=view.model or "",
            started=view.created_at,
            ended=view.ended_at,
            status=view.state,
            error=view.error,
        )
        try:
            await self._store.save_metrics(facts)
        except CarboyError as error:  # the next change writes it
            log.warning("the metrics of %s could not be written: %s", view.slug, error)
            self._states.pop(view.session_id, None)
