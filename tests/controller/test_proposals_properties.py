"""The queue as a whole under random answers, expiries, withdrawals, new questions and controllers that are killed
between acts and within them, before or after any write: one decision each, never access without it, and an audit trail
that says all of it."""

import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable
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
QUEUE = ["ask", "approve", "reject", "expire", "leave", "find"]
ACTS = st.one_of(
    st.tuples(st.sampled_from(QUEUE), NUMBERS, st.none()),
    st.tuples(st.sampled_from(["kill", "down", "up"]), st.just(0), st.none()),
    st.tuples(st.sampled_from(QUEUE), NUMBERS, st.tuples(st.integers(1, 5), st.booleans())),
)
"""What, to which proposal, and for a kill within it: at which write, and whether that was written."""


class Killed(BaseException):
    """The controller is no more."""


class MortalStore(SqliteStore):
    """A store whose controller is killed at one of its writes; nothing of that controller is written any more."""

    left: int | None = None
    written = False

    async def _writing[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.left is None:
            return await super()._writing(work)
        self.left -= 1
        if self.left == 0 and self.written:
            await super()._writing(work)
        if self.left <= 0:
            raise Killed
        return await super()._writing(work)


def identity(number: int) -> str:
    return f"p-{number:06}"


class World:
    def __init__(self, home: str) -> None:
        self.paths = Paths.resolve({"CARBOY_HOME": home})
        private_folder(self.paths.state)
        self.store = MortalStore(self.paths.database)
        self.desk = TestDesk(self.paths)
        self.ended: dict[str, str] = {}

    async def open(self) -> None:
        await self.store.open()
        self.desk.add("dev", BASE)
        await self.begin()

    async def begin(self) -> None:
        self.audit = Audit(self.paths, self.store)
        await self.audit.start()
        self.queue = Proposals(self.store, Bus(self.store), self.audit, self.desk, self.paths)

    @property
    def session(self) -> Any:
        return self.desk.named("dev")

    async def act(self, what: str, number: int) -> None:
        name = identity(number)
        if what == "kill":
            await self.next_one()
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

    async def next_one(self) -> None:
        """The next controller, with what is on disk and the sidecar that lived on."""
        with contextlib.suppress(Killed):
            await self.queue.close()
        self.store.left = None
        self.desk.reload()
        await self.begin()
        await self.queue.start()

    async def act_and_die(self, what: str, number: int, write: int, written: bool) -> None:
        self.store.left, self.store.written = write, written
        try:
            with contextlib.suppress(Killed):
                await self.act(what, number)
        finally:
            await self.next_one()

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
        trail = [row for row in await self.store.audit() if row.action.startswith("proposal-")]
        said = {row.detail["proposal"]: row.action.removeprefix("proposal-") for row in trail}
        for name, state in self.ended.items():
            assert said[name] == state, "each decision is on record"
        assert len(trail) == len(said) == len(self.ended), "once, and nothing else is"
        assert await self.audit.verify() == []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTS, max_size=14))
def test_whatever_happens_each_is_decided_once_and_nothing_is_given_without_it(
    acts: list[tuple[str, int, tuple[int, bool] | None]],
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="cb-") as home:
            world = World(str(Path(home)))
            await world.open()
            try:
                for what, number, death in acts:
                    with contextlib.suppress(CarboyError):  # refused: then nothing may have changed, as is checked
                        if death is None:
                            await world.act(what, number)
                        else:
                            await world.act_and_die(what, number, *death)
                    await world.check()
            finally:
                await world.queue.close()
                await world.audit.close()
                await world.store.close()

    asyncio.run(run())
