"""The proposal queue: one decision each, in force before it is given, through crashes, races and full disks."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.controller import policies, proposal_views, proposals, record
from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.policies import grant
from app.controller.proposals import BURST, MAX_PENDING, Proposals
from app.controller.session import Session
from app.core.approvals import ApproveBody, RejectBody, RoutesEdit
from app.core.model import StreamEvent
from app.core.routetext import write_routes
from app.errors import CarboyError, NotFound
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from sidecar.contract import Policy, ProposalEvent, Report, Route, routes_hash
from tests.conftest import until
from tests.controller.desk import TestDesk, asks, sidecar


def route(host: str, *paths: str, **more: Any) -> Route:
    return Route.model_validate({"host": host, "matches": [{"paths": [{"value": path}]} for path in paths], **more})


API = route("api.example", "/v1", auth={"token_ref": "TOKEN"})
NEW = route("new.example", "/x")


@dataclass
class Room:
    paths: Paths
    store: SqliteStore
    bus: Bus
    audit: Audit
    desk: TestDesk
    queue: Proposals

    async def rows(self) -> list[str]:
        return [row.action for row in await self.store.audit()]

    async def restart(self) -> None:
        """The controller is killed; the next one starts."""
        await self.queue.close()
        self.desk.reload()
        self.queue = Proposals(self.store, self.bus, self.audit, self.desk, self.paths)
        await self.queue.start()


@pytest.fixture
async def room(paths: Paths) -> AsyncIterator[Room]:
    private_folder(paths.state)
    private_folder(paths.bottles)
    (paths.bottles / "dev.md").write_text("---\negress:\n  routes: []  # none yet\n---\nnotes\n")
    store = SqliteStore(paths.database)
    await store.open()
    bus = Bus(store)
    audit = Audit(paths, store)
    await audit.start()
    desk = TestDesk(paths)
    made = Room(paths, store, bus, audit, desk, Proposals(store, bus, audit, desk, paths))
    yield made
    await made.queue.close()
    await store.close()


def finding(identity: str = "t-000001", **more: Any) -> ProposalEvent:
    report = Report(host="api.example", method="POST", path="/gists", title="GitHub token", detector="token_patterns")
    return ProposalEvent(
        id=identity, at=time.time(), proposal_id=identity, type="egress-token-allow", report=report, **more
    )


async def told(session: Session, state: str, identity: str = "p-000001") -> None:
    await until(
        lambda: any((body["proposal_id"], body["state"]) == (identity, state) for body in sidecar(session).told)
    )


async def test_approved_is_in_force_on_record_and_told(room: Room) -> None:
    session = room.desk.add("dev", API)
    with room.bus.subscribe() as events:
        await room.queue.opened(session.id, asks(session, NEW, justification="I need it"))
        card = (await room.queue.listed(state="pending"))[0]
        assert card.title == "any method new.example/x"
        assert card.diff[0] == "+- host: new.example"
        assert {note.code for note in card.risks} == {"new_host", "post_capable"}
        assert not card.stale
        done = await room.queue.approve(card.id, ApproveBody(reason="fine", by="ann", seen=card.seen))
        events.close()
        news = [event.data["state"] async for event in events if event.kind == "proposal"]
    assert (done.state, done.decided_by, done.diff) == ("approved", "ann", card.diff)
    assert news == ["pending", "approved"]
    assert sidecar(session).policy.routes == (API, NEW)
    assert sidecar(session).policy.version == 2
    kept = record.load(session.state_folder)
    assert kept is not None
    assert kept.policy == sidecar(session).policy
    await told(session, "approved")
    row = (await room.store.audit())[-1]
    assert (row.action, row.actor, row.detail["diff"][0]) == ("proposal-approved", "ann", "+- host: new.example")
    assert await room.audit.verify() == []


async def test_a_decision_takes_less_than_100_ms(room: Room) -> None:
    session = room.desk.add("dev", API)
    times: list[float] = []
    for number in range(20):
        await room.queue.opened(session.id, asks(session, route(f"h{number}.example"), identity=f"p-{number:06}"))
        start = time.thread_time()
        await room.queue.approve(f"p-{number:06}", ApproveBody())
        await told(session, "approved", f"p-{number:06}")
        times.append(time.thread_time() - start)
    assert sorted(times)[18] < 0.1, times


async def test_rejected(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    done = await room.queue.reject("p-000001", RejectBody(reason="use the mirror", by="ann"))
    assert (done.state, done.reason) == ("rejected", "use the mirror")
    await told(session, "rejected")
    assert sidecar(session).policy.routes == (API,)
    assert await room.rows() == ["proposal-rejected"]
    with pytest.raises(CarboyError, match="rejected already by ann"):
        await room.queue.approve("p-000001", ApproveBody(by="bob"))
    with pytest.raises(NotFound):
        await room.queue.reject("p-999999", RejectBody())


async def test_racing_operators(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    ends = await asyncio.gather(
        *(room.queue.approve("p-000001", ApproveBody(by=f"yes{number}")) for number in range(3)),
        *(room.queue.reject("p-000001", RejectBody(by=f"no{number}")) for number in range(3)),
        return_exceptions=True,
    )
    won = [end for end in ends if not isinstance(end, BaseException)]
    lost = [end for end in ends if isinstance(end, CarboyError)]
    assert (len(won), len(lost)) == (1, 5)
    assert all(error.code == "already_decided" and won[0].decided_by in error.message for error in lost)
    assert len(await room.rows()) == 1


async def test_the_same_again_joins_and_both_are_told(room: Room) -> None:
    session = room.desk.add("dev", API)
    for identity in ("p-000001", "p-000001", "p-000002"):
        await room.queue.opened(session.id, asks(session, NEW, identity=identity, content_key="k"))
    cards = await room.queue.listed(state="pending")
    assert [(card.id, card.asked) for card in cards] == [("p-000001", 2)]
    await room.queue.approve("p-000002", ApproveBody())
    await told(session, "approved", "p-000001")
    await told(session, "approved", "p-000002")
    await room.queue.opened(session.id, asks(session, NEW, identity="p-000001"))
    assert await room.queue.listed(state="pending") == []


async def test_what_cannot_be_applied_stays_pending_and_says_why(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    for broken in ("down", "refuses"):
        setattr(sidecar(session), broken, "policy" if broken == "refuses" else True)
        with pytest.raises(CarboyError):
            await room.queue.approve("p-000001", ApproveBody())
        card = (await room.queue.listed())[0]
        assert card.state == "pending"
        assert "sidecar" in card.error
        assert session.record.policy.routes == (API,)
        setattr(sidecar(session), broken, "" if broken == "refuses" else False)
    assert sidecar(session).restarts == 1
    sidecar(session).loses_answers = 1
    with pytest.raises(CarboyError):
        await room.queue.approve("p-000001", ApproveBody())
    assert sidecar(session).policy.routes == (API,), "what was never acknowledged is not in force"
    assert await room.rows() == []
    assert (await room.queue.approve("p-000001", ApproveBody())).state == "approved"
    assert (await room.queue.listed())[0].error == ""


async def test_a_card_does_not_say_that_its_sidecar_is_down_once_it_is_back(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    sidecar(session).down = True
    with pytest.raises(CarboyError):
        await room.queue.approve("p-000001", ApproveBody())
    assert (await room.queue.listed())[0].error
    sidecar(session).down = False
    with room.bus.subscribe() as events:
        room.queue.sidecar_up(session.id)
        event = await anext(aiter(events))
    assert (event.kind, event.data["error"], event.data["state"]) == ("proposal", "", "pending")
    assert (await room.queue.listed())[0].error == ""


@pytest.mark.parametrize("scope", ["session", "save"])
async def test_what_cannot_be_put_on_record_is_taken_back(
    room: Room, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    session = room.desk.add("dev", API)
    file = room.paths.bottles / "dev.md"
    old = file.read_bytes()
    await room.queue.opened(session.id, asks(session, NEW))
    body = ApproveBody(reason="fine", by="ann", scope=scope)  # type: ignore[arg-type]

    async def locked(*_: object) -> None:
        raise CarboyError("The database refused: locked", "", "store")

    with monkeypatch.context() as patch:
        patch.setattr(room.store, "decide_proposal", locked)
        with pytest.raises(CarboyError, match="locked"):
            await room.queue.approve("p-000001", body)
    assert sidecar(session).policy.routes == session.record.policy.routes == (API,)
    assert file.read_bytes() == old
    assert await room.rows() == []
    await room.restart()
    assert (await room.queue.listed())[0].state == "pending"
    assert (await room.queue.approve("p-000001", body)).state == "approved"
    assert await room.rows() == ["proposal-approved"]
    assert await room.audit.verify() == []


async def test_what_could_not_be_taken_back_is_given(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in force: then whoever answers next is told that it was approved, and it is on record."""
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))

    async def full(*_: object) -> None:
        sidecar(session).down = True
        raise CarboyError("The disk is full", "", "disk_full")

    with monkeypatch.context() as patch:
        patch.setattr(room.store, "decide_proposal", full)
        with pytest.raises(CarboyError):
            await room.queue.approve("p-000001", ApproveBody(reason="fine", by="ann"))
    sidecar(session).down = False
    with pytest.raises(CarboyError, match="approved already by ann"):
        await room.queue.reject("p-000001", RejectBody(reason="no", by="bob"))
    assert sidecar(session).policy.routes == session.record.policy.routes == (API, NEW)
    assert await room.rows() == ["proposal-approved"]


async def test_a_record_that_cannot_be_written_takes_it_back(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(record, "atomic_write", full)
        with pytest.raises(CarboyError) as caught:
            await room.queue.approve("p-000001", ApproveBody())
    assert caught.value.code == "disk_full"
    assert sidecar(session).policy.routes == session.record.policy.routes == (API,)
    assert (await room.queue.listed())[0].state == "pending"


class Killed(BaseException):
    """The controller is no more."""


@pytest.mark.parametrize("moment", ["audit", "decide", "record"])
async def test_killed_in_the_middle(room: Room, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Whatever the moment: either nothing was given, or it is given by the next controller."""
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))

    async def killed(*_: object, **__: object) -> None:
        raise Killed

    def killed_now(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "audit":
            patch.setattr(room.audit, "with_row", killed)
        elif moment == "decide":
            patch.setattr(room.store, "decide_proposal", killed)
        else:
            patch.setattr(record, "atomic_write", killed_now)
        with pytest.raises(Killed):
            await room.queue.approve("p-000001", ApproveBody(reason="fine", by="ann"))
    assert sidecar(session).policy.routes == (API, NEW)
    await room.restart()
    session = room.desk.all["dev"]
    card = (await room.queue.listed())[0]
    if moment == "record":
        assert card.state == "pending"
        assert sidecar(session).policy.routes == (API,)
    else:
        assert (card.state, card.decided_by, card.reason) == ("approved", "ann", "fine")
        assert sidecar(session).policy.routes == (API, NEW)
        await told(session, "approved")
        assert "proposal-approved" in await room.rows()


async def test_what_an_answer_covers_is_answered_with_it(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    both = (API, NEW, route("other.example"))
    await room.queue.opened(session.id, asks(session, routes=both, identity="p-000002"))
    await room.queue.opened(session.id, asks(session, routes=(API, route("new.example")), identity="p-000003"))
    await room.queue.approve("p-000003", ApproveBody(by="ann"))
    first, second, _ = await room.queue.listed()
    assert (first.state, first.decided_by, first.reason) == ("approved", "carboy", "all of it is allowed already")
    assert (second.state, second.hosts) == ("pending", ("new.example", "other.example"))
    await told(session, "approved")


async def test_what_is_allowed_for_a_while_may_be_allowed_for_good(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    base = session.record.policy.routes
    await room.queue.approve("p-000001", ApproveBody(scope="15m", by="ann"))
    again = asks(session, routes=(*base, NEW), base_hash=routes_hash(base), identity="p-000002")
    await room.queue.opened(session.id, again)
    assert (await room.queue.listed())[1].state == "pending", "it ends, so it may be asked"
    with pytest.raises(CarboyError, match="nothing left"):
        await room.queue.approve("p-000002", ApproveBody(scope="15m"))
    await room.queue.approve("p-000002", ApproveBody(scope="session", by="ann"))
    await room.queue._end_grants(session, {"p-000001"})
    assert sidecar(session).policy.routes == (API, NEW)


async def test_stale_proposals_never_undo_a_later_decision(room: Room) -> None:
    session = room.desk.add("dev", API, route("old.example"))
    wide = route("api.example", "/v1", "/v2")
    event = asks(session, routes=(wide, route("old.example", "/more"), NEW))
    await room.queue.opened(session.id, event)
    await room.queue.edit_routes("dev", RoutesEdit(text=write_routes((API,)), reason="less", by="ann"))
    card = (await room.queue.listed())[0]
    assert card.stale
    assert "old.example" not in " ".join(card.diff)
    done = await room.queue.approve("p-000001", ApproveBody())
    assert sidecar(session).policy.routes == (API.model_copy(update={"matches": wide.matches}), NEW)
    assert done.state == "approved"


async def test_what_was_shown_is_what_is_applied(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    card = await room.queue.view("p-000001")
    await room.queue.edit_routes("dev", RoutesEdit(text=write_routes(())))
    with pytest.raises(CarboyError) as caught:
        await room.queue.approve("p-000001", ApproveBody(seen=card.seen))
    assert caught.value.code == "stale_view"


async def test_an_edited_approval_is_applied_as_written(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, route("new.example")))
    card = await room.queue.view("p-000001")
    text = card.routes + "  matches:\n  - methods: [GET]\n"
    preview = await room.queue.approve("p-000001", ApproveBody(routes=text, preview=True))
    assert preview.state == "pending"
    assert {note.code for note in preview.risks} == {"new_host"}
    done = await room.queue.approve("p-000001", ApproveBody(routes=text, seen=preview.seen, by="ann"))
    assert done.state == "modified"
    assert sidecar(session).policy.routes[1].matches[0].methods == ("GET",)
    await told(session, "modified")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("routes: [{host: '*.github.io'}]", "bad_routes"),
        ("routes: [{host: a.example, auth: {token_ref: OTHER}}]", "bad_routes"),
        ("routes: 7", "config"),
    ],
)
async def test_edits_that_no_bottle_may_have(room: Room, text: str, code: str) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    for call in (
        room.queue.approve("p-000001", ApproveBody(routes=text)),
        room.queue.edit_routes("dev", RoutesEdit(text=text)),
    ):
        with pytest.raises(CarboyError) as caught:
            await call
        assert caught.value.code == code
    assert sidecar(session).policy.routes == (API,)


async def test_findings_need_a_reason_and_change_no_route(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, finding())
    card = (await room.queue.listed())[0]
    assert (card.title, card.needs_reason, card.editable) == ("GitHub token", True, False)
    for body in (ApproveBody(), ApproveBody(reason="x", scope="save"), ApproveBody(reason="x", routes="routes: []")):
        with pytest.raises(CarboyError):
            await room.queue.approve("t-000001", body)
    done = await room.queue.approve("t-000001", ApproveBody(reason="a test key", scope="once"))
    assert (done.state, done.scope) == ("approved", "once")
    assert sidecar(session).policy.version == 1
    await told(session, "approved", "t-000001")


async def test_expiry_and_restart(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, finding(expires_at=time.time() + 0.3))
    await room.queue.opened(session.id, finding("t-000002", expires_at=time.time() + 60))
    await room.restart()
    session = room.desk.all["dev"]
    await told(session, "expired", "t-000001")
    assert [card.state for card in await room.queue.listed()] == ["expired", "pending"]
    assert "proposal-expired" in await room.rows()


async def test_a_time_before_all_times_is_over(room: Room) -> None:
    """What is kept would ring at once, for ever."""
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, finding(expires_at=0.0))
    await told(session, "expired", "t-000001")


async def test_a_question_that_waits_longer_is_no_new_card(room: Room) -> None:
    session, cards = room.desk.add("dev", API), []
    room.queue.on_card = cards.append
    now = time.time()
    await room.queue.opened(session.id, finding(expires_at=now + 60))
    await room.queue.opened(session.id, finding(expires_at=now + 90))
    assert [card["expires_at"] for card in cards] == [now + 60]
    assert [card.expires_at for card in await room.queue.listed()] == [now + 90]


async def test_an_answer_that_comes_too_late_is_told_so(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time was over, but the alarm has not rung yet: the request that was held is refused by now."""
    session = room.desk.add("dev", API)
    monkeypatch.setattr(room.queue, "_arm", lambda: None)
    await room.queue.opened(session.id, finding(expires_at=time.time()))
    await room.queue.opened(session.id, finding("t-000002", expires_at=time.time()))
    with pytest.raises(CarboyError, match="has expired already: nobody answered in time"):
        await room.queue.approve("t-000001", ApproveBody(reason="fine", by="ann", scope="session"))
    with pytest.raises(CarboyError, match="has expired already: nobody answered in time"):
        await room.queue.reject("t-000002", RejectBody(by="ann"))
    assert [card.state for card in await room.queue.listed()] == ["expired", "expired"]
    assert await room.rows() == ["proposal-expired", "proposal-expired"]
    await told(session, "expired", "t-000001")


async def test_withdrawn_with_the_bottle_and_by_who_asked(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, finding())
    await room.queue.opened(session.id, asks(session, NEW))
    await room.queue.opened(session.id, finding(action="withdrawn"))
    assert [card.state for card in await room.queue.listed()] == ["withdrawn", "pending"]
    session.show(state="ended")
    room.queue.ended(session.view)

    async def gone() -> bool:
        return all(card.state == "withdrawn" for card in await room.queue.listed())

    await until(gone)
    with pytest.raises(CarboyError, match="withdrawn already: its bottle has ended"):
        await room.queue.approve("p-000001", ApproveBody())


async def test_a_bottle_that_ended_while_no_controller_was_there(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    session.show(state="lost")
    await room.restart()
    assert [card.state for card in await room.queue.listed()] == ["withdrawn"]


async def test_unsupervised_bottles_have_none(room: Room) -> None:
    session = room.desk.add("dev", API, supervise=False)
    await room.queue.opened(session.id, asks(session, NEW))
    assert await room.queue.listed() == []
    assert sidecar(session).told[0]["state"] == "rejected"


async def test_what_is_allowed_already_needs_nobody(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session))
    await told(session, "approved")
    card = (await room.queue.listed())[0]
    assert (card.state, card.decided_by) == ("approved", "carboy")
    assert session.record.policy.version == 1


async def test_a_sidecar_that_was_down_is_told_later(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    sidecar(session).refuses = "decision"
    await room.queue.reject("p-000001", RejectBody())
    await room.restart()
    session = room.desk.all["dev"]
    assert sidecar(session).told == []
    sidecar(session).refuses = ""
    room.queue.tell(session.id)
    await told(session, "rejected")


async def reached_nobody(room: Room, session: Session, event: ProposalEvent, answer: str, **body: Any) -> None:
    """Asked; decided while the sidecar is down; the next sidecar does not know the question."""
    await room.queue.opened(session.id, event)
    sidecar(session).down = True
    if answer == "reject":
        await room.queue.reject(event.proposal_id, RejectBody(reason="no", by="ann"))
    else:
        await room.queue.approve(event.proposal_id, ApproveBody(reason="fine", by="ann", **body))
    sidecar(session).down, sidecar(session).knows = False, False
    room.queue.tell(session.id)
    await until(lambda: len(sidecar(session).told) == 1)


@pytest.mark.parametrize("scope", ["once", "15m", "session"])
async def test_a_decision_made_while_the_sidecar_was_down_is_for_the_repeat(room: Room, scope: Any) -> None:
    session = room.desk.add("dev", API)
    await reached_nobody(room, session, finding("t-000001", content_key="k"), "approve", scope=scope)
    sidecar(session).knows = True
    await room.queue.opened(session.id, finding("t-000002", content_key="k"))
    await told(session, "approved", "t-000002")
    assert (sidecar(session).told[-1]["scope"], sidecar(session).told[-1]["reason"]) == (scope, "fine")
    assert await room.queue.listed(state="pending") == []
    assert await room.rows() == ["proposal-approved"], "one decision"
    await room.queue.opened(session.id, finding("t-000003", content_key="k"))
    waiting = [card.id for card in await room.queue.listed(state="pending")]
    assert waiting == (["t-000003"] if scope == "once" else []), "once is once; a new sidecar learns of the others"


async def test_a_no_is_for_the_repeat_once_and_a_yes_to_access_is_in_the_routes(room: Room) -> None:
    session = room.desk.add("dev", API)
    await reached_nobody(room, session, asks(session, NEW, content_key="k"), "reject")
    sidecar(session).knows = True
    await room.queue.opened(session.id, asks(session, NEW, identity="p-000002", content_key="k"))
    await told(session, "rejected", "p-000002")
    await room.queue.opened(session.id, asks(session, NEW, identity="p-000003", content_key="k"))
    assert [card.id for card in await room.queue.listed(state="pending")] == ["p-000003"]
    sidecar(session).knows = False
    await room.queue.approve("p-000003", ApproveBody())
    await told(session, "approved", "p-000003")
    await room.queue.edit_routes("dev", RoutesEdit(text=write_routes((API,))))
    await room.queue.opened(session.id, asks(session, NEW, identity="p-000004", content_key="k"))
    assert [card.id for card in await room.queue.listed(state="pending")] == ["p-000004"], "it was taken back"


def request(host: str, path: str, decision: str = "allow") -> StreamEvent:
    data = {"decision": decision, "host": host, "port": 443, "method": "GET", "path": path}
    return StreamEvent(seq=1, at=time.time(), kind="egress", slug="dev", data=data)


async def test_once_ends_with_its_first_use(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    await room.queue.approve("p-000001", ApproveBody(scope="once"))
    assert sidecar(session).policy.routes == (API, NEW)
    room.queue.requests(session.id, [request("api.example", "/v1"), request("new.example", "/x", "deny")])
    await asyncio.sleep(0)
    assert sidecar(session).policy.routes == (API, NEW)
    room.queue.requests(session.id, [request("new.example", "/x/y")])
    await until(lambda: sidecar(session).policy.routes == (API,))
    await until(lambda: session.record.grants == ())

    async def ended() -> bool:
        return "grant-ended" in await room.rows()

    await until(ended)


async def test_fifteen_minutes_end_by_themselves_even_after_a_restart(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.proposal import TEMPORARY

    monkeypatch.setitem(TEMPORARY, "15m", 0.4)
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    await room.queue.approve("p-000001", ApproveBody(scope="15m"))
    assert sidecar(session).policy.routes == (API, NEW)
    held = room.queue.routes("dev").temporary[0]
    assert (held.host, held.proposal, held.single) == ("new.example", "p-000001", False)
    assert "new.example" in held.title
    await room.restart()
    session = room.desk.all["dev"]
    await until(lambda: sidecar(session).policy.routes == (API,))
    await until(lambda: session.record.policy.routes == (API,))


async def test_a_sidecar_knows_when_what_is_for_a_while_ends(room: Room) -> None:
    """Its controller may be killed before, and nobody start another one."""
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    await room.queue.opened(session.id, asks(session, route("other.example", "/v1"), identity="p-000002"))
    await room.queue.approve("p-000001", ApproveBody(scope="15m"))
    await room.queue.approve("p-000002", ApproveBody(scope="once"))
    narrows = sidecar(session).policy.narrows
    assert narrows is not None
    assert narrows.routes == (API,)
    assert narrows.at == min(grant.until for grant in session.record.grants) + policies.GRACE_SECONDS
    assert session.record.policy.narrows == narrows  # what a sidecar that is started again is told
    room.queue.requests(session.id, [request("other.example", "/v1")])
    await until(lambda: sidecar(session).policy.routes == (API, NEW))
    narrows = sidecar(session).policy.narrows
    assert narrows is not None
    assert narrows.at == session.record.grants[0].until + policies.GRACE_SECONDS
    await room.queue.edit_routes("dev", RoutesEdit(text=write_routes((API,))))
    assert sidecar(session).policy.narrows is None


async def test_what_takes_away_cannot_be_for_a_while(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    with pytest.raises(CarboyError) as caught:
        await room.queue.approve("p-000001", ApproveBody(scope="15m", routes="routes: [{host: new.example}]"))
    assert caught.value.code == "not_temporary"
    assert sidecar(session).policy.routes == (API,)


async def test_saved_to_the_bottle_file(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    preview = await room.queue.approve("p-000001", ApproveBody(scope="save", preview=True))
    file = room.paths.bottles / "dev.md"
    assert preview.manifest is not None
    assert preview.manifest.file == str(file)
    assert any("new.example" in line for line in preview.manifest.diff)
    assert "new.example" not in file.read_text()
    await room.queue.approve("p-000001", ApproveBody(scope="save", seen=preview.seen))
    assert "host: new.example" in file.read_text()
    assert "api.example" not in file.read_text()
    assert (await room.store.audit())[-1].detail["file"] == str(file)


async def test_saving_adds_what_was_asked_and_no_other_decision(room: Room) -> None:
    """What was given to the same host for the session or for a while, and what the operator wrote into the file since,
    is not touched by it."""
    session = room.desk.add("dev", API)
    file: Path = room.paths.bottles / "dev.md"
    for number, (path, scope) in enumerate((("/session", "session"), ("/while", "15m"), ("/saved", "save"))):
        wanted = route("new.example", matches=[{"paths": [{"value": path}]}])
        await room.queue.opened(session.id, asks(session, wanted, identity=f"p-00000{number}"))
        await room.queue.approve(f"p-00000{number}", ApproveBody(scope=scope))  # type: ignore[arg-type]
    assert "/saved" in file.read_text()
    assert "/session" not in file.read_text()
    assert "/while" not in file.read_text()
    file.write_text(file.read_text().replace("/saved", "/by-hand"))
    wanted = route("new.example", matches=[{"paths": [{"value": "/last"}]}])
    await room.queue.opened(session.id, asks(session, wanted, identity="p-000009"))
    preview = await room.queue.approve("p-000009", ApproveBody(scope="save", preview=True))
    text = preview.routes.replace("/last", "/narrower")
    await room.queue.approve("p-000009", ApproveBody(scope="save", routes=text))
    saved = file.read_text()
    assert "/narrower" in saved
    assert "/by-hand" in saved
    assert "/session" not in saved
    in_force = next(item for item in sidecar(session).policy.routes if item.host == "new.example")
    assert {match.paths[0].value for match in in_force.matches} == {"/session", "/while", "/saved", "/narrower"}
    assert [item.title for item in room.queue.routes("dev").temporary] == ["any method new.example/while"]


async def test_where_saving_fails_nothing_is_given(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    file: Path = room.paths.bottles / "dev.md"
    file.write_text("---\negress: [\n---\n")
    with pytest.raises(CarboyError):
        await room.queue.approve("p-000001", ApproveBody(scope="save"))
    assert sidecar(session).policy.routes == (API,)
    assert (await room.queue.listed())[0].state == "pending"


async def test_operator_edits_are_audited_and_racing_ones_noticed(room: Room) -> None:
    session = room.desk.add("dev", API)
    first = room.queue.routes("dev")
    text = first.text + "- host: mine.example\n"
    shown = await room.queue.edit_routes("dev", RoutesEdit(text=text, preview=True))
    assert shown.diff == ("+- host: mine.example",)
    assert session.record.policy.version == 1
    done = await room.queue.edit_routes("dev", RoutesEdit(text=text, seen=first.seen, by="ann", reason="r"))
    assert done.version == 2
    row = (await room.store.audit())[-1]
    assert (row.action, row.actor, row.detail["diff"]) == ("operator-edit", "ann", ["+- host: mine.example"])
    with pytest.raises(CarboyError) as caught:
        await room.queue.edit_routes("dev", RoutesEdit(text=first.text, seen=first.seen))
    assert caught.value.code == "stale_view"


async def test_an_agent_cannot_take_a_credential_along(room: Room) -> None:
    session = room.desk.add("dev", API)
    bold = route("evil.example", auth={"token_ref": "TOKEN"}, ports=[22], dlp={"outbound_detectors": False})
    await room.queue.opened(session.id, asks(session, bold))
    card = (await room.queue.listed())[0]
    assert "cannot set auth, dlp, ports" in card.notes[0]
    await room.queue.approve("p-000001", ApproveBody())
    assert sidecar(session).policy.routes[1] == Route(host="evil.example")


async def test_more_questions_than_a_sidecar_may_have_open_are_not_taken(room: Room) -> None:
    """It counts them itself; a controller does not rely on it."""
    session = room.desk.add("dev", API)
    other = room.desk.add("other", API)
    for number in range(MAX_PENDING + 5):
        event = asks(session, route(f"h{number}.example"), identity=f"p-{number:06}")
        await room.queue.opened(session.id, event)
    assert len(await room.queue.listed(state="pending")) == MAX_PENDING
    last = sidecar(session).told[-1]
    assert (last["state"], last["proposal_id"]) == ("rejected", f"p-{MAX_PENDING + 4:06}")
    assert "too many open proposals" in last["reason"]
    await room.queue.opened(session.id, asks(session, route("h0.example"), identity="p-000000"))
    await room.queue.opened(other.id, asks(other, NEW, identity="q-000001"))
    assert len(await room.queue.listed(state="pending")) == MAX_PENDING + 1


async def test_questions_that_are_taken_back_at_once_do_not_fill_the_trail(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """What became of each is on record for good: a sidecar that opens and withdraws them is held to as many as the
    bottle may ask, as a desk that is not its own."""
    session, other = room.desk.add("dev", API), room.desk.add("other", API)
    for number in range(BURST + 50):
        event = asks(session, route(f"h{number}.example"), identity=f"p-{number:06}")
        await room.queue.opened(session.id, event)
        await room.queue.opened(session.id, event.model_copy(update={"action": "withdrawn", "routes": None}))
    assert BURST <= len(await room.rows()) <= BURST + 2
    assert "too many questions" in sidecar(session).told[-1]["reason"]
    assert len(caplog.records) <= 2, "a line of the controller's log for each, without end"
    await room.queue.opened(other.id, asks(other, NEW, identity="q-000001"))
    assert len(await room.queue.listed(state="pending")) == 1


async def test_a_sidecar_that_does_not_answer_keeps_no_controller_from_starting(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was waited for by itself, for half a minute: as long as a client waits for a controller at all."""
    monkeypatch.setattr(proposals, "CONFIRM_SECONDS", 0.05)
    silent, other = room.desk.add("dev", API), room.desk.add("other", API)
    answers, usual = asyncio.Event(), sidecar(silent).call

    async def call(op: str, body: dict[str, Any], fds: list[int] | None = None) -> dict[str, Any]:
        await answers.wait()
        return await usual(op, body, fds)

    monkeypatch.setattr(sidecar(silent), "call", call)
    sidecar(other).policy = sidecar(silent).policy = Policy(routes=(API, NEW), version=9)
    async with asyncio.timeout(20):
        await room.queue.start()
    assert sidecar(other).policy == other.record.policy
    assert silent.policy_lock.locked(), "nothing is given to it before"
    answers.set()
    await until(lambda: sidecar(silent).policy == silent.record.policy)
    await until(lambda: not silent.policy_lock.locked())


async def test_a_question_that_the_store_does_not_take_comes_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that raises is read again; one that is passed over leaves its agent without an answer for ever."""
    session, usual = room.desk.add("dev", API), room.store.add_proposal

    async def add(row: Any) -> Any:
        raise CarboyError("The store is locked", "", "store")

    monkeypatch.setattr(room.store, "add_proposal", add)
    for _ in range(BURST + 1):  # and is no other question each time
        with pytest.raises(CarboyError, match="locked"):
            await room.queue.opened(session.id, asks(session, NEW))
    monkeypatch.setattr(room.store, "add_proposal", usual)
    await room.queue.opened(session.id, asks(session, NEW))
    assert [card.state for card in await room.queue.listed()] == ["pending"]


async def test_what_takes_long_to_compare_keeps_nobody_waiting(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared in a thread, and once for each time the routes change."""
    made: list[int] = []

    def shown(*args: Any, **more: Any) -> Any:
        made.append(threading.get_ident())
        return former(*args, **more)

    former = proposal_views.shown
    session = room.desk.add("dev", API)
    monkeypatch.setattr(proposal_views, "shown", shown)
    for number in range(5):
        await room.queue.opened(session.id, asks(session, route(f"h{number}.example"), identity=f"p-{number:06}"))
    for _ in range(3):
        await room.queue.listed()
    assert len(made) == 5
    assert threading.get_ident() not in made
    await room.queue.edit_routes("dev", RoutesEdit(text=write_routes((API, NEW)), by="ann"))
    assert len(made) == 10
    assert (await room.queue.listed())[0].stale


async def test_a_grant_that_cannot_be_ended_is_tried_now_and_then(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not without a pause: what is overdue rings at once."""
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    monkeypatch.setattr(policies, "grant", lambda one, asked, scope, at: grant(one, asked, scope, at - 899.9))
    await room.queue.approve("p-000001", ApproveBody(scope="15m"))
    sidecar(session).down = True
    tried: list[float] = []
    narrow = room.queue._approving.narrow

    async def counted(*given: Any) -> None:
        tried.append(time.monotonic())
        await narrow(*given)

    monkeypatch.setattr(room.queue._approving, "narrow", counted)
    monkeypatch.setattr(proposals, "RETRY_SECONDS", 0.1)
    await until(lambda: len(tried) == 3)
    assert tried[2] - tried[0] >= 0.19
    sidecar(session).down = False
    await until(lambda: sidecar(session).policy.routes == (API,))


async def test_an_expiry_that_cannot_be_written_is_tried_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    session = room.desk.add("dev", API)
    left = [3]
    decide = room.store.decide_proposal

    async def full(*given: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise CarboyError("The disk is full", "", "disk_full")
        return await decide(*given)

    monkeypatch.setattr(room.store, "decide_proposal", full)
    monkeypatch.setattr(proposals, "RETRY_SECONDS", 0.05)
    await room.queue.opened(session.id, asks(session, NEW, expires_at=time.time() + 0.05))
    await told(session, "expired")
    assert (await room.queue.listed())[0].state == "expired"
    assert await room.rows() == ["proposal-expired"]


async def test_a_row_that_another_version_wrote_hides_no_other(room: Room) -> None:
    session = room.desk.add("dev", API)
    await room.queue.opened(session.id, asks(session, NEW))
    await room.queue.opened(session.id, asks(session, route("other.example"), identity="p-000002"))
    odd = '{"routes": [{"host": "x.example", "matches": [{"paths": [{"value": "/a\\u202e"}]}]}], "base": []}'
    await room.store._writing(lambda db: db.execute("UPDATE proposals SET payload = ? WHERE id = 'p-000001'", (odd,)))
    await room.restart()
    first, second = await room.queue.listed()
    assert "cannot be read" in first.notes[0]
    assert second.title == "other.example (anything)"
    with pytest.raises(CarboyError, match="nothing left"):
        await room.queue.approve("p-000001", ApproveBody())
    assert (await room.queue.reject("p-000001", RejectBody())).state == "rejected"


async def test_two_hundred_open_ones(room: Room) -> None:
    sessions = [room.desk.add(f"dev-{number}", API) for number in range(20)]
    for number in range(200):
        session = sessions[number % 20]
        await room.queue.opened(session.id, asks(session, route(f"h{number}.example"), identity=f"p-{number:06}"))
    start = time.thread_time()
    assert len(await room.queue.listed(state="pending")) == 200
    assert time.thread_time() - start < 1.0
