"""The API of what is done with a bottle beyond running it: snapshots, archive, the self-test from inside. Thin."""

import contextlib
import time
from dataclasses import asdict
from typing import Any

from aiohttp import web
from pydantic import Field

from app.controller.api import PARTS, answer, body, find, slug_of
from app.core.model import Snapshot, StreamEvent
from app.core.slug import SLUG_PATTERN
from app.errors import CarboyError
from app.selftest import findings

SELFTEST_SECONDS = 300.0
MAX_FACTS = 100


class SelftestBody(Snapshot):
    """What was put up outside for the probes to find (`app.selftest.victims`)."""

    facts: dict[str, Any] = Field(max_length=MAX_FACTS)


async def selftest(request: web.Request) -> web.Response:
    """Attack a running bottle from inside. On record: it looks like what it is."""
    parts, slug = request.app[PARTS], slug_of(request)
    asked = await body(request, SelftestBody)
    view = await find(parts, slug)
    await parts.audit.record("selftest", slug=slug, session_id=view.session_id)
    result = await parts.bottles.exec(slug, findings.command(asked.facts, findings.LEFT_OUT), SELFTEST_SECONDS)
    found, ended = findings.parse(result.output)
    if result.timed_out:
        raise CarboyError(f"The probes in {slug} did not end in time", "It may be frozen", "selftest")
    said = result.output[-300:].decode(errors="replace")
    return answer({"findings": [asdict(one) for one in found], "ended": ended, "said": said})


class RestoreBody(Snapshot):
    name: str | None = Field(default=None, pattern=SLUG_PATTERN)


async def commit(request: web.Request) -> web.Response:
    parts, slug = request.app[PARTS], slug_of(request)
    view = await parts.bottles.keeping.commit(slug)
    await parts.audit.record("commit", slug=slug, session_id=view.session_id, may_wait=True)
    return answer(view)


async def put_by(request: web.Request) -> web.Response:
    """Freeze that outlives the machine: halted, saved, ended. The row comes first, as with what else ends a bottle."""
    parts, slug = request.app[PARTS], slug_of(request)
    session = (await find(parts, slug)).session_id
    await parts.audit.record("put-by", slug=slug, session_id=session, may_wait=True)
    why = f"saved and stopped by the operator; carboy resume {slug} goes on"
    return answer(await parts.bottles.keeping.save_and_stop(slug, why))


async def archive(request: web.Request) -> web.Response:
    """Stops the bottle where it runs: the row comes first."""
    parts, slug = request.app[PARTS], slug_of(request)
    session = (await find(parts, slug)).session_id
    await parts.audit.record("archive", slug=slug, session_id=session, may_wait=True)
    view = await parts.bottles.keeping.archive(slug)
    parts.bus.pass_on(StreamEvent(seq=0, at=time.time(), kind="bottle_gone", slug=slug))
    return answer(view)


async def restore(request: web.Request) -> web.Response:
    parts, slug = request.app[PARTS], slug_of(request)
    asked = await body(request, RestoreBody)
    view = await parts.bottles.keeping.restore(slug, asked.name)
    await parts.audit.record("restore", slug=view.slug, session_id=view.session_id, may_wait=True)
    return answer(view)


async def purge(request: web.Request) -> web.Response:
    """For good: on record before it happens."""
    parts, slug = request.app[PARTS], slug_of(request)
    await parts.audit.record("purge", slug=slug)
    view = await parts.bottles.keeping.purge(slug)
    if parts.operator is not None:
        now = next((one.session_id for one in parts.bottles.views() if one.slug == slug), "")
        with contextlib.suppress(CarboyError):  # without an index there is nothing in it
            await parts.operator.searching.index.forget(slug, now)
    parts.bus.pass_on(StreamEvent(seq=0, at=time.time(), kind="bottle_gone", slug=slug))
    return answer(view)


ROUTES: tuple[web.RouteDef, ...] = (
    web.post("/v1/bottles/{slug}/selftest", selftest),
    web.post("/v1/bottles/{slug}/commit", commit),
    web.post("/v1/bottles/{slug}/put-by", put_by),
    web.post("/v1/bottles/{slug}/archive", archive),
    web.post("/v1/bottles/{slug}/restore", restore),
    web.post("/v1/bottles/{slug}/purge", purge),
)
