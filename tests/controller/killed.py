"""One act of the queue, killed by SIGKILL before each of its SQL statements, file operations and words to the sidecar
in turn, until it gets through; after each kill the next controller starts and all is looked at. Run as a program:
`python -m tests.controller.killed ACT FOLDER` prints how many moments there were, or what was wrong.

Each life is a fork of this process, which has no thread and no loop of its own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from app.controller import record
from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.proposals import Proposals
from app.core.approvals import ApproveBody, RejectBody, RoutesEdit
from app.core.routetext import write_routes
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from sidecar.contract import Policy, ProposalEvent, Report, Route, routes_hash
from tests.conftest import until
from tests.controller.desk import Sidecar, TestDesk

BASE, NEW = Route(host="base.example"), Route(host="new.example")
NAME = "p-000001"
FILES = ("open", "os.rename", "os.remove")


class Axe:
    """Falls at the moment `at`, once it is armed."""

    def __init__(self, at: int) -> None:
        self._left, self._armed, self._lock = at, False, threading.Lock()
        sys.addaudithook(lambda event, _: self.moment() if event in FILES else None)

    def arm(self, armed: bool = True) -> None:
        self._armed = armed

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        armed, self._armed = self._armed, False
        yield
        self._armed = armed

    def moment(self) -> None:
        if not self._armed:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Lasting(Sidecar):
    """A sidecar that lives on when its controller dies."""

    def __init__(self, policy: Policy, file: Path, axe: Axe) -> None:
        super().__init__(Policy.model_validate_json(file.read_text()) if file.exists() else policy)
        self.file, self.axe = file, axe

    async def call(self, op: str, body: dict[str, Any], fds: list[int] | None = None) -> dict[str, Any]:
        self.axe.moment()
        answer = await super().call(op, body, fds)
        with self.axe.away():  # another process would write this
            self.file.write_text(self.policy.model_dump_json())
        self.axe.moment()
        return answer


class Life:
    """One controller's, from its start."""

    def __init__(self, home: Path, axe: Axe) -> None:
        self.paths = Paths.resolve({"CARBOY_HOME": str(home)})
        self.axe = axe
        self.store = SqliteStore(self.paths.database)
        self.audit = Audit(self.paths, self.store)
        self.desk = TestDesk(self.paths)
        self.queue = Proposals(self.store, Bus(self.store), self.audit, self.desk, self.paths)

    async def begin(self) -> None:
        private_folder(self.paths.state)
        await self.store.open()
        kept = record.load(self.paths.session_state("dev"))
        session = self.desk.add("dev", BASE) if kept is None else self.desk.put(kept)
        session.supervisor = Lasting(session.record.policy, self.paths.state / "sidecar.json", self.axe)  # type: ignore[assignment]
        await self.store.save_session(session.view)
        await self.audit.start()
        await self.queue.start()
        await self.store._writing(lambda db: db.set_trace_callback(lambda _: self.axe.moment()))

    async def end(self) -> None:
        self.axe.arm(False)
        await self.queue.close()
        await self.audit.close()
        await self.store.close()

    @property
    def hosts(self) -> set[str]:
        session = self.desk.named("dev")
        assert isinstance(session.supervisor, Lasting)
        assert session.supervisor.policy == session.record.policy
        return {route.host for route in session.record.policy.routes}

    async def ask(self, what: str = "egress-allow") -> None:
        fields: dict[str, Any] = {"id": "e-1", "at": time.time(), "proposal_id": NAME, "type": what}
        if what == "egress-allow":
            fields |= {"routes": (BASE, NEW), "base_hash": routes_hash((BASE,))}
        else:
            fields |= {"report": Report(host="base.example", title="GitHub token")}
        await self.queue.opened("id-dev", ProposalEvent(**fields))

    async def rows(self, *actions: str) -> list[str]:
        return [row.action for row in await self.store.audit() if row.action in actions]


type Step = Callable[[Life], Awaitable[object]]


async def nothing(_: Life) -> None:
    return


def answer(scope: str) -> Step:
    return lambda life: life.queue.approve(NAME, ApproveBody(reason="fine", by="ann", scope=scope))  # type: ignore[arg-type]


async def decided(life: Life, state: str, *, opens: bool) -> None:
    """Decided as it was ordered and on record once, or as if it had never been ordered."""
    row = await life.store.proposal(NAME)
    assert row is not None
    rows = await life.rows("proposal-approved", "proposal-rejected")
    file = (life.paths.bottles / "dev.md").read_text()
    if row.state == "pending":
        assert rows == [], rows
        assert life.hosts == {"base.example"}
        assert "new.example" not in file
    else:
        assert (row.state, row.decided_by, row.reason) == (state, "ann", "fine")
        assert rows == [f"proposal-{state}"], rows
        assert life.hosts == ({"base.example", "new.example"} if opens else {"base.example"})
        assert ("new.example" in file) == (row.scope == "save")


async def edited(life: Life) -> None:
    rows = await life.rows("operator-edit")
    assert rows == (["operator-edit"] if "new.example" in life.hosts else []), rows


async def over(life: Life) -> None:
    """Its end is tried again until it is done; then it is on record once."""

    async def ended() -> bool:
        return "new.example" not in life.hosts and await life.rows("grant-ended") == ["grant-ended"]

    await until(ended)


async def brief(life: Life) -> None:
    await life.ask()
    await life.queue.approve(NAME, ApproveBody(reason="fine", by="ann", scope="15m"))


async def end_grant(life: Life) -> None:
    await life.queue._end_grants(life.desk.named("dev"), {NAME})


async def over_or_lasting(life: Life) -> None:
    """What a kill left is ended by the next one, as the time would."""
    await end_grant(life)
    await over(life)


ACTS: dict[str, tuple[Step, Step, Step]] = {
    "allow": (lambda life: life.ask(), answer("session"), lambda life: decided(life, "approved", opens=True)),
    "save": (lambda life: life.ask(), answer("save"), lambda life: decided(life, "approved", opens=True)),
    "reject": (
        lambda life: life.ask(),
        lambda life: life.queue.reject(NAME, RejectBody(reason="fine", by="ann")),
        lambda life: decided(life, "rejected", opens=False),
    ),
    "finding": (
        lambda life: life.ask("egress-token-allow"),
        answer("once"),
        lambda life: decided(life, "approved", opens=False),
    ),
    "edit": (
        nothing,
        lambda life: life.queue.edit_routes("dev", RoutesEdit(text=write_routes((BASE, NEW)), by="ann")),
        edited,
    ),
    "end": (brief, end_grant, over_or_lasting),
}
"""What is there before, the act, and what must hold after whatever became of it."""


async def act(home: Path, name: str, axe: Axe) -> None:
    before, deed, _ = ACTS[name]
    life = Life(home, axe)
    await life.begin()
    await before(life)
    for task in list(life.queue._telling.values()):
        await asyncio.wait([task])
    axe.arm()
    await deed(life)
    await life.end()


async def look(home: Path, name: str, axe: Axe) -> None:
    life = Life(home, axe)
    await life.begin()
    await ACTS[name][2](life)
    assert await life.audit.verify() == []
    await life.end()


def lived(work: Callable[[Axe], Awaitable[None]], at: int) -> bool:
    """Whether a process of its own got through this."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work(Axe(at)))  # type: ignore[arg-type]
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"at moment {at}"
    return True


def main(name: str, folder: Path) -> None:
    at, through = 0, False
    while not through:
        at += 1
        home = folder / str(at)
        bottles = private_folder(Paths.resolve({"CARBOY_HOME": str(home)}).bottles)
        (bottles / "dev.md").write_text("---\negress:\n  routes: []  # none yet\n---\nnotes\n")
        through = lived(lambda axe: act(home, name, axe), at)  # noqa: B023
        assert lived(lambda axe: look(home, name, axe), -1)  # noqa: B023
        shutil.rmtree(home)
    print(at - 1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
