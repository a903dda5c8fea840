"""Questions on the desk: opened once, decided once, joined, withdrawn, expired; with a real spool below."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.contract import DecisionBody, ProposalEvent, Report
from sidecar.spool import SpoolReader, SpoolWriter
from sidecar.supervise.desk import (
    BURST,
    EVERY_SECONDS,
    MAX_DECIDED,
    MAX_OPEN,
    Desk,
    NotRecorded,
    Question,
    TooLarge,
    TooMany,
)
from sidecar.tasks import spawn


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolWriter]:
    writer = SpoolWriter(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY))
    yield writer
    writer.close()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[], list[ProposalEvent]]:
    def read() -> list[ProposalEvent]:
        lines = SpoolReader(tmp_path).read(10_000)
        return [ProposalEvent.model_validate(orjson.loads(line)) for _, line in lines]

    return read


def question(key: str = "k", seconds: float = 60.0, text: str = "") -> Question:
    return Question("egress-token-allow", key, time.time() + seconds, report=Report(title=text))


def said(ticket_id: str, state: str = "approved") -> DecisionBody:
    return DecisionBody.model_validate({"proposal_id": ticket_id, "state": state, "reason": "r", "scope": "once"})


async def test_all_who_wait_are_told(spool: SpoolWriter, written: Callable[[], list[ProposalEvent]]) -> None:
    desk = Desk(spool)
    ticket = desk.ask(question())
    assert desk.ask(question()) is ticket
    waiting = [spawn(desk.wait(ticket, 30), name="wait") for _ in range(5)]
    await asyncio.sleep(0)
    assert desk.decide(said(ticket.id))
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert {outcome.state for outcome in outcomes if outcome} == {"approved"}
    assert not desk.decide(said(ticket.id, "rejected"))
    assert desk.find(ticket.id) is ticket
    assert desk.last_of("k") is ticket
    assert [event.proposal_id for event in written()] == [ticket.id]
    assert desk.ask(question()) is not ticket


async def test_a_question_stands_as_long_as_somebody_waits(
    spool: SpoolWriter, written: Callable[[], list[ProposalEvent]]
) -> None:
    desk = Desk(spool)
    ticket = desk.ask(question(seconds=0.2, text="what is asked"))
    first = spawn(desk.wait(ticket, 0.2), name="first")
    others = [spawn(desk.wait(ticket, 60), name="other") for _ in range(20)]
    assert await first is None
    assert desk.decide(said(ticket.id))
    assert {(await other).state for other in others} == {"approved"}  # type: ignore[union-attr]
    opened, longer = written()
    assert (longer.proposal_id, longer.action, longer.report) == (opened.proposal_id, "open", opened.report)
    assert (opened.expires_at or 0) + 50 < (longer.expires_at or 0) == ticket.question.expires_at


async def test_a_time_that_cannot_be_recorded_is_not_longer(
    spool: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(spool)
    ticket = desk.ask(question(seconds=0.1))
    monkeypatch.setattr(spool, "ready", lambda: False)
    outcome = await desk.wait(ticket, 60)
    assert outcome is not None
    assert outcome.state == "expired"


async def test_withdrawn_is_told_to_the_controller(
    spool: SpoolWriter, written: Callable[[], list[ProposalEvent]]
) -> None:
    desk = Desk(spool)
    ticket = desk.ask(question())
    desk.withdraw(ticket)
    desk.withdraw(ticket)
    assert [(event.proposal_id, event.action) for event in written()] == [(ticket.id, "open"), (ticket.id, "withdrawn")]
    assert (await desk.wait(ticket, 5)) is not None
    assert not desk.decide(said(ticket.id))


async def test_who_left_may_come_back(
    spool: SpoolWriter, written: Callable[[], list[ProposalEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question without anybody stays a moment: else one who comes and goes makes cards as fast as that."""
    later: list[Callable[[], None]] = []
    monkeypatch.setattr(
        asyncio.get_running_loop(), "call_later", lambda _, work, *given: later.append(lambda: work(*given))
    )
    desk = Desk(spool)
    ticket = desk.ask(question())
    desk.leave(ticket, "gone")
    assert desk.ask(question()) is ticket, "it is on the desk still"
    desk.leave(ticket, "gone again")
    assert [event.action for event in written()] == ["open"]
    later[0]()
    assert ticket.outcome is None, "there was somebody since"
    ticket.waiters = 1
    later[1]()
    assert ticket.outcome is None, "there is somebody now"
    ticket.waiters = 0
    later[1]()
    assert [event.action for event in written()] == ["open", "withdrawn"]
    assert ticket.outcome is not None


async def test_an_expired_question_makes_room_and_a_late_yes_is_none(spool: SpoolWriter) -> None:
    desk = Desk(spool)
    late, unseen = desk.ask(question("late", seconds=0.05)), desk.ask(question("unseen", seconds=0.05))
    await desk.wait(late, 0.05)
    await asyncio.sleep(0.1)
    assert desk.open_count == 0
    outcome = await desk.wait(late, 30)
    assert outcome is not None
    assert outcome.state == "expired"
    for ticket in (late, unseen):
        assert not desk.decide(said(ticket.id)), "who asked was refused"
        assert desk.decide(said(ticket.id, "expired"))
        assert ticket.outcome is not None
        assert ticket.outcome.state == "expired"


async def test_a_late_decision_without_a_sweep_is_late(spool: SpoolWriter) -> None:
    desk = Desk(spool)
    ticket = desk.ask(question("late", seconds=0.0))
    assert not desk.decide(said(ticket.id))
    assert ticket.outcome is not None
    assert ticket.outcome.state == "expired"


async def test_access_that_was_given_late_is_told(spool: SpoolWriter) -> None:
    """It is in the routes by then."""
    desk = Desk(spool)
    ticket = desk.ask(Question("egress-allow", "k", time.time(), routes=()))
    assert desk.decide(said(ticket.id))
    assert ticket.outcome is not None
    assert ticket.outcome.state == "approved"


async def test_questions_that_are_answered_in_a_moment_are_bounded_too(
    spool: SpoolWriter, written: Callable[[], list[ProposalEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is allowed already is answered without the operator, and each answer is on record for good."""
    clock = [0.0]
    monkeypatch.setattr("sidecar.supervise.desk.time.monotonic", lambda: clock[0])
    desk, asked = Desk(spool), 0
    for number in range(3 * BURST):
        with contextlib.suppress(TooMany):
            desk.decide(said(desk.ask(question(f"n{number}")).id))
            asked += 1
    assert asked == BURST == len(written())
    clock[0] += 2 * EVERY_SECONDS
    kept = desk.ask(question("later"))
    assert desk.ask(question("later")) is kept, "who joins asks nothing new"
    desk.ask(question("last"))
    with pytest.raises(TooMany, match="one more each 30 seconds"):
        desk.ask(question("one more"))


async def test_caps(spool: SpoolWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.supervise.desk.BURST", 10 * MAX_DECIDED)
    desk = Desk(spool)
    tickets = [desk.ask(question(f"k{number}")) for number in range(MAX_OPEN)]
    with pytest.raises(TooMany):
        desk.ask(question("more"))
    assert desk.ask(question("k3")) is tickets[3]
    waiting = [spawn(desk.wait(tickets[0], 30), name="wait") for _ in range(64)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany):
        await desk.wait(tickets[0], 30)
    desk.decide(said(tickets[0].id))
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    for number in range(2 * MAX_DECIDED):
        desk.decide(said(desk.ask(question(f"n{number}")).id))
    assert desk.find(tickets[0].id) is None
    assert desk.open_count == MAX_OPEN - 1


async def test_what_cannot_be_recorded_is_not_asked(
    spool: SpoolWriter, written: Callable[[], list[ProposalEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(spool)
    big = Question("egress-allow", "k", time.time() + 60, justification="\u2028" * 2000, routes=())
    desk.ask(big)
    with pytest.raises(TooLarge):
        desk.ask(Question("egress-allow", "big", time.time() + 60, routes=_many()))
    monkeypatch.setattr(spool, "ready", lambda: False)
    with pytest.raises(NotRecorded):
        desk.ask(question("other"))
    assert desk.open_count == 1
    assert len(written()) == 1
    assert spool.lost == 0


def _many() -> tuple[object, ...]:
    from sidecar.contract import Route

    return tuple(Route(host=f"{'a' * 60}.{'b' * 60}.h{number}.example") for number in range(400))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "decide", "withdraw"]), st.integers(0, 5), st.sampled_from(["approved", "rejected"])
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_a_question_is_settled_once(actions: list[tuple[str, int, str]]) -> None:
    class Lines:
        """A spool in memory."""

        def ready(self) -> bool:
            return True

        def write(self, event: dict[str, object]) -> None:
            events.append(event)

    events: list[dict[str, object]] = []
    desk = Desk(Lines())  # type: ignore[arg-type]
    tickets: dict[str, object] = {}
    for action, number, state in actions:
        if action == "ask":
            ticket = desk.ask(question(f"k{number}"))
            tickets.setdefault(ticket.id, None)
            continue
        for one in list(tickets):
            found = desk.find(one)
            assert found is not None
            if found.question.content_key != f"k{number}":
                continue
            before = found.outcome
            if action == "decide":
                assert desk.decide(said(one, state)) == (before is None or before.state == state)
            else:
                desk.withdraw(found)
            assert found.outcome is not None
            assert before is None or found.outcome is before
    opened = [event["proposal_id"] for event in events if event["action"] == "open"]
    assert len(opened) == len(set(opened)) == len(tickets)
