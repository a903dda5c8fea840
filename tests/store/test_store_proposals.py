"""Proposals in the store: kept once, joined while pending, decided once whoever races, told once."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import CarboyError, NotFound
from app.store.base import Decided, ProposalRow, Store
from app.store.chain import AuditRow
from app.store.connection import prepare
from app.store.migrations import MIGRATIONS
from app.store.review_tables import REVIEWS
from app.store.sqlite import SqliteStore

ENGINES = [SqliteStore]


def row(identity: str = "p-000001", **more: Any) -> ProposalRow:
    base = ProposalRow(identity, "dev", "s1", "egress-allow", "pending", 1.0, {"routes": [{"host": "a.example"}]})
    return replace(base, **more)


def said(state: str, by: str = "ann") -> Decided:
    return Decided(state, 2.0, by, "why", "session", {"diff": ["+x"]}, 1.5)


def line(number: int = 1) -> AuditRow:
    """The audit row of a decision."""
    return AuditRow(number, 2.0, "proposal-decided", "ann", "dev", "s1", {"number": number}, f"tag{number}")


async def decide(store: Store, identity: str, decided: Decided) -> ProposalRow:
    """As the only writer of the chain does, which knows the last row."""
    return await store.decide_proposal(identity, decided, line(len(await store.audit()) + 1))


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    engine = request.param(tmp_path / "state" / "carboy.db")
    await engine.open()
    yield engine
    await engine.close()


async def test_a_proposal_is_kept_once(store: Store) -> None:
    kept = await store.add_proposal(row(justification="why not"))
    again = await store.add_proposal(row(justification="forged"))
    assert kept == again == await store.proposal("p-000001")
    assert kept.justification == "why not"
    assert kept.asked == 1
    assert await store.proposals(slug="dev", state="pending") == [kept]
    assert await store.proposals(state="approved") == []


async def test_the_same_question_joins_the_one_that_is_pending(store: Store) -> None:
    first = await store.add_proposal(row(content_key="k", expires_at=10.0))
    joined = await store.add_proposal(row("p-000002", content_key="k", expires_at=50.0))
    assert (joined.id, joined.asked, joined.expires_at) == (first.id, 2, 50.0)
    assert (await store.proposal("p-000002")) == joined
    longest = await store.add_proposal(row("p-000003", content_key="k", expires_at=None))
    assert longest.expires_at is None
    other = await store.add_proposal(row("p-000004", content_key="k", session_id="s2"))
    assert other.id == "p-000004"
    await decide(store, first.id, said("rejected"))
    assert [asker.id for asker in await store.untold("s1")] == ["p-000001", "p-000002", "p-000003"]
    await store.told("p-000001")
    anew = await store.add_proposal(row("p-000005", content_key="k"))
    assert anew.id == "p-000005"
    assert [asker.id for asker in await store.untold("s1")] == ["p-000002", "p-000003"]


async def test_a_question_that_comes_again_only_waits_longer(store: Store) -> None:
    await store.add_proposal(row(content_key="k", expires_at=10.0))
    await store.add_proposal(row("p-000002", content_key="k", expires_at=20.0))
    for until, now in ((50.0, 50.0), (30.0, 50.0)):
        again = await store.add_proposal(row("p-000002", content_key="k", expires_at=until))
        assert (again.id, again.asked, again.expires_at) == ("p-000001", 2, now)
    await decide(store, "p-000001", said("expired"))
    after = await store.add_proposal(row(content_key="k", expires_at=99.0))
    assert (after.state, after.expires_at) == ("expired", 50.0)


async def test_an_answer_that_reached_nobody_is_joined_by_the_next(store: Store) -> None:
    await store.add_proposal(row(content_key="k", expires_at=10.0))
    await decide(store, "p-000001", said("rejected"))
    await store.told("p-000001", known=False)
    assert await store.untold("s1") == []
    again = await store.add_proposal(row("p-000002", content_key="k", expires_at=99.0))
    assert (again.id, again.state, again.expires_at) == ("p-000001", "rejected", 10.0)
    assert [asker.id for asker in await store.untold("s1")] == ["p-000002"]
    await store.told("p-000002")
    for other in (row("p-000003", content_key="k"), row("p-000004", content_key="k", kind="egress-block")):
        assert (await store.add_proposal(other)).id == other.id


async def test_without_a_key_nothing_is_joined(store: Store) -> None:
    await store.add_proposal(row())
    assert (await store.add_proposal(row("p-000002"))).id == "p-000002"


async def test_another_bottles_id_cannot_be_taken(store: Store) -> None:
    await store.add_proposal(row())
    with pytest.raises(CarboyError):
        await store.add_proposal(row(session_id="s2"))
    assert len(await store.proposals()) == 1


async def test_of_two_who_race_one_is_told_who_won(store: Store) -> None:
    await store.add_proposal(row())
    ends = await asyncio.gather(
        *(store.decide_proposal("p-000001", said("approved", f"user{number}"), line()) for number in range(8)),
        return_exceptions=True,
    )
    won = [end for end in ends if isinstance(end, ProposalRow)]
    lost = [end for end in ends if isinstance(end, CarboyError)]
    assert len(won) == 1
    assert len(lost) == 7
    assert all(error.code == "already_decided" and won[0].decided_by in error.message for error in lost)
    kept = await store.proposal("p-000001")
    assert kept == won[0]
    assert kept.outcome == {"diff": ["+x"]}


async def test_unknown_ids(store: Store) -> None:
    assert await store.proposal("nobody") is None
    with pytest.raises(NotFound):
        await store.decide_proposal("nobody", said("approved"), line())


async def test_a_fault_is_shown_while_it_waits(store: Store) -> None:
    await store.add_proposal(row())
    await store.fault_proposal("p-000001", "sidecar down")
    assert (await store.proposals())[0].error == "sidecar down"
    decided = await decide(store, "p-000001", said("approved"))
    await store.fault_proposal("p-000001", "late")
    assert decided.error == (await store.proposals())[0].error == ""


async def test_who_leaves_and_who_is_told(store: Store) -> None:
    await store.add_proposal(row(content_key="k"))
    await store.add_proposal(row("p-000002", content_key="k"))
    assert not await store.leave_proposal("p-000001")
    assert await store.leave_proposal("p-000002")
    assert await store.untold("s1") == []
    await decide(store, "p-000001", said("approved"))
    first, second = await store.untold("s1")
    assert (first.proposal_id, first.state, first.reason, first.scope) == ("p-000001", "approved", "why", "session")
    await store.told(first.id)
    assert await store.untold("s1") == [second]


ACTS = st.lists(
    st.tuples(st.sampled_from(("add", "approve", "reject", "leave", "crash")), st.sampled_from(("p-1", "p-2", "p-3"))),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS)
def test_whatever_happens_a_decision_stays(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str]]
) -> None:
    """Random questions, answers and restarts: what was decided once never changes, and nothing is lost."""

    async def run() -> None:
        path = tmp_path_factory.mktemp("db") / "state" / "carboy.db"
        engine = SqliteStore(path)
        await engine.open()
        decided: dict[str, str] = {}
        added: set[str] = set()
        for number, (act, name) in enumerate(acts):
            if act == "crash":
                await engine.close()
                engine = SqliteStore(path)
                await engine.open()
            elif act == "add":
                await engine.add_proposal(row(name, content_key="same"))
                added.add(name)
            elif act == "leave":
                await engine.leave_proposal(name)
            else:
                found = await engine.proposal(name)
                try:
                    end = await decide(
                        engine,
                        found.id if found else name,
                        said({"approve": "approved"}.get(act, "rejected"), f"user{number}"),
                    )
                except CarboyError:
                    assert found is None or found.id in decided
                else:
                    assert end.id not in decided
                    decided[end.id] = end.decided_by
        rows = {item.id: item for item in await engine.proposals()}
        assert {name: rows[name].decided_by for name in decided} == decided
        assert sum(item.asked for item in rows.values()) == len(added)
        await engine.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["egress-allow", "egress-block", "egress-token-allow", "gitleaks-allow", "git-push"])
async def test_every_kind_is_kept(store: Store, kind: str) -> None:
    assert (await store.add_proposal(row(kind=kind))).kind == kind


async def test_proposals_of_an_older_database_stay(tmp_path: Path) -> None:
    """The table is made anew for one more kind: what was in it, and who asked, is there afterwards."""
    path = tmp_path / "carboy.db"
    with prepare(path, MIGRATIONS[:6]) as old:
        for identity, state in (("p-000001", "approved"), ("p-000002", "pending")):
            old.execute(
                "INSERT INTO proposals (id, slug, session_id, kind, state, created_at, payload) "
                "VALUES (?, 'dev', 's1', 'gitleaks-allow', ?, 1.0, '{}')",
                (identity, state),
            )
            old.execute("INSERT INTO proposal_askers VALUES (?, ?, 's1', 1.0, 0, 0)", (identity, identity))
    old.close()
    new = SqliteStore(path)
    await new.open()
    try:
        assert [found.state for found in await new.proposals()] == ["approved", "pending"]
        assert [asker.id for asker in await new.untold("s1")] == ["p-000001"]
        await new.add_proposal(row("p-000003", kind="git-push"))
    finally:
        await new.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA foreign_keys=ON")
        for statement in REVIEWS:
            raw.execute(statement)
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        assert raw.execute("SELECT count(*) FROM proposals").fetchone() == (3,)
        assert raw.execute("SELECT count(*) FROM proposal_askers").fetchone() == (3,)
    raw.close()


async def test_a_decision_and_its_audit_row_are_written_both_or_neither(store: Store) -> None:
    await store.add_proposal(row())
    with pytest.raises(CarboyError) as caught:
        await store.decide_proposal("p-000001", said("approved"), line(2))
    assert caught.value.code == "audit_order"
    assert [found.state for found in await store.proposals()] == ["pending"]
    await store.decide_proposal("p-000001", said("approved"), line(1))
    with pytest.raises(CarboyError) as caught:
        await store.decide_proposal("p-000001", said("rejected"), line(2))
    assert caught.value.code == "already_decided"
    assert await store.audit() == [line(1)]
