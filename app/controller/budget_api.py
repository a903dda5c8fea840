"""The API's routes about usage and budgets. Thin: parse, ask the part that knows, answer."""

import asyncio
import time

from aiohttp import web
from pydantic import Field

from app.controller.api import PARTS, Parts, answer, body, find, query, slug_of
from app.controller.budget_orders import Orders
from app.controller.budget_report import budgets_report, usage_report
from app.controller.budgets import Budgets
from app.controller.traces import Traces
from app.core.model import Snapshot
from app.core.spending import AnswerOrder, BudgetOrder, CutoffOrder
from app.core.trace import Trace, TraceQuery
from app.errors import CarboyError


class UsageQuery(Snapshot):
    slug: str | None = None
    days: int = Field(default=30, ge=1, le=400)


def parts_of(request: web.Request) -> tuple[Parts, Budgets, Orders]:
    parts = request.app[PARTS]
    if parts.budgets is None or parts.orders is None:
        raise CarboyError("This controller keeps no budgets", "", "closing")
    return parts, parts.budgets, parts.orders


async def usage(request: web.Request) -> web.Response:
    parts, budgets, _ = parts_of(request)
    asked = query(request, UsageQuery)
    view = await find(parts, asked.slug) if asked.slug else None
    return answer(await usage_report(parts.store, budgets, view, asked.days, time.time()))


class TracesQuery(TraceQuery):
    slug: str | None = None


async def traces(request: web.Request) -> web.Response:
    """Of one bottle, also of one that is gone for good; or of all."""
    parts, _, _ = parts_of(request)
    asked, kept = query(request, TracesQuery), Traces(parts.paths.state)

    def read() -> list[Trace]:
        found = [one for slug in kept.bottles() if asked.slug in (None, slug) for one in kept.read(slug, asked)]
        return sorted(found, key=lambda one: (one.created_at, one.id))[-asked.limit :]

    found = await asyncio.to_thread(read)
    if not found and asked.slug is not None:
        await find(parts, asked.slug)
    return answer(found)


async def totals(request: web.Request) -> web.Response:
    """What headers show; the event stream says the same whenever it changes."""
    _, budgets, _ = parts_of(request)
    return answer(budgets.totals())


async def budgets(request: web.Request) -> web.Response:
    parts, held, _ = parts_of(request)
    return answer(await budgets_report(held, parts.bottles.views(), time.time()))


async def set_budget(request: web.Request) -> web.Response:
    parts, held, orders = parts_of(request)
    await orders.set(await body(request, BudgetOrder))
    return answer(await budgets_report(held, parts.bottles.views(), time.time()))


async def answer_budget(request: web.Request) -> web.Response:
    _, _, orders = parts_of(request)
    return answer(await orders.answer(slug_of(request), await body(request, AnswerOrder)))


async def cutoff(request: web.Request) -> web.Response:
    _, _, orders = parts_of(request)
    return answer(await orders.cutoff(slug_of(request), await body(request, CutoffOrder)))


async def restore(request: web.Request) -> web.Response:
    _, _, orders = parts_of(request)
    return answer(await orders.restore(slug_of(request), await body(request, CutoffOrder)))


ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/v1/usage", usage),
    web.get("/v1/usage/totals", totals),
    web.get("/v1/traces", traces),
    web.get("/v1/budgets", budgets),
    web.post("/v1/budgets", set_budget),
    web.post("/v1/bottles/{slug}/budget", answer_budget),
    web.post("/v1/bottles/{slug}/cutoff", cutoff),
    web.post("/v1/bottles/{slug}/restore-egress", restore),
)
