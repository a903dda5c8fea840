"""The API of proposals and live routes: parse, ask the queue, answer."""

from aiohttp import web
from pydantic import Field

from app.controller.api import PARTS, answer, body, find, query, slug_of
from app.controller.proposals import Proposals
from app.core.approvals import ApproveBody, RejectBody, RoutesEdit
from app.core.model import Snapshot
from app.core.slug import SLUG_PATTERN


class ListQuery(Snapshot):
    slug: str | None = Field(default=None, pattern=SLUG_PATTERN)
    state: str | None = Field(default=None, max_length=32)


def queue(request: web.Request) -> Proposals:
    found = request.app[PARTS].proposals
    assert found is not None
    return found


def _identity(request: web.Request) -> str:
    return request.match_info["identity"][:64]


async def listed(request: web.Request) -> web.Response:
    asked = query(request, ListQuery)
    found = await queue(request).listed(slug=asked.slug, state=asked.state)
    if not found and asked.slug is not None:
        await find(request.app[PARTS], asked.slug)
    return answer(found)


async def one(request: web.Request) -> web.Response:
    return answer(await queue(request).view(_identity(request)))


async def approve(request: web.Request) -> web.Response:
    return answer(await queue(request).approve(_identity(request), await body(request, ApproveBody)))


async def reject(request: web.Request) -> web.Response:
    return answer(await queue(request).reject(_identity(request), await body(request, RejectBody)))


async def routes(request: web.Request) -> web.Response:
    return answer(queue(request).routes(slug_of(request)))


async def edit(request: web.Request) -> web.Response:
    return answer(await queue(request).edit_routes(slug_of(request), await body(request, RoutesEdit)))


ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/v1/proposals", listed),
    web.get("/v1/proposals/{identity}", one),
    web.post("/v1/proposals/{identity}/approve", approve),
    web.post("/v1/proposals/{identity}/reject", reject),
    web.get("/v1/bottles/{slug}/policy", routes),
    web.post("/v1/bottles/{slug}/policy", edit),
)
