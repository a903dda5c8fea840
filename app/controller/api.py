"""The request-and-answer half of the API: one small handler a route. Thin: parse, call the part that knows, answer.

Everything that comes in is validated by a pydantic model first; what goes out are the values of `app.core.model`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from app import __version__
from app.controller.audit import Audit
from app.controller.budget_orders import Orders
from app.controller.budgets import Budgets
from app.controller.events import Bus
from app.controller.models import Models
from app.controller.proposals import Proposals
from app.controller.rooms import (
    Bottles,
    BottlesQuery,
    CatalogueQuery,
    InitBody,
    LogQuery,
    ManifestQuery,
    ModelsQuery,
    SecretsBody,
    ShutdownBody,
)
from app.core.model import LIVE, BottleView, Doctor, DoctorCheck, LaunchRequest, Status, StreamEvent
from app.errors import CarboyError, NotFound, Refused
from app.manifests import agents
from app.paths import Paths
from app.store.base import EventQuery, Store

if TYPE_CHECKING:
    from app.controller.operator_api import Operator


@dataclass
class Parts:
    """What the API stands on. Built by `app.controller.main`, shared by all handlers."""

    paths: Paths
    store: Store
    bus: Bus
    audit: Audit
    bottles: Bottles
    doctor: Callable[[], Awaitable[Doctor]]
    shutdown: Callable[[], None]
    started_at: float = field(default_factory=time.time)
    warnings: list[str] = field(default_factory=list)
    proposals: Proposals | None = None
    budgets: Budgets | None = None
    orders: Orders | None = None
    operator: "Operator | None" = None
    models: Models | None = None
    looked_at: Callable[[Path], Awaitable[None]] | None = None
    """Told which project's agents a client shows, so that changes of them are told as well."""

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """What is wrong with the controller itself, now."""
        fault = self.store.fault
        operator = (
            (self.operator.notices.outlets.fault, self.operator.room.warning) if self.operator is not None else ()
        )
        found = [*self.warnings, self.audit.warning, *operator, fault.render() if fault is not None else ""]
        return tuple(text for text in found if text)


ERROR_HEADER = "Carboy-Error"
PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)


def answer(value: BaseModel | Sequence[BaseModel] | dict[str, Any] | list[Any], status: int = 200) -> web.Response:
    """`value` as a JSON answer."""
    return web.Response(body=dump(value), status=status, content_type="application/json")


def dump(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"not for the wire: {type(value).__name__}")


def event_bytes(event: StreamEvent) -> bytes:
    """An event as it goes out; without a second validation, since events come by the thousand."""
    fields = {"seq": event.seq, "at": event.at, "kind": event.kind, "slug": event.slug, "data": event.data}
    return orjson.dumps(fields)


async def body[M: BaseModel](request: web.Request, model: type[M]) -> M:
    """The request's JSON body as `model`."""
    data = await request.read()
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise invalid(error) from None


def query[M: BaseModel](request: web.Request, model: type[M]) -> M:
    """The request's query parameters as `model`. A parameter given twice is refused."""
    if len(set(request.query)) != len(request.query):
        raise CarboyError("a parameter was given twice", "", "bad_request")
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> CarboyError:
    """What is wrong with a request, without its values: they may be secrets."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return CarboyError(f"{where or 'the request'}: {first['msg']}", "", "bad_request")


def slug_of(request: web.Request) -> str:
    return request.match_info["slug"]


# --- the controller itself --------------------------------------------------------------------------------------


async def status(request: web.Request) -> web.Response:
    import os

    parts = request.app[PARTS]
    live = sum(view.state in LIVE for view in parts.bottles.views())
    return answer(
        Status(
            version=__version__,
            pid=os.getpid(),
            started_at=parts.started_at,
            last_seq=parts.bus.last_seq,
            bottles=live,
            warnings=parts.all_warnings,
        )
    )


async def shutdown(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    asked = await body(request, ShutdownBody)
    live = [view.slug for view in parts.bottles.views() if view.state in LIVE]
    if live and not asked.force:
        raise Refused(
            f"{len(live)} bottle{'s are' if len(live) > 1 else ' is'} running: {', '.join(live[:5])}",
            "Stop them first, or use --force: they run on without the controller, and the next one finds them again",
            "bottles_running",
        )
    parts.shutdown()
    return answer({})


async def doctor(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    found = await parts.doctor()
    own = [DoctorCheck(name="controller", ok=False, text=text) for text in parts.all_warnings]
    return answer(found.model_copy(update={"checks": (*own, *found.checks)}))


async def cleanup(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    report = await parts.bottles.cleanup()
    if report.removed:
        await parts.audit.record("cleanup", removed=list(report.removed), may_wait=True)
    return answer(report)


async def agents_here(request: web.Request) -> web.Response:
    """Which agent CLIs are on this host, and which of their keys are there."""
    return answer(await asyncio.to_thread(agents.found))


async def init(request: web.Request) -> web.Response:
    """Fill the config folder from the starter library, and for the agents that were named; what is there stays."""
    asked = await body(request, InitBody)
    return answer(await asyncio.to_thread(agents.begin, request.app[PARTS].paths, asked.agents))


# --- manifests and settings -------------------------------------------------------------------------------------


async def catalogue(request: web.Request) -> web.Response:
    from app.manifests import load_catalogue

    asked, parts = query(request, CatalogueQuery), request.app[PARTS]
    cwd = Path(asked.cwd) if asked.cwd else None
    if cwd is not None and parts.looked_at is not None:
        await parts.looked_at(cwd)  # first: what changes from here on is told
    return answer(await asyncio.to_thread(load_catalogue, parts.paths, cwd))


async def manifest(request: web.Request) -> web.Response:
    from app.core.merge import provenance_list
    from app.manifests import resolve
    from app.settings import load_settings

    asked = query(request, ManifestQuery)
    paths = request.app[PARTS].paths

    def work() -> dict[str, Any]:
        settings = load_settings(paths).settings
        cwd = Path(asked.cwd) if asked.cwd else None
        found = resolve(paths, agent=asked.agent, bottles=asked.bottle_names, cwd=cwd, settings=settings)
        return {"manifest": found.model_dump(mode="json"), "provenance": list(provenance_list(found))}

    return answer(await asyncio.to_thread(work))


async def settings(request: web.Request) -> web.Response:
    from app.settings import load_settings

    loaded = await asyncio.to_thread(load_settings, request.app[PARTS].paths)
    return answer(list(loaded.provenance))


# --- bottles ----------------------------------------------------------------------------------------------------


async def bottles(request: web.Request) -> web.Response:
    """What lives or was preserved; with `ended=true`, remembered sessions that have ended, the newest first."""
    parts = request.app[PARTS]
    if not query(request, BottlesQuery).ended:
        return answer(list(parts.bottles.views()))
    return answer([view for view in await parts.store.sessions() if view.state not in LIVE])


async def find(parts: Parts, slug: str) -> BottleView:
    """A live bottle, or the newest remembered session of that name."""
    for view in parts.bottles.views():
        if view.slug == slug:
            return view
    past = await parts.store.sessions(slug=slug, limit=1)
    if not past:
        raise NotFound(f"There is no bottle {slug}", "`carboy list` shows them", "no_such_bottle")
    return past[0]


async def bottle(request: web.Request) -> web.Response:
    return answer(await find(request.app[PARTS], slug_of(request)))


async def preflight(request: web.Request) -> web.Response:
    return answer(await request.app[PARTS].bottles.preflight(await body(request, LaunchRequest)))


async def models(request: web.Request) -> web.Response:
    """What models the launch of this request can choose from; with `fresh=true` the vendor is asked again."""
    asked, parts = query(request, ModelsQuery), request.app[PARTS]
    wanted = await body(request, LaunchRequest)
    if parts.models is None:
        raise CarboyError("This controller knows no models", "", "internal")
    return answer(await parts.models.of(wanted, fresh=asked.fresh))


_TAKES_AWAY = frozenset({"stop", "kill", "freeze"})
"""What an operator must be able to do however full the disk is."""


async def act(request: web.Request) -> web.Response:
    """stop, kill, freeze, thaw, restart-sidecar."""
    parts, slug, action = request.app[PARTS], slug_of(request), request.match_info["action"]
    acts: dict[str, Callable[[str], Awaitable[BottleView]]] = {
        "stop": parts.bottles.stop,
        "kill": parts.bottles.kill,
        "freeze": parts.bottles.freeze,
        "thaw": parts.bottles.thaw,
        "restart-sidecar": parts.bottles.restart_sidecar,
    }
    if action not in acts:
        raise NotFound(f"A bottle cannot be asked to {action}", "", "no_such_action")
    # the row first: what was ordered must be on record even if carrying it out is cut short
    session = (await find(parts, slug)).session_id
    await parts.audit.record(action, slug=slug, session_id=session, may_wait=action in _TAKES_AWAY)
    return answer(await acts[action](slug))


async def give_secrets(request: web.Request) -> web.Response:
    """Secrets that a bottle's sidecar lacks, given again. Their names go on record, their values nowhere."""
    parts, slug = request.app[PARTS], slug_of(request)
    asked = await body(request, SecretsBody)
    session = (await find(parts, slug)).session_id
    await parts.audit.record("secrets-given", slug=slug, session_id=session, names=sorted(asked.secrets))
    return answer(await parts.bottles.give_secrets(slug, asked.secrets))


async def wait(request: web.Request) -> web.Response:
    parts, slug = request.app[PARTS], slug_of(request)
    view = await find(parts, slug)
    if view.state in LIVE:
        view = await parts.bottles.wait(slug)
    return answer(view)


async def routes(request: web.Request) -> web.Response:
    return answer(list(await request.app[PARTS].bottles.routes(slug_of(request))))


# --- the record -------------------------------------------------------------------------------------------------


async def log(request: web.Request) -> web.Response:
    asked = query(request, LogQuery)
    store = request.app[PARTS].store
    found = await store.events(EventQuery(**asked.model_dump()))
    if asked.after is None and len(found) < asked.limit:  # the beginning
        gone = await store.dropped(slug=asked.slug, decision=asked.decision)
        found = [*([_gone(gone, asked.slug, found)] if gone else []), *found]
    joined = b",".join(event_bytes(event) for event in found)
    return web.Response(body=b"[" + joined + b"]", content_type="application/json")


def _gone(lines: int, slug: str | None, found: list[StreamEvent]) -> StreamEvent:
    """In place of lines that are not there any more."""
    were = "older line was" if lines == 1 else "older lines were"
    text = f"{lines:,} {were} dropped to make room: `keep` in settings.yml says what stays"
    at = found[0].at if found else time.time()
    data = {"id": "lines-dropped", "at": at, "kind": "notice", "level": "info", "code": "lines_dropped", "text": text}
    return StreamEvent(seq=0, at=at, kind="notice", slug=slug or "", data=data)


async def audit(request: web.Request) -> web.Response:
    """The audit trail, and whether it holds."""
    parts = request.app[PARTS]
    findings = await parts.audit.verify()
    rows = await parts.audit.rows()
    return answer({"rows": [asdict(row) for row in rows], "findings": [asdict(item) for item in findings]})


ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/v1/status", status),
    web.post("/v1/shutdown", shutdown),
    web.get("/v1/catalogue", catalogue),
    web.get("/v1/manifest", manifest),
    web.get("/v1/settings", settings),
    web.get("/v1/bottles", bottles),
    web.get("/v1/bottles/{slug}", bottle),
    web.post("/v1/preflight", preflight),
    web.post("/v1/models", models),
    web.post("/v1/bottles/{slug}/secrets", give_secrets),
    web.post("/v1/bottles/{slug}/{action}", act),
    web.get("/v1/bottles/{slug}/wait", wait),
    web.get("/v1/bottles/{slug}/routes", routes),
    web.get("/v1/log", log),
    web.get("/v1/audit", audit),
    web.get("/v1/doctor", doctor),
    web.post("/v1/cleanup", cleanup),
    web.get("/v1/init", agents_here),
    web.post("/v1/init", init),
)
