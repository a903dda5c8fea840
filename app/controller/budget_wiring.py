"""Builds what keeps budgets and connects it with those who count, start sidecars and tell. Decides nothing."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

from app.controller.audit import Audit
from app.controller.budgets import Budgets
from app.controller.events import Bus
from app.controller.history import History
from app.controller.ingest import Ingest
from app.controller.session_metrics import SessionMetrics
from app.controller.sessions import Sessions
from app.controller.tidying import keep_tidy
from app.controller.traces import Traces
from app.core.model import BottleView
from app.core.schema import Settings
from app.errors import CarboyError
from app.paths import Paths
from app.settings import load_settings
from app.store.base import Store
from app.tasks import cancel_and_wait, spawn


async def connect(
    paths: Paths,
    store: Store,
    bus: Bus,
    audit: Audit,
    sessions: Sessions,
    ingest: Ingest,
    history: History,
    stack: AsyncExitStack,
) -> Budgets:
    """Before any session is found again: its sidecar may ask at once."""
    last = Settings()

    async def read() -> Settings:
        """A file that is being edited and broken for a moment changes no budget."""
        nonlocal last
        with contextlib.suppress(CarboyError):  # every client shows that the file is broken
            last = (await asyncio.to_thread(load_settings, paths)).settings
        return last

    budgets = Budgets(store, bus, audit, sessions, read, ingest.settle)
    traces = Traces(paths.state)
    metrics = SessionMetrics(store, traces.state)
    budgets.traced = traces.answers
    stack.push_async_callback(budgets.close)

    told_before, also_before = sessions.on_sidecar, history.also

    def on_sidecar(session_id: str) -> None:
        told_before(session_id)
        budgets.sidecar_up(session_id)

    def also(view: BottleView) -> None:
        also_before(view)
        metrics.changed(view)
        budgets.bottle(view)

    ingest.told.counts, ingest.told.used = budgets.counts, budgets.used
    ingest.told.traced = traces.answers
    sessions.on_sidecar, sessions.on_lease = on_sidecar, budgets.lease
    sessions.allow, sessions.spooled_out = budgets.allow, budgets.ended
    history.also = also
    await budgets.load()
    stack.push_async_callback(cancel_and_wait, spawn(keep_tidy(paths, store, traces), name="tidying"))
    return budgets
