"""The store's contract for usage: rows once, sums that agree with them, intents, metrics, the operator's budgets."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.controller.metering import cost_of_lost
from app.core.model import Sum
from app.core.schema import Amount
from app.core.usage import BUCKET, Intent, Metrics, Progress, UsageRow, total
from app.core.windows import Gauge
from app.store import usage
from app.store.base import NewEvent, Position, Store
from app.store.metering import Metering, Override, SumQuery
from app.store.sqlite import SqliteStore

ENGINES = [SqliteStore]
SCOPES = ("launch:s1", "agent:writer", "global")


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    engine = request.param(tmp_path / "state" / "carboy.db")
    await engine.open()
    yield engine
    await engine.close()


def row(number: int, **more: object) -> UsageRow:
    made = UsageRow(
        event_id=f"r{number}.0", request_id=f"r{number}", at=1000.0 * number, provider="claude", model="sonnet",
        input=100, output=10, cache_read=1000, cache_write=5, cost_nano=7, status=200, tool_calls=1,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def batch(*rows: UsageRow, intents: tuple[Intent, ...] = (), scopes: tuple[str, ...] = SCOPES) -> Metering:
    return Metering(scopes, intents, rows)


async def whole(store: Store, scope: str = "global") -> Sum:
    return total(item.sum for item in await store.sums(SumQuery(scope=scope)))


async def test_a_row_counts_once_in_each_of_its_scopes(store: Store) -> None:
    first = await store.ingest("dev", "s1", [], Position(1, 1), batch(row(1), row(2)))
    again = await store.ingest("dev", "s1", [], Position(1, 2), batch(row(1), row(2, output=999)))
    assert [(item.row.event_id, item.sign) for item in first.counted] == [("r1.0", 1), ("r2.0", 1)]
    assert again.counted == ()
    for scope in SCOPES:
        found = await whole(store, scope)
        assert (found.requests, found.total, found.cost_nano, found.unpriced) == (2, 2230, 14, 0)
    other = await store.ingest("ops", "s2", [], None, batch(row(1), scopes=("launch:s2", "global")))
    assert len(other.counted) == 1, "another session's ids are its own"
    assert (await whole(store)).requests == 3
    assert (await whole(store, "agent:writer")).requests == 2


async def test_rows_events_and_position_are_one_transaction(store: Store) -> None:
    bad = NewEvent("e", 1.0, "notice", {"bad": object()})
    with pytest.raises(TypeError):
        await store.ingest("dev", "s1", [bad], Position(1, 9), batch(row(1)))
    assert await whole(store) == Sum()
    assert await store.position("s1") == Position()


async def test_an_unknown_price_is_no_zero(store: Store) -> None:
    await store.ingest("dev", "s1", [], None, batch(row(1), row(2, cost_nano=None)))
    found = await whole(store)
    assert (found.cost_nano, found.unpriced) == (7, 1115)


async def test_an_error_is_kept_and_costs_nothing(store: Store) -> None:
    failed = row(
        1, billable=False, input=0, output=0, cache_read=0, cache_write=0, fault="later", fault_kind="overloaded"
    )
    await store.ingest("dev", "s1", [], None, batch(failed))
    found = await whole(store)
    assert (found.requests, found.total, found.errors) == (0, 0, 1)
    ((slug, back),) = await store.usage_rows()
    assert (slug, back) == ("dev", failed)


async def test_an_announced_answer_that_never_came_is_estimated(store: Store) -> None:
    lost = Intent("r7", 50.0, "claude", model="sonnet", input=500, output=20)
    blind = Intent("r8", 60.0, "claude", known=False)
    await store.ingest("dev", "s1", [], None, batch(row(1), intents=(Intent("r1", 40.0, "claude"), lost, blind)))
    assert await store.intents("s1") == [lost, blind]
    counted = await store.settle_intents("s1", "dev", SCOPES, ["r7", "r8", "r9"], [11, None, None])
    assert [(item.row.estimated, item.row.unmetered, item.row.total) for item in counted] == [
        (True, False, 520),
        (False, True, 0),
    ]
    assert await store.intents("s1") == []
    found = await whole(store)
    assert (found.requests, found.total, found.estimated, found.unmetered, found.cost_nano) == (3, 1635, 1, 1, 18)
    assert await store.settle_intents("s1", "dev", SCOPES, ["r7"], [11]) == ()


async def test_how_far_an_answer_had_come_is_what_it_counts_for(store: Store) -> None:
    steps = (
        Progress("r1", 41.0, "sonnet", 700, 50),
        Progress("r1", 43.0, "", 700, 90),
        Progress("r2", 42.0, "x", 1, 1),
    )
    made = batch(row(2), intents=(Intent("r1", 40.0, "claude", input=500, output=1000, known=False),))
    await store.ingest("dev", "s1", [], None, replace(made, progress=steps))
    old = Metering(SCOPES, progress=(Progress("r1", 42.0, "old", 1, 1), Progress("r2", 99.0, "x", 5, 5)))
    await store.ingest("dev", "s1", [], None, old)
    assert await store.intents("s1") == [Intent("r1", 43.0, "claude", model="sonnet", input=700, output=90)]
    (counted,) = await store.settle_intents("s1", "dev", SCOPES, ["r1"])
    assert (counted.row.estimated, counted.row.complete, counted.row.total) == (True, False, 790)
    assert (await whole(store)).total == 1115 + 790


async def test_a_usage_that_comes_late_takes_the_place_of_its_estimate(store: Store) -> None:
    await store.ingest("dev", "s1", [], None, batch(intents=(Intent("r1", 40.0, "claude", input=9000),)))
    await store.settle_intents("s1", "dev", SCOPES, ["r1"])
    late = await store.ingest("dev", "s1", [], None, batch(row(1)))
    assert [item.sign for item in late.counted] == [-1, 1]
    found = await whole(store)
    assert (found.requests, found.total, found.estimated) == (1, 1115, 0)


async def test_an_intent_that_is_read_again_does_not_come_back(store: Store) -> None:
    intent = Intent("r1", 40.0, "claude", input=9000)
    await store.ingest("dev", "s1", [], None, batch(row(1), intents=(intent,)))
    await store.ingest("dev", "s1", [], None, batch(intents=(intent,)))
    assert await store.intents("s1") == []


async def test_the_same_answer_polled_twice_is_one_usage(store: Store) -> None:
    await store.ingest("dev", "s1", [], None, batch(row(1, response_id="resp", output=1)))
    await store.ingest("dev", "s1", [], None, batch(row(2, response_id="resp", output=10), row(3, response_id="resp")))
    await store.ingest("dev", "s1", [], None, batch(row(4, response_id="resp", model="other")))
    found = await whole(store)
    assert (found.requests, found.output) == (2, 20)
    await store.ingest("ops", "s2", [], None, batch(row(5, response_id="resp")))
    assert (await whole(store)).requests == 3, "one bottle hides nothing of another's"


async def test_a_polled_answer_takes_the_place_of_what_was_set_aside_for_it(store: Store) -> None:
    first = row(1, response_id="resp", input=50_000, unmetered=True, estimated=True)
    await store.ingest("dev", "s1", [], None, batch(first))
    await store.ingest("dev", "s1", [], None, batch(row(2, response_id="resp")))
    await store.ingest("dev", "s1", [], None, batch(replace(first, event_id="r3.0", request_id="r3")))
    found = await whole(store)
    assert (found.requests, found.total, found.unmetered) == (1, 1115, 0)


async def test_sums_by_model_time_and_scope(store: Store) -> None:
    base = 400_000 * BUCKET
    rows = [row(n, at=float(base + n * BUCKET), model="opus" if n == 3 else "sonnet") for n in range(1, 5)]
    await store.ingest("dev", "s1", [], None, batch(*rows))
    await store.ingest(
        "ops", "s2", [], None, batch(row(9, at=float(base), provider="codex"), scopes=("launch:s2", "global"))
    )
    by_model = await store.sums(SumQuery(scope="global", by_model=True))
    assert {(item.provider, item.model): item.sum.requests for item in by_model} == {
        ("claude", "sonnet"): 3, ("claude", "opus"): 1, ("codex", "sonnet"): 1,
    }  # fmt: skip
    stepped = await store.sums(SumQuery(scope="global", by_provider=False, step=2 * BUCKET))
    assert [(item.start - base, item.sum.requests) for item in stepped] == [(0, 2), (2 * BUCKET, 2), (4 * BUCKET, 1)]
    recent = await store.sums(
        SumQuery(scope="global", provider="claude", since=base + 3 * BUCKET, until=base + 4 * BUCKET)
    )
    assert [item.sum.requests for item in recent] == [1]
    launches = await store.sums(SumQuery(scopes_of="launch:"))
    assert {(item.scope, item.sum.requests) for item in launches} == {("launch:s1", 4), ("launch:s2", 1)}


async def test_minutes_of_one_session(store: Store) -> None:
    await store.ingest("dev", "s1", [], None, batch(row(1, at=600.0), row(2, at=659.0), row(3, at=660.0)))
    await store.ingest("ops", "s2", [], None, batch(row(1, at=600.0)))
    assert await store.minutes("s1", 0.0) == {10: 2230, 11: 1115}


async def test_session_metrics_add_up_and_a_hundred_of_a_project_stay(store: Store) -> None:
    await store.ingest("dev", "s1", [], None, batch(row(1), row(2, input=9000)))
    await store.save_metrics(
        Metrics(session_id="s1", slug="dev", project="/p", provider="claude", started=5.0, status="running")
    )
    await store.ingest("dev", "s1", [], None, batch(row(3, fault="broken off", fault_kind="network")))
    (found,) = await store.metrics(session_id="s1")
    assert (found.turns, found.peak_context, found.tool_calls, found.cost_nano, found.model) == (
        3,
        10005,
        3,
        21,
        "sonnet",
    )
    assert (found.project, found.status, found.error) == ("/p", "running", "broken off")
    for number in range(105):
        name = f"t{number}"
        await store.save_metrics(
            Metrics(session_id=name, slug=name, project="/p", started=10.0 + number, ended=20.0, status="ended")
        )
    kept = await store.metrics(project="/p", limit=500)
    assert [item.session_id for item in kept[:2]] == ["t104", "t103"]
    assert len(kept) == 101, "what runs is never pruned"
    assert await store.metrics(project="/elsewhere") == []


async def test_the_operators_budgets(store: Store) -> None:
    first = Override("global", "claude", Amount(tokens=5), 1.0, None, "me", "why")
    await store.save_override(first)
    second = replace(first, amount=Amount(usd=2.5, hard=True), until=9.0)
    await store.save_override(second)
    assert await store.overrides() == [second]
    assert await store.drop_override("global", "claude")
    assert not await store.drop_override("global", "claude")


async def test_marks_are_set_once(store: Store) -> None:
    assert await store.mark("global", "claude", 5.0, 50)
    assert not await store.mark("global", "claude", 5.0, 50)
    assert await store.mark("global", "claude", 6.0, 50)
    assert await store.mark("global", "claude", 5.0, 95)
    await store.unmark("global", "claude", 5.0, 60)
    assert await store.marks("global", "claude", 5.0) == (50,)


async def test_windows_are_remembered(store: Store) -> None:
    one = Gauge(provider="claude", name="5h", at=1.0, used=0.5, shares={"dev": 0.5})
    await store.save_gauges([one])
    await store.save_gauges([one.model_copy(update={"used": 0.6})])
    assert [item.used for item in await store.gauges()] == [0.6]


async def test_caches_of_a_lost_answer_stay_apart_and_have_their_own_price(store: Store) -> None:
    given = Intent("r1", 10.0, "claude", "api.anthropic.com", model="claude-sonnet-4-5", input=50_000, output=900)
    step = Progress("r1", 11.0, given.model, 100, 500, cache_read=40_000, cache_write=3_000, cache_write_1h=1_000)
    await store.ingest("dev", "s1", [], None, Metering(SCOPES, (given,), (), (step,)))
    late = Progress("r1", 10.5, given.model, 7, 7, cache_read=7)
    await store.ingest("dev", "s1", [], None, Metering(SCOPES, (), (), (late,)))
    (lost,) = await store.intents("s1")
    assert (lost.input, lost.output, lost.cache_read, lost.cache_write) == (100, 500, 40_000, 3_000)
    price = cost_of_lost(lost)
    # $3 and $15 a million, a tenth for what was read from the cache, 1.25 and 2 times for what was written
    assert price == pytest.approx((100 * 3 + 500 * 15 + 40_000 * 0.3 + 2_000 * 3.75 + 1_000 * 6) * 1000, rel=0.001)
    (counted,) = await store.settle_intents("s1", "dev", SCOPES, ["r1"], [price])
    assert (counted.row.context, counted.row.estimated, counted.row.complete) == (43_100, True, False)
    assert (await whole(store)).cost_nano == price
    await store.ingest("dev", "s1", [], None, Metering(SCOPES, (given,)))
    assert await store.intents("s1") == [], "settled once"


async def test_an_agent_that_makes_up_models_does_not_fill_the_sums(store: Store) -> None:
    """They are kept for good, in each scope and quarter of an hour."""
    await store.ingest("dev", "s1", [], None, batch(row(1, at=50.0)))
    for start in range(2, 202, 40):
        made = [row(number, at=50.0, model=f"made-up-{number}") for number in range(start, start + 40)]
        await store.ingest("dev", "s1", [], None, batch(*made))
    for scope in SCOPES:
        found = await store.sums(SumQuery(scope=scope, by_model=True))
        assert len(found) == usage.MODELS + 1
        assert "sonnet" in {item.model for item in found}
        assert [item.sum.requests for item in found if item.model == usage.OTHERS] == [201 - usage.MODELS]
        assert (await whole(store, scope)).requests == 201
    other = row(1, model="another", at=50.0)
    await store.ingest("ops", "s2", [], None, batch(other, scopes=("launch:s2", "global")))
    assert "another" in {item.model for item in await store.sums(SumQuery(scope="global", by_model=True))}


async def test_a_row_is_taken_out_of_the_sum_that_it_was_in(store: Store) -> None:
    first = [row(number, at=50.0, model=f"m{number}") for number in range(usage.MODELS)]
    polls = [
        row(100 + number, at=50.0, model="late", response_id="resp", output=output)
        for number, output in enumerate((1, 20, 300))
    ]
    for made in (*first, *polls):
        await store.ingest("dev", "s1", [], None, batch(made))
    found = {item.model: item.sum for item in await store.sums(SumQuery(scope="global", by_model=True))}
    assert found.keys() == {*(f"m{number}" for number in range(usage.MODELS)), usage.OTHERS}
    assert (found[usage.OTHERS].requests, found[usage.OTHERS].output) == (1, 300)
