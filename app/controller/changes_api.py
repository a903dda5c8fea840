"""The API of what a bottle changed in its copy of the project: the list, one file, and bringing changes back."""

import asyncio
from dataclasses import asdict
from pathlib import Path

from aiohttp import web
from pydantic import Field

from app.backends import changes, masks, workspace
from app.controller.api import PARTS, answer, body, query, slug_of
from app.core.model import Snapshot
from app.errors import CarboyError


class FileQuery(Snapshot):
    path: str = Field(min_length=1, max_length=4096)


class PullBody(Snapshot):
    paths: tuple[str, ...] = Field(default=(), max_length=1000)
    delete: bool = False


def _trees(request: web.Request) -> tuple[Path, Path]:
    """The project, and the bottle's copy of it."""
    slug = slug_of(request)
    project, state = request.app[PARTS].bottles.folders(slug)
    copy = state / workspace.FOLDER
    if project is None or not copy.is_dir():
        raise CarboyError(
            f"{slug} has no copy of a project", "With `workspace: mount` its changes are in the project: `git diff`",
            "workspace",
        )  # fmt: skip
    return project, copy


async def listed(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(changes.changes, *_trees(request))
    return answer({"changes": [asdict(change) for change in found]})


async def one(request: web.Request) -> web.Response:
    asked = query(request, FileQuery)
    return answer({"text": await asyncio.to_thread(changes.text_diff, *_trees(request), asked.path)})


async def pull(request: web.Request) -> web.Response:
    """On record: it changes the operator's own files."""
    asked, parts, slug = await body(request, PullBody), request.app[PARTS], slug_of(request)
    project, copy = _trees(request)
    covered = masks.complete()
    await parts.audit.record("pull", slug=slug, paths=list(asked.paths)[:100], delete=asked.delete)
    done = await asyncio.to_thread(changes.pull, project, copy, asked.paths, covered, delete=asked.delete)
    return answer(asdict(done))


ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/v1/bottles/{slug}/changes", listed),
    web.get("/v1/bottles/{slug}/change", one),
    web.post("/v1/bottles/{slug}/pull", pull),
)
