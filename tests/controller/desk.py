"""Bottles for tests of the proposal queue: real session records on disk, and in the sidecar's place the real policy
compiler behind the ops that the queue uses. It can be down, refuse, or forget."""

import time
from pathlib import Path
from typing import Any

from app.controller.record import SessionRecord
from app.controller.session import Session
from app.core.schema import Manifest
from app.errors import CarboyError, NotFound
from app.paths import Paths, private_folder
from sidecar.contract import Policy, ProposalEvent, Route, routes_hash
from sidecar.egress.policy import CompiledPolicy
from tests.controller.standin import view


class Sidecar:
    """What a sidecar would hold, and what it was told."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.told: list[dict[str, Any]] = []
        self.down = False
        self.refuses = ""
        self.loses_answers = 0
        self.restarts = 0
        self.knows = True
        """Whether it is the sidecar that asked, or another one by now."""

    async def call(self, op: str, body: dict[str, Any], fds: list[int] | None = None) -> dict[str, Any]:
        if self.down:
            raise CarboyError("The sidecar of this bottle is not running", "", "sidecar_down")
        if self.refuses == op:
            raise CarboyError("The sidecar did not do it", "", "sidecar")
        if op == "decision":
            self.told.append(body)
            return {"known": self.knows}
        assert op == "policy"
        self.policy = CompiledPolicy.compile(Policy.model_validate(body["policy"])).policy
        if self.loses_answers:
            self.loses_answers -= 1
            raise CarboyError("The sidecar did not do it: timeout", "", "sidecar")
        return {"version": self.policy.version}

    async def restart(self) -> None:
        self.restarts += 1

    def let_go(self) -> None:
        return


class TestDesk:
    """The sessions of a controller, by slug. `reload()` is what the next controller finds on disk."""

    __test__ = False

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.all: dict[str, Session] = {}

    def add(self, slug: str = "dev", *routes: Route, **policy: Any) -> Session:
        record = SessionRecord(
            view=view(slug, session_id=f"id-{slug}", created_at=time.time()),
            manifest=Manifest(bottle_names=("dev",)),
            policy=Policy(routes=routes, **policy),
            project=None,
            holder_token="h",
            control_token="c",
            secrets={"TOKEN": "environment"},
        )
        private_folder(self.paths.session_state(slug))
        record.save(self.paths.session_state(slug))
        return self.put(record)

    def put(self, record: SessionRecord) -> Session:
        session = Session(record=record, paths=self.paths, on_change=lambda _: None)
        session.supervisor = Sidecar(record.policy)  # type: ignore[assignment]
        self.all[session.slug] = session
        return session

    def reload(self) -> None:
        """A new controller: sidecars live on, everything else comes from disk."""
        from app.controller.record import load

        for slug, session in list(self.all.items()):
            kept = load(Path(self.paths.session_state(slug)))
            assert kept is not None
            self.put(kept).supervisor = session.supervisor

    def live(self) -> list[Session]:
        return [session for session in self.all.values() if session.live]

    def over(self) -> list[Session]:
        return [session for session in self.all.values() if not session.live]

    def session(self, session_id: str) -> Session | None:
        return next((session for session in self.all.values() if session.id == session_id), None)

    def named(self, slug: str) -> Session:
        if slug not in self.all:
            raise NotFound(f"There is no bottle {slug}", "", "no_such_bottle")
        return self.all[slug]

    def named_record(self, slug: str) -> tuple[SessionRecord, Path]:
        session = self.named(slug)
        return session.record, session.state_folder


def sidecar(session: Session) -> Sidecar:
    assert isinstance(session.supervisor, Sidecar)
    return session.supervisor


def asks(session: Session, *routes: Route, identity: str = "p-000001", **more: Any) -> ProposalEvent:
    """The bottle asks for more routes."""
    present = session.record.policy.routes
    fields: dict[str, Any] = {
        "id": f"e-{identity}",
        "at": time.time(),
        "proposal_id": identity,
        "type": "egress-allow",
        "routes": (*present, *routes),
        "base_hash": routes_hash(present),
    }
    return ProposalEvent(**{**fields, **more})
