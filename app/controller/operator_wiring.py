"""Builds the operator's desk beside the other parts, and tells it what happens. Decides nothing; `wiring` calls it."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from app.controller.audit import Audit
from app.controller.budgets import Budgets
from app.controller.disk_room import DiskRoom
from app.controller.events import Bus
from app.controller.history import History
from app.controller.ingest import Ingest
from app.controller.learning import Learning
from app.controller.metering import Report
from app.controller.notices import Notices
from app.controller.operator_api import Operator
from app.controller.outlets import Outlets
from app.controller.presence import Presence
from app.controller.proposals import Proposals
from app.controller.quotas import Quotas
from app.controller.reporting import Reporting
from app.controller.searching import Searching
from app.controller.session import Session
from app.controller.sessions import Sessions
from app.controller.unattended import Unattended
from app.controller.vault import Vault
from app.core.model import LIVE, BottleView, StreamEvent
from app.core.schema import Settings
from app.paths import Paths
from app.store.base import Store
from app.store.metering import Counted
from app.store.search import SearchIndex

type ReadSettings = Callable[[], Awaitable[Settings]]


class OperatorDesk:
    """`operator` is what the API asks. `listen` before the sessions are found again, `start` afterwards."""

    def __init__(
        self, paths: Paths, store: Store, bus: Bus, audit: Audit, sessions: Sessions, settings: ReadSettings
    ) -> None:
        self._audit = audit
        self._settings = settings
        self.vault = Vault(store, audit, sessions.live)
        self.notices = Notices(store, bus, Outlets(settings))
        self.unattended = Unattended(sessions, store, audit, self.notices, self._usual_wait)
        self.quotas = Quotas(sessions, sessions.keeping.on_disk, audit, self.notices)
        self._live = sessions.live
        self._room = DiskRoom(paths.state, sessions.live, self.notices)
        learning = Learning(paths, store, audit, sessions)
        reporting = Reporting(paths, store, sessions, Presence(paths.state))
        self.searching = Searching(SearchIndex(paths.state / "search.db"))
        sessions.on_entries = self.searching.told
        self.operator = Operator(self.vault, self.notices, learning, reporting, self.searching, self._room)

    def listen(self, history: History, proposals: Proposals, stack: AsyncExitStack) -> None:
        """Be told of changes of bottles, of cards and of decisions."""
        stack.push_async_callback(self.notices.close)
        stack.push_async_callback(self.unattended.close)
        stack.push_async_callback(self.quotas.close)
        stack.push_async_callback(self._room.close)
        stack.push_async_callback(self.searching.close)
        former = history.also

        def changed(view: BottleView) -> None:
            former(view)
            self.notices.bottle(view)
            self.unattended.changed(view)
            self.quotas.changed(view)
            if view.state not in LIVE:
                self.searching.ended(view.session_id)

        def asked(card: dict[str, Any]) -> None:
            self.notices.proposal(card)
            self.unattended.asked(card)

        history.also = changed
        proposals.on_card, proposals.on_decided = asked, self.unattended.decided

    def listen_to_usage(self, ingest: Ingest, budgets: Budgets) -> None:
        """Be told of what providers answered, after the budgets were."""
        former = ingest.told.used

        def used(session_id: str, report: Report, counted: tuple[Counted, ...]) -> None:
            former(session_id, report, counted)
            providers = {row.provider for row in report.rows}
            gauges = [item for item in budgets.windows.current(time.time()) if item.provider in providers]
            windows = [(1.0 if item.status == "rejected" else item.used, item.resets_at) for item in gauges]
            windows += [(1.0, report.retry_at)] if report.retry_at is not None else []
            self.unattended.faults(session_id, [row.fault_kind for row in report.rows], windows)

        ingest.told.used = used

    async def start(self) -> None:
        self._room.start()
        await self.searching.start()
        await self.unattended.start()
        for session in self._live():
            self.quotas.changed(session.view)

    def kept(self, session_id: str, events: list[StreamEvent]) -> None:
        """What was brought into the store."""
        del session_id
        self.notices.events("", events)

    async def secrets_used(self, session: Session) -> None:
        """Which secrets a launch uses, by name, on record before any sidecar has them."""
        used = session.record.secrets
        if used:
            await self._audit.record("secrets-used", slug=session.slug, session_id=session.id, secrets=dict(used))
            await self.vault.used(name for name, source in used.items() if source == "keyring")

    async def _usual_wait(self) -> float:
        return float((await self._settings()).approval_timeout_seconds)
