"""A client whose proposals are the controller's own queue, over a stand-in sidecar: what the screens send is applied,
and what they are told is true. Everything else is the script's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.proposals import Proposals
from app.controller.session import Session
from app.core.approvals import ApproveBody, ProposalView, RejectBody
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from sidecar.contract import Route
from tests.controller.desk import TestDesk
from tests.tui.scripted import ScriptedClient

BOTTLE = """---
# who may be reached
egress:
  routes:
    - host: base.example   # the base
---
notes
"""


class QueueClient(ScriptedClient):
    def __init__(self, queue: Proposals, views: Sequence[ProposalView]) -> None:
        super().__init__()
        self.queue = queue
        self.proposals_now = list(views)

    async def proposal(self, identity: str) -> ProposalView:
        return await self.queue.view(identity)

    async def approve(self, identity: str, body: ApproveBody) -> ProposalView:
        self.answers.append(("preview" if body.preview else "approve", identity, body))
        view = await self.queue.approve(identity, body)
        if not body.preview:
            self.ask(view)
        return view

    async def reject(self, identity: str, body: RejectBody) -> ProposalView:
        self.answers.append(("reject", identity, body))
        view = await self.queue.reject(identity, body)
        self.ask(view)
        return view


@asynccontextmanager
async def desk_with(paths: Paths, *routes: Route) -> AsyncIterator[tuple[Proposals, Session]]:
    """A queue with one live bottle, `dev`, that has these routes."""
    private_folder(paths.state)
    private_folder(paths.bottles)
    (paths.bottles / "dev.md").write_text(BOTTLE)
    store = SqliteStore(paths.database)
    await store.open()
    audit = Audit(paths, store)
    await audit.start()
    desk = TestDesk(paths)
    queue = Proposals(store, Bus(store), audit, desk, paths)
    try:
        yield queue, desk.add("dev", *routes)
    finally:
        await queue.close()
        await audit.close()
        await store.close()
