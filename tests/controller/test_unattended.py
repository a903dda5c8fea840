"""Unattended bottles over a real queue and store: parked while nobody answers, let go by the answer or the operator,
through limits and crashes, and through a controller that is killed meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.notices import Notices
from app.controller.outlets import Outlets
from app.controller.proposals import Proposals
from app.controller.session import Session
from app.controller.unattended import Unattended
from app.core import overnight
from app.core.approvals import ApproveBody, RejectBody
from app.core.model import BottleView, LaunchRequest
from app.core.schema import Bottle, Manifest, Settings
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from sidecar.contract import ProposalEvent, Report
from sidecar.secret import Secret
from tests.conftest import until
from tests.controller.desk import TestDesk


class Runner(TestDesk):
    """The desk, with bottles that can be frozen, stopped and started again."""

    __test__ = False

    def __init__(self, paths: Paths) -> None:
        super().__init__(paths)
        self.changed: Callable[[BottleView], None] = lambda _: None
        self.launched: list[LaunchRequest] = []
        self.fails: CarboyError | None = None

    def bottle(self, slug: str = "dev", **unattended: Any) -> Session:
        session = self.add(slug)
        keys = {f"unattended.{key}": "base" for key in unattended}
        manifest = Manifest(bottle=Bottle.model_validate({"unattended": unattended}), provenance=keys)
        session.update(manifest=manifest)
        session.on_change = self.changed
        self.changed(session.view)
        return session

    async def _to(self, slug: str, state: str, **more: Any) -> BottleView:
        session = self.named(slug)
        session.show(state=state, **more)
        return session.view

    async def freeze(self, slug: str) -> BottleView:
        return await self._to(slug, "frozen")

    async def thaw(self, slug: str) -> BottleView:
        return await self._to(slug, "running")

    async def stop(self, slug: str) -> BottleView:
        await self._to(slug, "stopping")
        return await self._to(slug, "stopped", exit_code=143)

    async def launch(self, request: Any, progress: Any) -> BottleView:
        if self.fails is not None:
            raise self.fails
        self.launched.append(request)
        former = self.all.pop(request.resume)
        session = self.add(f"{former.slug}")
        session.update(manifest=former.record.manifest)
        session.on_change = self.changed
        session.show(session_id=f"{former.id}+")
        self.changed(session.view)
        return session.view


class Room:
    def __init__(self, paths: Paths, store: SqliteStore, audit: Audit) -> None:
        self.paths, self.store, self.audit = paths, store, audit
        self.bus = Bus(store)
        self.runner = Runner(paths)
        self.outlets = Outlets(self._settings)
        self.notices = Notices(store, self.bus, self.outlets)
        self.wait = 0.0
        self.begin()

    async def _settings(self) -> Settings:
        return Settings()

    async def _wait(self) -> float:
        return self.wait

    def begin(self) -> None:
        """A controller's queue and profiles."""
        self.queue = Proposals(self.store, self.bus, self.audit, self.runner, self.paths)
        self.unattended = Unattended(self.runner, self.store, self.audit, self.notices, self._wait)
        self.queue.on_card, self.queue.on_decided = self.unattended.asked, self.unattended.decided
        self.runner.changed = lambda view: self.unattended.changed(view)

    async def killed(self) -> None:
        """The controller is killed; the next one starts."""
        await self.end()
        self.runner.reload()
        self.begin()
        for session in self.runner.all.values():
            session.on_change = self.runner.changed
        await self.queue.start()
        await self.unattended.start()

    async def end(self) -> None:
        await self.unattended.close()
        await self.queue.close()

    async def actions(self) -> list[str]:
        return [row.action for row in await self.store.audit()]


@pytest.fixture
async def room(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    private_folder(paths.state)
    store = SqliteStore(paths.database)
    await store.open()
    audit = Audit(paths, store)
    await audit.start()

    monkeypatch.setattr("app.controller.unattended.pause_before_resume", lambda _: 0.01)
    made = Room(paths, store, audit)
    await made.unattended.start()
    yield made
    await made.end()
    await made.notices.close()
    await audit.close()
    await store.close()


def held(identity: str = "t-000001") -> ProposalEvent:
    report = Report(host="api.example", method="POST", path="/x", title="GitHub token", detector="token_patterns")
    return ProposalEvent(
        id=identity, at=time.time(), proposal_id=identity, type="egress-token-allow", report=report,
        expires_at=time.time() + overnight.PARK_SECONDS,
    )  # fmt: skip


async def parked(session: Session) -> None:
    await until(lambda: session.view.state == "frozen")


@pytest.mark.parametrize("answer", ["approve", "reject"])
async def test_parked_until_the_answer(room: Room, answer: str) -> None:
    session = room.runner.bottle(hold="park")
    await room.queue.opened(session.id, held())
    await parked(session)
    assert session.record.overnight.parked == "hold"
    if answer == "approve":
        await room.queue.approve("t-000001", ApproveBody(reason="fine"))
    else:
        await room.queue.reject("t-000001", RejectBody(reason="no"))
    await until(lambda: session.view.state == "running")
    assert session.record.overnight.parked == ""
    assert [action for action in await room.actions() if "parked" in action] == ["parked", "unparked"]


async def test_one_that_does_not_say_so_is_left_alone(room: Room) -> None:
    quiet, other = room.runner.bottle("quiet"), room.runner.bottle("other", hold="park")
    await room.queue.opened(quiet.id, held("t-000001"))
    await room.queue.opened(other.id, held("t-000002"))
    await parked(other)
    assert quiet.view.state == "running"


async def test_two_questions_need_two_answers(room: Room) -> None:
    session = room.runner.bottle(hold="park")
    await room.queue.opened(session.id, held("t-000001"))
    await room.queue.opened(session.id, held("t-000002"))
    await parked(session)
    await room.queue.reject("t-000001", RejectBody(reason="no"))
    assert session.view.state == "frozen"
    await room.queue.reject("t-000002", RejectBody(reason="no"))
    await until(lambda: session.view.state == "running")


async def test_answered_in_time_is_never_parked(room: Room) -> None:
    session = room.runner.bottle(hold="park", max_wait=3600)
    await room.queue.opened(session.id, held())
    await room.queue.reject("t-000001", RejectBody(reason="no"))
    await room.unattended._due()
    assert session.view.state == "running"
    assert not [action for action in await room.actions() if "parked" in action]


async def test_an_operator_who_thaws_it_is_back(room: Room) -> None:
    session = room.runner.bottle(hold="park")
    await room.queue.opened(session.id, held())
    await parked(session)
    await room.runner.thaw("dev")
    assert session.record.overnight.parked == ""
    await room.unattended._due()
    assert session.view.state == "running", "not parked again for the same question"


async def test_a_killed_controller_changes_nothing_of_it(room: Room) -> None:
    room.wait = 3600
    session = room.runner.bottle(hold="park")
    await room.queue.opened(session.id, held())
    room.wait = 0
    await room.killed()
    session = room.runner.named("dev")
    await parked(session)
    await room.killed()
    session = room.runner.named("dev")
    await room.queue.reject("t-000001", RejectBody(reason="no"))
    await until(lambda: session.view.state == "running")


async def test_waits_for_the_end_of_a_limit(room: Room) -> None:
    session = room.runner.bottle(on_limit="wait_for_reset")
    room.unattended.faults(session.id, ["rate_limit"], [(1.0, time.time() + 3600)])
    await parked(session)
    assert session.record.overnight.parked == "limit"
    assert 3500 < (session.record.overnight.wake_at or 0) - time.time() < 3700
    await room.killed()
    session = room.runner.named("dev")
    session.update(overnight=session.record.overnight.model_copy(update={"wake_at": time.time() - 1}))
    await room.unattended._due()
    assert session.view.state == "running"
    assert session.record.overnight.wake_at is None


async def test_passing_limits_and_other_faults_are_the_agents_own(room: Room) -> None:
    session = room.runner.bottle(on_limit="stop")
    room.unattended.faults(session.id, ["rate_limit", "rate_limit", "", "rate_limit", "auth", "rate_limit"], [])
    assert await room.actions() == []
    assert session.view.state == "running"


@pytest.mark.parametrize("kinds", [["quota"], ["rate_limit"] * 5])
async def test_stops_at_a_limit_and_does_not_start_again(room: Room, kinds: list[str]) -> None:
    session = room.runner.bottle(on_limit="stop", on_exit={"resume": 3})
    room.unattended.faults(session.id, kinds, [])
    await until(lambda: session.view.state == "stopped")
    await room.unattended._due()
    assert room.runner.launched == []
    assert await room.actions() == ["limit-stop"]


async def test_one_that_gives_up_at_a_limit_before_it_is_stopped_is_not_started_again(room: Room) -> None:
    session = room.runner.bottle(on_limit="stop", on_exit={"resume": 3})
    room.unattended.faults(session.id, ["quota"], [])
    session.show(state="failed", exit_code=1)
    await until(lambda: room.notices.listed())
    await asyncio.sleep(0)
    await room.unattended._due()
    assert room.runner.launched == []
    assert room.unattended._resuming == {}


async def test_a_default_never_stops_an_agent(room: Room) -> None:
    session = room.runner.bottle()
    room.unattended.faults(session.id, ["quota"] * 9, [])
    assert session.view.state == "running"


async def test_started_again_as_often_as_it_says(room: Room) -> None:
    room.runner.bottle(on_exit={"resume": 2})
    for number in (1, 2):
        session = room.runner.named("dev")
        session.show(state="failed", exit_code=1)
        await until(lambda number=number: len(room.runner.launched) == number)
        await until(lambda number=number: room.runner.named("dev").record.overnight.resumes == number)
    room.runner.named("dev").show(state="failed", exit_code=1)
    await room.unattended._due()
    assert len(room.runner.launched) == 2
    assert (await room.actions()).count("resumed") == 2
    await until(lambda: room.notices.listed())


async def test_a_stop_by_the_operator_or_a_good_end_starts_nothing(room: Room) -> None:
    room.runner.bottle("a", on_exit={"resume": 2})
    room.runner.bottle("b", on_exit={"resume": 2})
    await room.runner.stop("a")
    room.runner.named("b").show(state="ended", exit_code=0)
    await room.unattended._due()
    assert room.runner.launched == []


async def test_one_that_ended_long_before_this_controller_is_left_as_it_is(room: Room) -> None:
    session = room.runner.bottle(on_exit={"resume": 2})
    session.show(state="failed", exit_code=1, ended_at=time.time() - 3600)

    async def told() -> bool:
        return any("is left as it is" in item.title for item in await room.notices.listed())

    await until(told)
    await room.unattended._due()
    assert room.runner.launched == []


async def test_the_next_controller_starts_again_what_waited_for_that(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.controller.unattended.pause_before_resume", lambda _: 2.0)
    session = room.runner.bottle(on_exit={"resume": 2})
    session.show(state="failed", exit_code=1, ended_at=time.time())
    await room.killed()
    assert room.runner.launched == []
    await until(lambda: len(room.runner.launched) == 1)
    await until(lambda: room.runner.named("dev").record.overnight.resumes == 1)
    await room.killed()
    await room.unattended._due()
    assert len(room.runner.launched) == 1, "once"


async def test_what_the_operator_went_on_with_or_put_away_is_not_started_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.controller.unattended.pause_before_resume", lambda _: 0.5)
    for slug in ("a", "b"):
        room.runner.bottle(slug, on_exit={"resume": 2}).show(state="failed", exit_code=1)
    await room.runner.launch(LaunchRequest(resume="a", cwd="/"), lambda _: None)
    room.runner.named("a").show(state="ended", exit_code=0)
    room.runner.named("b").show(kept="archived")
    await asyncio.sleep(0.6)
    await room.unattended._due()
    await until(lambda: not room.unattended._resuming)
    assert [one.resume for one in room.runner.launched] == ["a"], "by hand"
    assert not [item for item in await room.notices.listed() if "started again" in item.title]


async def test_one_that_cannot_be_started_again_is_told(room: Room) -> None:
    session = room.runner.bottle(on_exit={"resume": 2})
    room.runner.fails = CarboyError("The secret is missing", "", "secret_missing")
    session.show(state="failed", exit_code=1)

    async def told() -> bool:
        return any("could not be started again" in item.title for item in await room.notices.listed())

    await until(told)


async def test_what_was_typed_for_it_is_there_again(room: Room) -> None:
    session = room.runner.bottle(on_exit={"resume": 1})
    session.typed = {"TOKEN": Secret("typed-value-1234")}
    session.show(title="at work")
    session.typed = {}  # it has ended: its own memory of it is gone
    session.show(state="failed", exit_code=1)
    await until(lambda: room.runner.launched)
    assert room.runner.launched[0].secrets == {"TOKEN": Secret("typed-value-1234")}
    assert room.unattended._given == {}
