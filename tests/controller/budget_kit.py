"""Bottles that use tokens, for tests of budgets: the real store, audit and rounds, and in each sidecar's place the real
ledger behind the op `allowance`. What they use is written as a sidecar writes it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.controller.audit import Audit
from app.controller.budget_orders import Orders
from app.controller.budgets import Budgets
from app.controller.events import Bus
from app.controller.metering import Report
from app.controller.record import SessionRecord
from app.controller.session import Session
from app.core.model import BottleView
from app.core.schema import Amount, Bottle, BudgetScope, Manifest, Settings
from app.core.scopes import bottle_scope
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.store.metering import Metering
from app.store.sqlite import SqliteStore
from sidecar.allowance import Allowance, Metered, UsageEvent
from sidecar.contract import Policy
from sidecar.meter.ledger import Ledger, Need, Spent
from tests.controller.standin import view

NEED = Need("claude", "claude-sonnet-4-5", 900, 100)


@dataclass
class Sidecar:
    """`grants` counts; `news` is set with each allowance, as waiting requests look again then."""

    ledger: Ledger = field(default_factory=Ledger)
    down: bool = False
    grants: int = 0
    restarts: int = 0
    slow: asyncio.Event | None = None
    """It answers once this is set."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def restart(self) -> None:
        self.restarts += 1

    async def call(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        assert op == "allowance"
        await asyncio.sleep(0)
        if self.down:
            raise CarboyError("The sidecar of this bottle is not running", "", "sidecar_down")
        if self.slow is not None:
            await self.slow.wait()
        self.grants += self.ledger.grant(Allowance.model_validate(body["allowance"]))
        self.news.set()
        return self.ledger.standing().model_dump(mode="json")


class Desk:
    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.all: dict[str, Session] = {}
        self.acts: list[tuple[str, str]] = []
        self.acted = asyncio.Event()
        self.refuses = 0
        """So many acts fail before one succeeds."""

    def add(self, slug: str, *, budget: dict[str, Amount] | None = None, **changes: Any) -> Session:
        bottle = Bottle.model_validate(changes.pop("bottle", {}))
        scopes = (BudgetScope(scope=bottle_scope("dev"), budget=bottle.budget, source="dev"),)
        record = SessionRecord(
            view=view(slug, session_id=f"id-{slug}"),
            manifest=Manifest(bottle=bottle, budget_scopes=scopes),
            policy=Policy(metered=(Metered(provider="claude", host="api.anthropic.com"),)),
            project=None, holder_token="h", control_token="c", budget=budget or {}, **changes,
        )  # fmt: skip
        private_folder(self.paths.session_state(slug))
        session = self.all[slug] = Session(record=record, paths=self.paths, on_change=lambda _: None)
        session.supervisor = Sidecar()  # type: ignore[assignment]
        return session

    def live(self) -> list[Session]:
        return [session for session in self.all.values() if session.live]

    def session(self, session_id: str) -> Session | None:
        return next((session for session in self.all.values() if session.id == session_id), None)

    def named(self, slug: str) -> Session:
        return self.all[slug]

    async def _act(self, what: str, slug: str) -> BottleView:
        if self.refuses:
            self.refuses -= 1
            raise CarboyError("A bottle that is launching cannot be frozen", "", "wrong_state")
        self.acts.append((what, slug))
        self.acted.set()
        return self.all[slug].view

    async def freeze(self, slug: str) -> BottleView:
        return await self._act("freeze", slug)

    async def put_by(self, slug: str, why: str) -> BottleView:
        assert f"carboy resume {slug}" in why
        return await self._act("freeze", slug)

    async def kill(self, slug: str) -> BottleView:
        return await self._act("kill", slug)


@dataclass
class Kit:
    store: SqliteStore
    budgets: Budgets
    orders: Orders
    desk: Desk
    settings: list[Settings]
    in_flight: int = 0
    used: int = 0
    peak: int = 0
    number: int = 0

    async def up(self, session: Session) -> None:
        """Its sidecar starts, with what it may use."""
        allowance = await self.budgets.allow(session)
        assert sidecar(session).ledger.grant(allowance)
        self.budgets.sidecar_up(session.id)

    async def spend(self, session: Session, tokens: int, **more: Any) -> None:
        """One answer, charged, written, and brought into the store."""
        self.number += 1
        charged = sidecar(session).ledger.settle(f"r{self.number}", "claude", [Spent("claude-sonnet-4-5", tokens)])
        event = UsageEvent(
            id=f"r{self.number}.0", at=time.time(), request_id=f"r{self.number}", provider="claude",
            host="api.anthropic.com", model="claude-sonnet-4-5", input=tokens, charged=charged, **more,
        )  # fmt: skip
        report = Report()
        report.take(event)
        counts = self.budgets.counts(session.id)
        metering = Metering(counts.scopes, (), tuple(report.rows))
        kept = await self.store.ingest(session.slug, session.id, [], None, metering)
        self.used += tokens
        self.budgets.used(session.id, report, kept.counted)

    async def connection(self, session: Session, tokens: int) -> None:
        """Asks and asks, as an agent does, until its budget is used up."""
        own = sidecar(session)
        while True:
            own.news.clear()
            verdict = own.ledger.check(NEED)
            if not verdict.code:
                self.number += 1
                name = f"c{self.number}"
                own.ledger.reserve(name, NEED)
                self.in_flight += tokens
                self.peak = max(self.peak, self.in_flight)
                for _ in range(self.number % 7):
                    await asyncio.sleep(0)
                own.ledger.release(name)
                self.in_flight -= tokens
                await self.spend(session, tokens)
            elif verdict.wait:
                for note in own.ledger.low([NEED]):
                    self.budgets.lease(session.id, note.model_dump(mode="json"))
                await own.news.wait()
            else:
                return


def sidecar(session: Session) -> Sidecar:
    assert isinstance(session.supervisor, Sidecar)
    return session.supervisor


@asynccontextmanager
async def kit(paths: Paths, **settings: Any) -> AsyncIterator[Kit]:
    private_folder(paths.state)
    store = SqliteStore(paths.database)
    await store.open()
    bus = Bus(store)
    await bus.start()
    audit = Audit(paths, store)
    await audit.start()
    desk, held = Desk(paths), [Settings.model_validate(settings)]

    async def read() -> Settings:
        return held[0]

    async def settle(_: str) -> None:
        return

    budgets = Budgets(store, bus, audit, desk, read, settle)
    await budgets.load()
    budgets.start()
    try:
        yield Kit(store, budgets, Orders(store, audit, desk, budgets), desk, held)
    finally:
        await budgets.close()
        await store.close()
