"""Gathers what screens and scripts show of usage and budgets. Reads only."""

import time
from collections.abc import Iterable

from app.controller import budget_faces
from app.controller.budgets import Budgets
from app.core import budget
from app.core.budget import Layer, Limit, Standing
from app.core.model import LIVE, BottleView, BudgetView, Sum
from app.core.scopes import GLOBAL, launch_scope, session_of
from app.core.spending import BottleBudget, BudgetsReport, Line, UsageReport
from app.core.usage import BUCKET, Metrics, Slice, UsageRow, total
from app.store.base import Store
from app.store.metering import SumQuery

DAY = 86400.0
LAST = 100
"""Answers listed one by one."""
BOTTLES = 200
"""Sessions told of; the sums have them all."""
MINUTES = 60
QUARTERS = 96


async def usage_report(store: Store, budgets: Budgets, view: BottleView | None, days: int, now: float) -> UsageReport:
    """Usage of this host, or of one session, since the midnight `days - 1` days ago."""
    today = budget.period_start("day", now)
    since = budget.period_start("day", today - (days - 1) * DAY + 7200) if view is None else view.created_at
    scope = GLOBAL if view is None else launch_scope(view.session_id)
    models = await store.sums(SumQuery(scope=scope, since=since, by_model=True))
    quarters = await store.sums(SumQuery(scope=scope, since=now - QUARTERS * BUCKET, by_provider=False, step=BUCKET))
    days_found = await store.sums(SumQuery(scope=scope, since=since, by_provider=False, step=BUCKET, limit=40000))
    rows = await store.usage_rows(session_id=view.session_id if view else None, since=since, limit=LAST)
    return UsageReport(
        slug=view.slug if view else "",
        since=since,
        now=now,
        today=total(item.sum for item in days_found if item.start >= today),
        whole=total(item.sum for item in days_found),  # not by model: an agent may write any number of names
        models=tuple(sorted(models, key=lambda item: -item.sum.total)),
        bottles=() if view is not None else await _bottles(store, since),
        days=tuple(_by_day(days_found)),
        quarters=tuple(quarters),
        minutes=await _minutes(store, view, now) if view is not None else (),
        windows=tuple(budgets.windows.current(now)),
        sessions=tuple(await _sessions(store, view)),
        last=tuple(_line(slug, row) for slug, row in rows),
    )


async def _sessions(store: Store, view: BottleView | None) -> list[Metrics]:
    return await store.metrics(session_id=view.session_id if view else None, limit=100)


async def _bottles(store: Store, since: float) -> tuple[Slice, ...]:
    """The sessions that used most, under their bottles' names."""
    found = await store.sums(SumQuery(scopes_of="launch:", since=since, by_provider=True, limit=40000))
    found = sorted(found, key=lambda item: -item.sum.total)[:BOTTLES]
    names = {item.session_id: item.slug for item in await store.metrics(limit=2000)}
    return tuple(
        item.model_copy(update={"scope": names.get(session_of(item.scope) or "", "an earlier session")})
        for item in found
    )


async def _minutes(store: Store, view: BottleView, now: float) -> tuple[int, ...]:
    """Tokens of the last hour, by minute, the oldest first."""
    last = int(now // 60)
    found = await store.minutes(view.session_id, now - MINUTES * 60)
    return tuple(found.get(minute, 0) for minute in range(last - MINUTES + 1, last + 1))


def _by_day(slices: Iterable[Slice]) -> list[Slice]:
    """Local days, which no step of seconds can cut."""
    found: dict[int, list[Sum]] = {}
    for item in slices:
        found.setdefault(int(budget.period_start("day", item.start)), []).append(item.sum)
    return [Slice(start=start, sum=total(sums)) for start, sums in sorted(found.items())]


def _line(slug: str, row: UsageRow) -> Line:
    return Line(
        slug=slug,
        at=row.at,
        provider=row.provider,
        model=row.model,
        host=row.host,
        context=row.context,
        output=row.output,
        cached=row.cache_read,
        cost_nano=row.cost_nano,
        ms=row.ms,
        estimated=row.estimated,
        unmetered=row.unmetered,
        fault=row.fault,
    )


async def budgets_report(budgets: Budgets, views: Iterable[BottleView], now: float | None = None) -> BudgetsReport:
    """Every budget that is set, the host's first, and how each live bottle stands."""
    at = time.time() if now is None else now
    settings = budgets.settings
    limits: dict[tuple[str, str], Limit] = {}
    host = budget.overlaid(
        [Layer(GLOBAL, settings.budget, settings.budget_period, "settings.yml")], budgets.amounts(at)
    )
    for layer in (*host, *budgets.layers(at)):
        for provider, amount in layer.budgets.items():
            limits.setdefault((layer.scope, provider), budget.limit(layer, provider, amount))
    return BudgetsReport(
        period=settings.budget_period,
        thresholds=settings.budget_thresholds,
        shutdown=settings.shutdown,
        budgets=tuple([await _view(budgets, held, at) for held in limits.values()]),
        bottles=tuple(
            BottleBudget(slug=view.slug, shutdown=view.shutdown, cut=view.cut, budgets=view.budgets)
            for view in views
            if view.state in LIVE
        ),
    )


async def _view(budgets: Budgets, held: Limit, now: float) -> BudgetView:
    return budget_faces.view(Standing(held, await budgets.used_of(held, now)), budgets.amounts(now), now)
