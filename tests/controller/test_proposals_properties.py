"""The queue as a whole under random answers, expiries, withdrawals, new questions and killed controllers: one decision
each, never access without it, and an audit trail that says all of it."""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.proposals import Proposals
from app.core.approvals import ApproveBody, RejectBody
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from sidecar.contract import ProposalEvent, Report, Route, routes_hash
from tests.controller.desk import TestDesk, sidecar

BASE = Route(host="base.example")
NUMBERS = st.integers(0, 4)
ACTS = st.one_of(
    st.tuples(st.sampled_from(["ask", "approve", "reject", "expire", "leave", "find"]), NUMBERS),
    st.tuples(st.sampled_from(["kill", "down", "up"]), st.just(0)),
)


def identity(number: int) -> str:
    return f"p-{number:06}"


class World:
    def __init__(self, home: str) -> None:
        self.paths = Paths.resolve({"CARBOY_HOME": home})
        private_folder(self.paths.state)
        self.store = SqliteStore(self.paths.database)
        self.desk = TestDesk(self.paths)
        self.ended: dict[str, str] = {}

    async def open(self) -> None:
        await self.store.open()
        self.audit = Audit(self.paths, self.store)
        await self.audit.start()
        self.desk.add("dev", BASE)
        self.begin()

    def begin(self) -> None:
        self.queue = Proposals(self.store, Bus(self.store), self.audit, self.desk, self.paths)

    @property
    def session(self) -> Any:
        return self.desk.named("dev")

    async def act(self, what: str, number: int) -> None:
        name = identity(number)
        if what == "kill":
            await self.queue.close()
            self.desk.reload()
            self.begin()
            await self.queue.start()
        elif what in ("down", "up"):
            sidecar(self.session).down = what == "down"
        elif what in ("ask", "find"):
            await self.queue.opened(self.session.id, self.event(what, number))
        elif what == "leave":
            gone = ProposalEvent(
                id=f"w-{number}", at=time.time(), proposal_id=name, type="egress-allow", action="withdrawn"
            )
            await self.queue.opened(self.session.id, gone)
        elif what == "expire":
            row = self.queue._pending.get(name)
            if row is not None:
                await self.queue._close_one(row, "expire", "nobody answered in time")
        elif what == "approve":
            await self.queue.approve(name, ApproveBody(reason="fine", by="ann"))
        else:
            await self.queue.reject(name, RejectBody(reason="no", by="ann"))

    def event(self, what: str, number: int) -> ProposalEvent:
        present = self.session.record.policy.routes
        fields: dict[str, Any] = {"id": f"e-{number}", "at": time.time(), "proposal_id": identity(number)}
        if what == "find":
            return ProposalEvent(**fields, type="egress-token-allow", report=Report(host="base.example", title="x"))
        routes = (*present, Route(host=f"h{number}.example"))
        return ProposalEvent(**fields, type="egress-allow", routes=routes, base_hash=routes_hash(present))

    async def check(self) -> None:
        rows = {row.id: row for row in await self.store.proposals()}
        for name, state in self.ended.items():
            assert rows[name].state == state, "a decision is made once"
        self.ended = {name: row.state for name, row in rows.items() if row.state != "pending"}
        given_hosts = {
            f"h{int(name[2:])}.example"
            for name, row in rows.items()
            if row.state == "approved" and row.kind == "egress-allow"
        }
        in_force = {route.host for route in sidecar(self.session).policy.routes} - {BASE.host}
        assert in_force <= given_hosts, "no access without a decision"
        assert in_force == given_hosts, "what was approved is in force"
        assert sidecar(self.session).policy == self.session.record.policy
        decided = [row.detail["proposal"] for row in await self.store.audit() if row.action.startswith("proposal-")]
        assert sorted(decided) == sorted(self.ended), "each decision is on record, once"
        assert await self.audit.verify() == []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTS, max_size=14))
def test_whatever_happens_each_is_decided_once_and_nothing_is_given_without_it(acts: list[tuple[str, int]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="cb-") as home:
            world = World(str(Path(home)))
            await world.open()
            try:
                for what, number in acts:
                    with contextlib.suppress(CarboyError):  # refused: then nothing may have changed, as is checked
                        await world.act(what, number)
                    await world.check()
            finally:
                await world.queue.close()
                await world.audit.close()
                await world.store.close()

    asyncio.run(run())
