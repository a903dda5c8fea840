"""What the store lets go, and what it never does: sums, tallies, audit rows, what waits for an answer."""

import asyncio
import itertools
import signal
import sqlite3
import subprocess
import sys
import tempfile
import typing
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.journal import times_of
from app.core.schema import Keep
from app.core.usage import Intent, Metrics, UsageRow
from app.store import pruning
from app.store.base import Decided, EventQuery, NewEvent, Position, ProposalRow
from app.store.chain import AuditRow
from app.store.connection import migrate, prepare
from app.store.metering import Metering, SumQuery
from app.store.migrations import MIGRATIONS
from app.store.pruning import DAY, LINE, PASSED, Pruned, Pruner
from app.store.sqlite import SqliteStore
from sidecar.contract import EgressEvent

NOW = 1_800_000_000.0
ALL = Keep.model_validate("all")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PAUSE", 0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state" / "carboy.db")
    await made.open()
    yield made
    await made.close()


_numbers = itertools.count()


def line(decision: str = PASSED, *, days: float = 0.0, more: int = 0, size: int = 0, phase: str = "closed") -> NewEvent:
    """One of `days` ago that stands for `more` others."""
    payload: dict[str, Any] = {"phase": phase, "decision": decision, "code": "c", "path": "x" * size}
    if more:
        payload["detail"] = {"count": more}
    kind = "egress" if decision else "notice"
    return NewEvent(f"e{next(_numbers)}", NOW - days * DAY, kind, payload, decision, "a.example")


def answer(number: int, *, days: float = 0.0, billable: bool = True) -> UsageRow:
    return UsageRow(
        f"r{number}.0", f"r{number}", NOW - days * DAY, "claude", model="sonnet", input=100 if billable else 0,
        output=10 if billable else 0, cost_nano=7, billable=billable, fault="" if billable else "no",
    )  # fmt: skip


async def lines(store: SqliteStore, **query: Any) -> list[str]:
    return [event.data["decision"] for event in await store.events(EventQuery(limit=5000, **query))]


def counted(path: Path) -> tuple[Any, Any]:
    """What is counted of lines, and what is there."""
    with closing(sqlite3.connect(path)) as db:
        told = db.execute("SELECT session_id, decision, lines, size FROM event_counts WHERE lines OR size").fetchall()
        sql = "SELECT session_id, decision, count(*), sum(length(payload)) FROM events GROUP BY 1, 2"
        return sorted(told), sorted(db.execute(sql).fetchall())


# --- lines --------------------------------------------------------------------------------------------------------


def test_every_decision_is_of_one_kind() -> None:
    annotation = EgressEvent.model_fields["decision"].annotation
    assert {PASSED, *pruning.OTHERS} == {"", *typing.get_args(annotation)}


async def test_what_passed_goes_first_by_age(store: SqliteStore) -> None:
    made = [line("deny", days=400), line(days=31), line("deny", days=31), line("", days=31), line(days=29)]
    await store.add_events("dev", "s1", made)
    assert await store.prune(NOW, (), Keep()) == Pruned(lines=2)
    assert await lines(store) == ["deny", "", PASSED]
    assert await store.counts("s1") == {PASSED: 2, "deny": 2}
    assert await store.dropped(slug="dev") == await store.dropped(session_id="s1") == 2
    assert await store.dropped(slug="dev", decision="blocked") == 1
    assert await store.dropped(slug="ops") == 0


async def test_lines_of_the_future_do_not_keep_the_old_behind_them(store: SqliteStore) -> None:
    """A clock was wrong by a year for a while: more lines than are looked at at once."""
    await store.add_events("dev", "s1", [line(days=-300) for _ in range(pruning.STEP + 100)])
    await store.add_events("dev", "s1", [line(days=31) for _ in range(pruning.STEP + 100)])
    await store.add_events("dev", "s1", [line(days=1) for _ in range(3)])
    assert await store.prune(NOW, (), Keep()) == Pruned(lines=pruning.STEP + 100)
    assert len(await lines(store)) == pruning.STEP + 103


async def test_the_file_shrinks_where_most_of_it_is_free(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state" / "carboy.db"
    await store.add_events("dev", "s1", [line(days=40, size=10_000) for _ in range(400)])
    await store.add_events("dev", "s1", [line("deny", size=10_000) for _ in range(20)])
    await store.ingest("dev", "s1", [], None, Metering(("global",), (), [answer(1)]))
    await store.prune(NOW, (), Keep())
    await store.checkpoint()
    assert file.stat().st_size > 4_000_000
    assert await store.shrink() == 0, "a few megabytes are not worth the while"
    monkeypatch.setattr(pruning, "LEAST_FREE", 1_000_000)
    monkeypatch.setattr(pruning, "MOST_LEFT", 1000)
    assert await store.shrink() == 0, "nobody waits for much to be written anew"
    monkeypatch.setattr(pruning, "MOST_LEFT", 10_000_000)
    assert await store.shrink() > 3_000_000
    assert file.stat().st_size < 1_000_000
    assert await store.shrink() == 0
    assert await lines(store) == ["deny"] * 20
    assert [row.event_id for _, row in await store.usage_rows()] == ["r1.0"]
    told, there = counted(file)
    assert told == there


async def test_all_is_kept_where_the_operator_says_so(store: SqliteStore) -> None:
    await store.add_events("dev", "s1", [line(days=4000, size=5000) for _ in range(50)])
    await store.ingest("dev", "s1", [], None, Metering(("global",), (), [answer(1, days=4000)]))
    assert await store.prune(NOW, (), ALL) == Pruned()
    assert len(await lines(store)) == 50


async def test_a_flood_of_one_kind_pushes_out_its_own_oldest_alone(store: SqliteStore, tmp_path: Path) -> None:
    await store.add_events("dev", "s1", [line("deny"), *(line(size=1000) for _ in range(200)), line("deny")])
    await store.add_events("dev", "s2", [line(size=1000) for _ in range(20)])
    await store.prune(NOW, (), Keep(session=100_000))
    assert len(await lines(store, session_id="s2")) == 20
    rest = await lines(store, session_id="s1")
    assert rest.count("deny") == 2
    assert 60 < rest.count(PASSED) <= 100_000 // 1300
    assert await store.counts("s1") == {PASSED: 200, "deny": 2}
    seqs = [event.seq for event in await store.events(EventQuery(session_id="s1", decision=PASSED))]
    assert seqs[-1] == 201
    assert seqs == list(range(seqs[0], 202)), "the newest stay"
    assert await store.prune(NOW, (), Keep(session=100_000)) == Pruned(), "there is room until the next flood"


async def test_all_sessions_together_are_bounded_and_what_was_refused_stays_longest(store: SqliteStore) -> None:
    for name in "abcd":
        await store.add_events(name, name, [*(line(size=1000) for _ in range(40)), line("deny", size=1000)])
    await store.prune(NOW, (), Keep(size=60_000))
    assert await lines(store, decision="deny") == ["deny"] * 4
    left = await store.events(EventQuery())
    assert {event.slug for event in left if event.data["decision"] == PASSED} == {"d"}
    await store.prune(NOW, (), Keep(size=4000))
    assert [event.slug for event in await store.events(EventQuery())] == ["d", "d"]
    assert await lines(store) == [PASSED, "deny"]


async def test_refusals_of_many_sessions_do_not_push_out_what_passed(store: SqliteStore) -> None:
    await store.add_events("mine", "mine", [line() for _ in range(10)])
    for name in "abcdefgh":
        await store.add_events(name, name, [line("deny", size=1000) for _ in range(50)])
    await store.prune(NOW, (), Keep(size=50_000))
    left = await lines(store)
    assert left.count(PASSED) == 10
    assert 10 < left.count("deny") < 20


async def test_nobody_who_writes_waits_for_more_than_one_step(store: SqliteStore, tmp_path: Path) -> None:
    await store.add_events("dev", "s1", [line(days=40) for _ in range(2200)])
    steps: list[int] = []

    async def write[T](work: Callable[[sqlite3.Connection], T]) -> T:
        def measured(db: sqlite3.Connection) -> T:
            before = db.execute("SELECT count(*) FROM events").fetchone()[0]
            done = work(db)
            steps.append(before - db.execute("SELECT count(*) FROM events").fetchone()[0])
            return done

        if len(steps) == 1:
            await store.add_events("ops", "s2", [line("deny")])  # comes between
        return await store._writing(measured)

    gone = await Pruner(store._reading, write, Keep(), NOW).run(())
    assert gone == Pruned(lines=2200)
    assert max(steps) <= pruning.STEP
    assert await lines(store) == ["deny"]


async def test_the_file_stops_growing_under_a_flood(store: SqliteStore, tmp_path: Path) -> None:
    sizes: list[int] = []
    for _ in range(12):
        for _ in range(4):
            await store.add_events("dev", "s1", [line("deny", size=800) for _ in range(500)])
        await store.prune(NOW, (), Keep(session=1_000_000))
        await store.checkpoint()
        sizes.append((tmp_path / "state" / "carboy.db").stat().st_size)
    assert sizes[-1] <= sizes[3] * 1.1, sizes
    assert (await store.counts("s1")) == {"deny": 24_000}
    assert await store.last_seq() == 24_000, "numbers are never given twice"


async def test_counts_of_an_older_database_are_made_from_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "state" / "carboy.db"
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, path, MIGRATIONS[:8])
        names = "event_id, session_id, slug, at, kind, decision, payload"
        sql = f"INSERT INTO events ({names}) VALUES (?, 's1', 'd', 1, ?, ?, ?)"
        rows = [
            ("1", "egress", "allow", '{"phase":"closed"}'),
            ("2", "egress", "allow", '{"phase":"open"}'),
            ("3", "egress", "allow", '{"phase":"closed","detail":{"count":4}}'),
            ("4", "egress", "deny", '{"phase":"closed","detail":{"count":-4}}'),
            ("5", "notice", "", '{"phase":"closed"}'),
        ]
        db.executemany(sql, rows)
    prepare(path).close()
    store = SqliteStore(path)
    await store.open()
    assert await store.counts("s1") == {"allow": 6, "deny": 1}
    await store.close()
    told, there = counted(path)
    assert told == there


# --- everything at once ---------------------------------------------------------------------------------------------

_line = st.builds(
    line,
    st.sampled_from([PASSED, *pruning.OTHERS]),
    days=st.floats(0, 500),
    more=st.integers(0, 50),
    size=st.integers(0, 400),
    phase=st.sampled_from(["open", "closed"]),
)
_row = st.builds(answer, st.integers(0, 30), days=st.floats(0, 500), billable=st.booleans())
_session = st.sampled_from(["s1", "s2", "s3"])
_batch = st.tuples(_session, st.lists(_line, max_size=30), st.lists(_row, max_size=10))
_keep = st.builds(
    Keep,
    days=st.none() | st.integers(1, 500),
    refused_days=st.none() | st.integers(1, 500),
    session=st.none() | st.integers(100, 10_000),
    size=st.none() | st.integers(100, 20_000),
)


async def sums(store: SqliteStore) -> Any:
    """All that budgets, `carboy usage` and the bottles' totals are made of."""
    return (
        await store.sums(SumQuery(scope="global", by_model=True, step=900)),
        await store.sums(SumQuery(scopes_of="launch:", by_model=True, step=900)),
        await store.metrics(),
        [await store.counts(name) for name in ("s1", "s2", "s3")],
        [await store.intents(name) for name in ("s1", "s2", "s3")],
        [await store.position(name) for name in ("s1", "s2", "s3")],
        await store.audit(),
        await store.proposals(state="pending"),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(_batch, max_size=8), _keep, st.sets(_session))
def test_whatever_goes_sums_stay_and_bounds_hold(batches: Any, keep: Keep, kept: set[str]) -> None:
    async def work(path: Path) -> None:
        store = SqliteStore(path)
        await store.open()
        seen: dict[str, int] = {}
        for number, (name, events, rows) in enumerate(batches):
            scopes = (f"launch:{name}", "global")
            metering = Metering(scopes, [Intent(f"lost{number}", NOW - 400 * DAY, "claude")], rows)
            await store.ingest("dev", name, events, Position(1, number + 1), metering)
            await store.save_metrics(Metrics(session_id=name, slug="dev", project="/p", agent=None))
            seen[name] = seen.get(name, 0) + sum(
                times_of(one.payload) for one in events if one.kind == "egress" and one.payload["phase"] == "closed"
            )
        await store.append_audit(AuditRow(1, 1.0, "a", "", "dev", "s1", {}, "t"))
        await store.add_proposal(ProposalRow("p-old", "dev", "s1", "egress-allow", "pending", 1.0, {}))
        before, were = await sums(store), await store.events(EventQuery(limit=5000))
        rows_were = await store.usage_rows(limit=5000)
        gone = await store.prune(NOW, kept, keep)
        assert await sums(store) == before
        for name, times in seen.items():
            assert sum((await store.counts(name)).values()) == times
        left = await store.events(EventQuery(limit=5000))
        assert {event.seq for event in left} <= {event.seq for event in were}
        assert len(were) - len(left) == gone.lines == await store.dropped()
        for days, passed in ((keep.days, True), (keep.refused_days, False)):
            young = [event for event in were if days is None or event.at >= NOW - days * DAY]
            if keep.session is None and keep.size is None:  # then only the old goes
                mine = {event.seq for event in young if (event.data["decision"] == PASSED) == passed}
                assert mine <= {event.seq for event in left}
        rows_left = await store.usage_rows(limit=5000)
        lost = [row for _, row in rows_were if row not in [one for _, one in rows_left]]
        assert len(rows_were) - len(rows_left) == gone.usage
        assert all(keep.days is not None and row.at < NOW - keep.days * DAY for row in lost)
        again = await store.prune(NOW, kept, keep)
        assert (again.lines, again.usage) == (0, 0)
        await store.close()
        told, there = counted(path)
        assert told == there
        whole = sum(size + number * LINE for _, _, number, size in there)
        assert keep.size is None or whole <= keep.size
        for name in seen if keep.session is not None else ():
            mine = [row for row in there if row[0] == name]
            for passed in (True, False):
                kind = sum(size + number * LINE for _, decision, number, size in mine if (decision == PASSED) == passed)
                assert kind <= (keep.session or 0)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(work(Path(folder) / "carboy.db"))


# --- usage ----------------------------------------------------------------------------------------------------------


async def test_rows_of_sessions_that_may_go_on_stay(store: SqliteStore) -> None:
    for name in ("gone", "kept"):
        rows = [answer(1, days=40), answer(2, days=1)]
        await store.ingest("dev", name, [], None, Metering((f"launch:{name}", "global"), (), rows))
    before = await store.sums(SumQuery(scope="global"))
    assert await store.prune(NOW, {"kept"}, Keep()) == Pruned(usage=1)
    assert [row.event_id for _, row in await store.usage_rows(session_id="gone")] == ["r2.0"]
    assert len(await store.usage_rows(session_id="kept")) == 2
    assert await store.sums(SumQuery(scope="global")) == before
    again = await store.ingest("dev", "kept", [], None, Metering(("global",), (), [answer(1, days=40)]))
    assert again.counted == (), "what is kept is not counted twice"


async def test_calls_of_a_session_that_runs_are_bounded_but_those_that_may_be_bettered(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "CALLS", 5)
    rows = [answer(number, days=number / 100, billable=number % 2 == 0) for number in range(40)]
    rows[30] = replace(rows[30], response_id="resp")
    intent = Intent("lost", NOW - DAY, "claude", model="sonnet", input=5)
    await store.ingest("dev", "s1", [], None, Metering(("global",), [intent], rows))
    await store.settle_intents("s1", "dev", ("global",), ["lost"], [None])
    before = await store.sums(SumQuery(scope="global", by_model=True))
    assert await store.prune(NOW, {"s1"}, Keep()) == Pruned(usage=34)
    left = [row.request_id for _, row in await store.usage_rows()]
    assert sorted(left) == sorted(["lost", "r30", "r4", "r3", "r2", "r1", "r0"])
    late = replace(answer(77), event_id="lost.0", request_id="lost")
    better = replace(answer(78, days=30 / 100), response_id="resp", output=50)
    done = await store.ingest("dev", "s1", [], None, Metering(("global",), (), [late, better]))
    assert [item.sign for item in done.counted] == [-1, 1, -1, 1]
    (total,) = await store.sums(SumQuery(scope="global"))
    assert total.sum.requests == sum(item.sum.requests for item in before)


# --- proposals ------------------------------------------------------------------------------------------------------


async def ask(store: SqliteStore, number: int, state: str, by: str, *, days: float = 0.0, session: str = "s1") -> None:
    """A question, and the answer that it got so many days ago."""
    made = ProposalRow(f"{session}-{number:06}", "dev", session, "egress-allow", "pending", NOW - 500 * DAY, {})
    await store.add_proposal(replace(made, content_key=f"k{number}"))
    if state != "pending":
        row = AuditRow(len(await store.audit(limit=5000)) + 1, NOW, "proposal", by, "dev", session, {}, "t")
        await store.decide_proposal(made.id, Decided(state, NOW - days * DAY, by, "why"), row)


async def test_questions_that_nobody_answered_are_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "QUESTIONS", 3)
    for number in range(8):
        await ask(store, number, "withdrawn" if number % 2 else "expired", "carboy", days=(8 - number) / 100)
    for number in range(10, 14):
        await ask(store, number, "rejected", "ann", days=400)
    await ask(store, 14, "pending", "")
    assert await store.prune(NOW, {"s1"}, Keep()) == Pruned(proposals=5)
    left = [row.id for row in await store.proposals()]
    assert left == [f"s1-{number:06}" for number in (5, 6, 7, 10, 11, 12, 13, 14)]
    assert [asker.id for asker in await store.untold("s1")] == left[:-1]
    assert len(await store.audit()) == 12


async def test_answers_of_sessions_that_are_gone_stay_a_year(store: SqliteStore) -> None:
    for session in ("gone", "kept"):
        await ask(store, 1, "approved", "ann", days=366, session=session)
        await ask(store, 2, "rejected", "ann", days=364, session=session)
        await ask(store, 3, "pending", "", session=session)
    assert await store.prune(NOW, {"kept"}, Keep()) == Pruned(proposals=1)
    assert await store.proposal("gone-000001") is None
    assert len(await store.proposals()) == 5
    assert len(await store.audit()) == 4


async def test_what_waits_stays_whatever_else_its_row_says(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(3):
        await ask(store, number, "pending", "")
    with closing(sqlite3.connect(tmp_path / "state" / "carboy.db")) as db, db:
        db.execute("UPDATE proposals SET decided_by = 'carboy', decided_at = ?", (NOW - 400 * DAY,))
    assert await store.prune(NOW, (), Keep()) == Pruned()
    assert len(await store.proposals(state="pending")) == 3


# --- kill -9 ----------------------------------------------------------------------------------------------------------

_PRUNER = """
import asyncio, sys
from pathlib import Path
from app.core.schema import Keep
from app.store.pruning import Pruner
from app.store.sqlite import SqliteStore
async def main():
    store = SqliteStore(Path(sys.argv[1])); await store.open()
    async def write(work):
        done = await store._writing(work)
        print("step", flush=True)
        return done
    await Pruner(store._reading, write, Keep(), float(sys.argv[2])).run(())
asyncio.run(main())
"""


async def test_kill_9_in_the_middle_loses_nothing_but_what_was_to_go(tmp_path: Path) -> None:
    path = tmp_path / "state" / "carboy.db"
    store = SqliteStore(path)
    await store.open()
    for _ in range(20):
        await store.add_events("dev", "s1", [line(days=40, more=2) for _ in range(1000)])
    await store.add_events("dev", "s1", [line("deny")])
    await store.close()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _PRUNER, str(path), str(NOW)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True)
    assert child.stdout is not None
    for _ in range(5):
        assert child.stdout.readline() == "step\n"
    child.send_signal(signal.SIGKILL)
    child.stdout.close()
    child.wait()
    told, there = counted(path)
    assert told == there
    left = sum(number for _, _, number, _ in there)
    assert 1 < left <= 20_001 - 5 * pruning.STEP
    store = SqliteStore(path)
    await store.open()
    assert await store.dropped() == 20_001 - left
    assert await store.counts("s1") == {PASSED: 60_000, "deny": 1}
    assert (await store.prune(NOW, (), Keep())).lines == left - 1
    assert await lines(store) == ["deny"]
    await store.close()
