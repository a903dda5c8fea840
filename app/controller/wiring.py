"""Builds the controller's parts in order and takes them down in reverse: store, bus, audit, ingestion, sessions,
watcher, API. Decides nothing; `main` runs it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.controller import budget_foresight, budget_wiring, egress_log
from app.controller.api import Parts
from app.controller.audit import Audit
from app.controller.budget_orders import Orders
from app.controller.budgets import Budgets
from app.controller.canaries import Canaries
from app.controller.doctor_api import diagnose
from app.controller.events import Bus
from app.controller.history import History
from app.controller.ingest import Ingest, Tally
from app.controller.models import Models
from app.controller.operator_wiring import OperatorDesk
from app.controller.outbound import Outbound
from app.controller.proposals import Proposals
from app.controller.server import Activity, Server
from app.controller.session import Session
from app.controller.sessions import Sessions
from app.controller.unattended import Unattended
from app.controller.watcher import Watcher
from app.core.model import LIVE, Catalogue, StreamEvent
from app.core.schema import Settings
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.processes.spawner import Zygote
from app.search_path import leave_out
from app.settings import load_settings
from app.store.sqlite import SqliteStore
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)


@dataclass
class Wired:
    """What `main` needs of it."""

    server: Server
    sessions: Sessions
    activity: Activity
    history: History
    idle_seconds: float
    unattended: Unattended

    def busy(self) -> bool:
        """Whether somebody or something needs this controller."""
        live = any(view.state in LIVE for view in self.sessions.views())
        return live or self.activity.open > 0 or self.server.launching > 0 or self.unattended.starts_again

    def on_activity(self, call: Callable[[], None]) -> None:
        self.activity.changed = call
        self.history.on_change = call


async def wire(paths: Paths, stack: AsyncExitStack, stop: Callable[[], None]) -> Wired:
    """Everything, ready but for the API's socket. `stack` takes it down again, the last part first."""
    private_folder(paths.state)
    private_folder(paths.run)
    warnings: list[str] = []
    settings = await _settings(paths, warnings)
    store = SqliteStore(paths.database)
    await store.open()
    stack.push_async_callback(store.close)
    bus = Bus(store)
    await bus.start()
    audit = Audit(paths, store)
    await audit.start()
    stack.push_async_callback(audit.close)
    history = History(bus, store)
    stack.push_async_callback(history.close)
    ingest = Ingest(bus)
    stack.push_async_callback(ingest.close)
    sessions = Sessions(paths, on_change=history.changed, spools=ingest, zygote=Zygote(paths.state))
    stack.push_async_callback(sessions.close)
    proposals = Proposals(store, bus, audit, sessions, paths)
    stack.push_async_callback(proposals.close)
    ingest.told.logged = lambda session_id: egress_log.writer(sessions.session(session_id))
    ingest.told.counted = lambda session_id, tally: _count(sessions, session_id, tally)
    canaries = Canaries(audit)
    stack.push_async_callback(canaries.close)
    desk = OperatorDesk(paths, store, bus, audit, sessions, lambda: _settings(paths, []))
    ingest.told.proposed, ingest.told.kept = proposals.opened, lambda *news: _kept(proposals, desk, canaries, *news)
    sessions.on_sidecar = proposals.sidecar_up
    history.also = proposals.ended
    desk.listen(history, proposals, stack)
    budgets = await budget_wiring.connect(paths, store, bus, audit, sessions, ingest, history, stack)
    budgets.crossings.told = lambda events: desk.notices.events("", events)
    desk.listen_to_usage(ingest, budgets)
    sessions.planned = lambda session: _planned(desk, budgets, session)
    sessions.foreseen = lambda session, preflight: budget_foresight.foreseen(budgets, session, preflight)
    await _find_again(sessions, audit)
    for project in filter(None, (session.record.project for session in sessions.live())):
        leave_out(Path(project))
    await proposals.start()
    budgets.start()
    await desk.start()
    watcher = await _watch(paths, bus, stack, warnings, budgets.reload)
    activity = Activity()
    parts = Parts(
        paths, store, bus, audit, sessions, lambda: diagnose(sessions.reports, paths, store), stop,
        warnings=warnings, proposals=proposals, operator=desk.operator, looked_at=watcher.add_project,
        budgets=budgets, orders=Orders(store, audit, sessions, budgets),
        models=Models(paths, Outbound(paths, sessions.zygote)),
    )  # fmt: skip
    server = Server(parts, paths.controller_socket, activity)
    stack.push_async_callback(server.close)
    # its half second of imports passes while the client shows its first screens
    warming = spawn(sessions.zygote.start(), name="zygote", on_error=_zygote_failed)
    stack.push_async_callback(cancel_and_wait, warming)
    return Wired(server, sessions, activity, history, settings.idle_exit_minutes * 60, desk.unattended)


async def _settings(paths: Paths, warnings: list[str]) -> Settings:
    """A broken settings file must not lock its owner out: defaults, and a warning that every client shows."""
    try:
        return (await asyncio.to_thread(load_settings, paths)).settings
    except CarboyError as error:
        warnings.append(error.render())
        return Settings()


async def _planned(desk: OperatorDesk, budgets: Budgets, session: Session) -> None:
    await budget_foresight.refuse(budgets, session)
    await desk.secrets_used(session)


async def _find_again(sessions: Sessions, audit: Audit) -> None:
    """Adopt what lives, clear away what is dead."""
    await sessions.adopt()
    try:
        report = await sessions.cleanup()
    except (CarboyError, OSError):
        log.exception("cleaning up at the start failed")
        return
    if report.removed:
        log.info("removed: %s", "; ".join(report.removed))
        await audit.record("cleanup", actor="controller", removed=list(report.removed), may_wait=True)


def _kept(
    proposals: Proposals, desk: OperatorDesk, canaries: Canaries, session_id: str, events: list[StreamEvent]
) -> None:
    """What was brought into the store, to all who act on it."""
    for event in events:
        if event.kind == "notice" and event.data.get("code") == "canary_leaked":
            canaries.alarm(session_id, event)
    proposals.requests(session_id, events)
    desk.kept(session_id, events)


async def _watch(
    paths: Paths, bus: Bus, stack: AsyncExitStack, warnings: list[str], reload: Callable[[], Coroutine[Any, Any, None]]
) -> Watcher:
    def changed(catalogue: Catalogue) -> None:
        spawn(reload(), name="settings for budgets")
        data = catalogue.model_dump(mode="json")
        bus.pass_on(StreamEvent(seq=0, at=time.time(), kind="catalogue", data=data))

    watcher = Watcher(paths, changed)
    try:
        await watcher.start()
    except (CarboyError, OSError) as error:
        warnings.append(f"Changes of manifests are not noticed: {error}")
    else:
        stack.push_async_callback(watcher.stop)
    return watcher


def _count(sessions: Sessions, session_id: str, tally: Tally) -> None:
    """Bring a bottle's counters to what the store holds."""
    if (session := sessions.session(session_id)) is not None:
        session.requested(allowed=tally.allowed, refused=tally.refused, at=tally.at)


def _zygote_failed(error: BaseException) -> None:
    log.warning("the zygote did not start ahead of time: %s", error)
