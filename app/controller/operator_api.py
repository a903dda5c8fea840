"""The API's half for the operator's desk: secrets, notices, what was learned, what happened meanwhile. Thin, as
`app.controller.api`."""

import time
from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import Field, field_validator

from app.controller.api import PARTS, answer, body, find, query, slug_of
from app.controller.disk_room import DiskRoom
from app.controller.learning import Learning
from app.controller.notices import Notices
from app.controller.reporting import Reporting
from app.controller.rooms import AroundQuery, ReportQuery, SearchQuery
from app.controller.searching import Searching
from app.controller.vault import Vault
from app.core.learning import LearnSave
from app.core.model import Snapshot
from app.core.notices import Notice
from app.core.schema import SecretName
from app.errors import CarboyError
from sidecar.secret import Secret

MAX_SECRET = 64 * 1024
"""Characters of a secret: a key file in PEM has some 3 kB."""


@dataclass
class Operator:
    """What these routes stand on."""

    vault: Vault
    notices: Notices
    learning: Learning
    reporting: Reporting
    searching: Searching
    room: DiskRoom


class SecretBody(Snapshot):
    """A value on its way into the keyring."""

    name: SecretName
    value: Secret

    @field_validator("value")
    @classmethod
    def _bounded(cls, value: Secret) -> Secret:
        if not 0 < len(value) <= MAX_SECRET or "\0" in value.reveal():
            raise ValueError("a secret is not empty, has no NUL and at most 64 KiB")
        return value


class SecretNameBody(Snapshot):
    name: Annotated[str, Field(min_length=1, max_length=128)]


class ReadBody(Snapshot):
    """Those up to this number have been read."""

    upto: Annotated[int, Field(ge=0)]


def desk(request: web.Request) -> Operator:
    parts = request.app[PARTS]
    if parts.operator is None:
        raise CarboyError("This controller has no desk", "", "internal")
    return parts.operator


async def vault(request: web.Request) -> web.Response:
    return answer(await desk(request).vault.view())


async def set_secret(request: web.Request) -> web.Response:
    asked = await body(request, SecretBody)
    kept = desk(request).vault
    await kept.set(asked.name, asked.value)
    return answer((await kept.view()).model_copy(update={"keep": kept.kept_by(asked.name)}))


async def remove_secret(request: web.Request) -> web.Response:
    asked = await body(request, SecretNameBody)
    await desk(request).vault.remove(asked.name)
    return answer(await desk(request).vault.view())


async def notices(request: web.Request) -> web.Response:
    return answer(await desk(request).notices.listed())


async def read_notices(request: web.Request) -> web.Response:
    asked = await body(request, ReadBody)
    await desk(request).notices.read(asked.upto)
    return answer(await desk(request).notices.listed())


async def clear_notices(request: web.Request) -> web.Response:
    await desk(request).notices.clear()
    return answer([])


async def try_notices(request: web.Request) -> web.Response:
    """One notice through every outlet, at once: what went wrong, in words."""
    notice = Notice(at=time.time(), about="done", level="info", title="carboy: a trial", text="notices reach you")
    return answer({"faults": await desk(request).notices.outlets.deliver([notice])})


async def learned(request: web.Request) -> web.Response:
    view = await find(request.app[PARTS], slug_of(request))
    return answer(await desk(request).learning.report(view))


async def save_learned(request: web.Request) -> web.Response:
    view = await find(request.app[PARTS], slug_of(request))
    return answer({"file": await desk(request).learning.save(view, await body(request, LearnSave))})


async def report(request: web.Request) -> web.Response:
    view, asked = await find(request.app[PARTS], slug_of(request)), query(request, ReportQuery)
    return answer(await desk(request).reporting.report(view, asked.since or 0.0))


async def away(request: web.Request) -> web.Response:
    return answer(await desk(request).reporting.away(query(request, ReportQuery).since))


async def search(request: web.Request) -> web.Response:
    """Transcripts of live and past sessions, by words."""
    asked = query(request, SearchQuery)
    found = await desk(request).searching.index.find(asked.text, slug=asked.slug, limit=asked.limit)
    if not found.hits and asked.slug is not None:
        await find(request.app[PARTS], asked.slug)
    return answer(found)


async def around(request: web.Request) -> web.Response:
    return answer(await desk(request).searching.index.around(query(request, AroundQuery).id))


ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/v1/secrets", vault),
    web.post("/v1/secrets", set_secret),
    web.post("/v1/secrets/remove", remove_secret),
    web.get("/v1/bottles/{slug}/learned", learned),
    web.post("/v1/bottles/{slug}/learned", save_learned),
    web.get("/v1/bottles/{slug}/report", report),
    web.get("/v1/away", away),
    web.get("/v1/search", search),
    web.get("/v1/search/around", around),
    web.get("/v1/notices", notices),
    web.post("/v1/notices/read", read_notices),
    web.post("/v1/notices/clear", clear_notices),
    web.post("/v1/notices/try", try_notices),
)
