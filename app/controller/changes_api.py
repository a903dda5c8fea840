"""The API of what a bottle changed in its workspace: the list, one file, and bringing changes back into the project, or
putting the project back to what it was before the launch. Thin."""

import asyncio
from functools import partial

from aiohttp import web
from pydantic import Field

from app.backends import changes
from app.controller.api import PARTS, answer, body, query, slug_of
from app.controller.trees import Trees, trees_of
from app.core.changed import NOTHING, Changes
from app.core.model import Snapshot
from app.errors import CarboyError


class FileQuery(Snapshot):
    path: str = Field(min_length=1, max_length=4096)


class PullBody(Snapshot):
    paths: tuple[str, ...] = Field(default=(), max_length=1000)
    delete: bool = False


class PutBackBody(Snapshot):
    """Never all at once: what the operator wrote meanwhile is in the project as well."""

    paths: tuple[str, ...] = Field(min_length=1, max_length=1000)


def _trees(request: web.Request) -> Trees:
    return trees_of(*request.app[PARTS].bottles.named_record(slug_of(request)))


async def listed(request: web.Request) -> web.Response:
    record, _ = request.app[PARTS].bottles.named_record(slug_of(request))
    if record.view.workspace in NOTHING:
        return answer(Changes(workspace=record.view.workspace))
    trees = await asyncio.to_thread(_trees, request)
    found = await asyncio.to_thread(changes.changes, trees.before, trees.after, trees.skip)
    if trees.point is None:
        return answer(Changes(workspace="copy", changes=trees.own(found)))
    return answer(Changes(workspace="mount", changes=trees.own(found), left_out=trees.point.left_out))


async def one(request: web.Request) -> web.Response:
    asked = query(request, FileQuery)
    trees = await asyncio.to_thread(_trees, request)
    return answer({"text": await asyncio.to_thread(changes.text_diff, trees.before, trees.after, asked.path)})


async def pull(request: web.Request) -> web.Response:
    """On record: it changes the operator's own files."""
    asked, parts, slug = await body(request, PullBody), request.app[PARTS], slug_of(request)
    trees = await asyncio.to_thread(_trees, request)
    if trees.point is not None:
        raise CarboyError(
            f"{slug} works in the project itself: its changes are there already",
            f"`carboy put-back {slug} PATH` takes one back", "workspace",
        )  # fmt: skip
    await parts.audit.record("pull", slug=slug, paths=list(asked.paths)[:100], delete=asked.delete)
    work = partial(changes.pull, trees.project, trees.after, asked.paths, trees.masks, delete=asked.delete)
    return answer(await asyncio.to_thread(work))


async def put_back(request: web.Request) -> web.Response:
    """On record, as well. What was added is removed, what was changed or removed is as before the launch."""
    asked, parts, slug = await body(request, PutBackBody), request.app[PARTS], slug_of(request)
    trees = await asyncio.to_thread(_trees, request)
    if trees.point is None:
        raise CarboyError(
            f"{slug} works on a copy: the project is as it was", f"`carboy pull {slug}` takes changes over", "workspace"
        )
    await parts.audit.record("put-back", slug=slug, paths=list(asked.paths)[:100])
    work = partial(
        changes.pull, trees.project, trees.before, asked.paths, trees.masks, delete=True, skip=trees.skip, trusted=True
    )  # fmt: skip
    return answer(await asyncio.to_thread(work))


ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/v1/bottles/{slug}/changes", listed),
    web.get("/v1/bottles/{slug}/change", one),
    web.post("/v1/bottles/{slug}/pull", pull),
    web.post("/v1/bottles/{slug}/put-back", put_back),
)
