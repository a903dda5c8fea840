"""The client's methods, one for each route of docs/architecture.md."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, unquote

import aiohttp
import orjson
from pydantic import BaseModel, TypeAdapter

from app.build import HEADER, build
from app.client.operator import OperatorCalls
from app.client.start import ensure
from app.client.streams import WINDOW, Backoff, RemoteTerminal, event_messages, lost
from app.core.approvals import ApproveBody, ProposalView, RejectBody, RoutesEdit, RoutesView
from app.core.changed import Brought, Changes
from app.core.model import (
    BottleView,
    Catalogue,
    CleanupReport,
    Doctor,
    LaunchRequest,
    LaunchStep,
    ModelList,
    Preflight,
    Provenance,
    SetUp,
    Status,
    StreamEvent,
)
from app.core.spending import AnswerOrder, BudgetOrder, BudgetsReport, CutoffOrder, UsageReport
from app.core.trace import Trace
from app.errors import CarboyError, from_dict
from app.paths import Paths
from app.tasks import cancel_and_wait, spawn
from sidecar.secret import REVEAL, Secret

MAX_LINE = 4 * 1024 * 1024
QUICK_SECONDS = 60.0
"""For what the controller answers from memory or disk; launches, waits and streams have no limit."""

type Connection = Literal["connected", "reconnecting"]

_PROVENANCES = TypeAdapter(tuple[Provenance, ...])
_VIEWS = TypeAdapter(list[BottleView])
_PROPOSALS = TypeAdapter(list[ProposalView])


class Client(OperatorCalls):
    """Speaks to the controller of this user. Make one with `await Client.connect()`, end it with `close()`.

    `on_state` is told when the event stream is lost and when it is back; `on_other_build`, once for each, of what build
    a controller is that is not of ours.
    """

    def __init__(self, paths: Paths, *, start: bool = True) -> None:
        self._paths = paths
        self._start = start
        self._starting: asyncio.Task[None] | None = None
        self.on_state: Callable[[Connection], None] = lambda _: None
        self.on_other_build: Callable[[str], None] = lambda _: None
        self._build = build()
        # a connection for each request: over a unix socket it costs nothing, and none can have gone stale
        connector = aiohttp.UnixConnector(str(paths.controller_socket), force_close=True, limit=0)
        self._http = aiohttp.ClientSession(
            "http://controller", connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=MAX_LINE
        )

    @classmethod
    async def connect(cls, paths: Paths | None = None, *, start: bool = True) -> Self:
        """A client of the running controller; with `start`, one is started where none answers."""
        found = paths or Paths.resolve()
        await ensure(found, start=start)
        return cls(found, start=start)

    async def close(self) -> None:
        await cancel_and_wait(self._starting)
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- the controller itself ----------------------------------------------------------------------------------

    async def status(self) -> Status:
        return Status.model_validate_json(await self._call("GET", "/v1/status"))

    async def shutdown(self, *, force: bool = False) -> None:
        await self._call("POST", "/v1/shutdown", {"force": force}, start=False)

    async def doctor(self) -> Doctor:
        return Doctor.model_validate_json(await self._call("GET", "/v1/doctor", timeout=None))

    async def cleanup(self) -> CleanupReport:
        return CleanupReport.model_validate_json(await self._call("POST", "/v1/cleanup", timeout=None))

    async def agents_here(self) -> SetUp:
        """Which agent CLIs are on the controller's host, and which of their keys are there."""
        return SetUp.model_validate_json(await self._call("GET", "/v1/init", timeout=None))

    async def init(self, agents: tuple[str, ...] = ()) -> SetUp:
        """Copy the starter library into the config folder, set up agents for these providers; overwrites nothing."""
        return SetUp.model_validate_json(await self._call("POST", "/v1/init", {"agents": list(agents)}, timeout=None))

    # --- manifests and settings ---------------------------------------------------------------------------------

    async def catalogue(self, cwd: str | None = None) -> Catalogue:
        return Catalogue.model_validate_json(await self._call("GET", "/v1/catalogue", query={"cwd": cwd}))

    async def manifest(
        self, agent: str | None = None, bottles: tuple[str, ...] | None = None, cwd: str | None = None
    ) -> tuple[dict[str, Any], tuple[Provenance, ...]]:
        """The resolved manifest (as JSON), and where each of its values came from."""
        asked = {"agent": agent, "bottles": None if bottles is None else ",".join(bottles), "cwd": cwd}
        answer = orjson.loads(await self._call("GET", "/v1/manifest", query=asked))
        return answer["manifest"], _PROVENANCES.validate_python(answer["provenance"])

    async def settings(self) -> tuple[Provenance, ...]:
        return _PROVENANCES.validate_json(await self._call("GET", "/v1/settings"))

    # --- bottles ------------------------------------------------------------------------------------------------

    async def bottles(self, *, ended: bool = False) -> list[BottleView]:
        """Bottles that live or were preserved; with `ended`, remembered sessions instead, the newest first."""
        query = {"ended": "true"} if ended else None
        return _VIEWS.validate_json(await self._call("GET", "/v1/bottles", query=query))

    async def bottle(self, slug: str) -> BottleView:
        return await self._view("GET", slug, "")

    async def preflight(self, request: LaunchRequest) -> Preflight:
        return Preflight.model_validate_json(await self._call("POST", "/v1/preflight", request))

    async def models(self, request: LaunchRequest, *, fresh: bool = False) -> ModelList:
        """What models a launch can choose from. What it asks for of the environment (`wants_env`) may be given then."""
        query = {"fresh": "true"} if fresh else None
        return ModelList.model_validate_json(await self._call("POST", "/v1/models", request, query=query))

    async def launch(self, request: LaunchRequest) -> AsyncIterator[LaunchStep | BottleView]:
        """Steps as they happen, then the bottle. Leaving the iteration does not stop the launch: `cancel_launch`."""
        async with self._request("POST", "/v1/launch", request, timeout=None) as response:
            async for line in response.content:
                answer = orjson.loads(line)
                if "error" in answer:
                    raise from_dict(answer["error"])
                if "bottle" in answer:
                    yield BottleView.model_validate(answer["bottle"])
                    return
                yield LaunchStep.model_validate(answer)
        raise lost()

    async def cancel_launch(self, session_id: str) -> None:
        """Cancel, and wait until everything that was made is undone."""
        await self._call("DELETE", f"/v1/launch/{quote(session_id, safe='')}", timeout=None)

    async def stop(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/stop")

    async def kill(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/kill")

    async def changes(self, slug: str) -> Changes:
        """What it changed in its workspace."""
        return Changes.model_validate_json(await self._call("GET", _bottle(slug) + "/changes", timeout=None))

    async def difference(self, slug: str, path: str) -> str:
        """One file's changes as text."""
        return orjson.loads(await self._call("GET", _bottle(slug) + "/change", query={"path": path}))["text"]

    async def pull(self, slug: str, paths: Sequence[str] = (), *, delete: bool = False) -> Brought:
        """Bring changes of its copy into the project."""
        body = {"paths": list(paths), "delete": delete}
        return Brought.model_validate_json(await self._call("POST", _bottle(slug) + "/pull", body, timeout=None))

    async def put_back(self, slug: str, paths: Sequence[str]) -> Brought:
        """Files of the project as they were before its launch."""
        body = {"paths": list(paths)}
        return Brought.model_validate_json(await self._call("POST", _bottle(slug) + "/put-back", body, timeout=None))

    async def commit(self, slug: str) -> BottleView:
        """Take a snapshot; it runs on."""
        return await self._view("POST", slug, "/commit")

    async def put_by(self, slug: str) -> BottleView:
        """Freeze it, take a snapshot, and end it just there."""
        return await self._view("POST", slug, "/put-by")

    async def archive(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/archive")

    async def restore(self, slug: str, name: str | None = None) -> BottleView:
        data = await self._call("POST", _bottle(slug) + "/restore", {"name": name}, timeout=None)
        return BottleView.model_validate_json(data)

    async def purge(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/purge")

    async def selftest(self, slug: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Attack it from inside; `{findings, ended, said}`."""
        return orjson.loads(await self._call("POST", _bottle(slug) + "/selftest", {"facts": facts}, timeout=None))

    async def freeze(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/freeze")

    async def thaw(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/thaw")

    async def restart_sidecar(self, slug: str) -> BottleView:
        return await self._view("POST", slug, "/restart-sidecar")

    async def give_secrets(self, slug: str, given: dict[str, Secret]) -> BottleView:
        """Values for secrets that the bottle's sidecar lacks; they are kept in memory only."""
        body = {"secrets": {name: value.reveal() for name, value in given.items()}}
        return BottleView.model_validate_json(await self._call("POST", f"{_bottle(slug)}/secrets", body))

    async def wait(self, slug: str) -> BottleView:
        """Wait for the bottle's end, through restarts of the controller."""
        while True:
            try:
                return await self._view("GET", slug, "/wait")
            except CarboyError as error:
                if error.code != "connection_lost":
                    raise

    async def routes(self, slug: str) -> list[dict[str, Any]]:
        return orjson.loads(await self._call("GET", f"{_bottle(slug)}/routes"))

    async def terminal(self, slug: str, rows: int = 24, cols: int = 80) -> RemoteTerminal:
        """Attach to the agent's terminal."""
        query = {"rows": rows, "cols": cols, "window": WINDOW}
        socket = await self._socket(f"{_bottle(slug)}/terminal", query)
        return RemoteTerminal(socket)

    # --- the record ---------------------------------------------------------------------------------------------

    async def log(
        self,
        *,
        slug: str | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
        decision: str | None = None,
        host: str | None = None,
        text: str | None = None,
    ) -> list[StreamEvent]:
        asked = {
            "slug": slug,
            "before": before,
            "after": after,
            "limit": limit,
            "decision": decision,
            "host": host,
            "text": text,
        }
        return [
            StreamEvent.model_construct(**item)
            for item in orjson.loads(await self._call("GET", "/v1/log", query=asked))
        ]

    async def proposals(self, *, slug: str | None = None, state: str | None = None) -> list[ProposalView]:
        """What waits for a decision, or got one, the oldest first."""
        asked = {"slug": slug, "state": state}
        return _PROPOSALS.validate_json(await self._call("GET", "/v1/proposals", query=asked))

    async def proposal(self, identity: str) -> ProposalView:
        """One proposal, with the routes that it would give to edit."""
        return ProposalView.model_validate_json(await self._call("GET", _proposal(identity)))

    async def approve(self, identity: str, body: ApproveBody) -> ProposalView:
        """Approve it as shown or as edited; with `preview` nothing happens, and the answer shows what would."""
        return ProposalView.model_validate_json(await self._call("POST", f"{_proposal(identity)}/approve", body))

    async def reject(self, identity: str, body: RejectBody) -> ProposalView:
        return ProposalView.model_validate_json(await self._call("POST", f"{_proposal(identity)}/reject", body))

    async def live_routes(self, slug: str) -> RoutesView:
        """A bottle's routes in force, as a file to edit."""
        return RoutesView.model_validate_json(await self._call("GET", f"{_bottle(slug)}/policy"))

    async def edit_routes(self, slug: str, body: RoutesEdit) -> RoutesView:
        """Put an edited routes file into force; with `preview` only show what that would change."""
        return RoutesView.model_validate_json(await self._call("POST", f"{_bottle(slug)}/policy", body))

    # --- usage and budgets --------------------------------------------------------------------------------------

    async def usage(self, slug: str | None = None, days: int | None = None) -> UsageReport:
        """What this host used, or one bottle."""
        query = {"slug": slug, "days": days}
        return UsageReport.model_validate_json(await self._call("GET", "/v1/usage", query=query))

    async def traces(self, slug: str | None = None, **query: str | float | None) -> list[Trace]:
        """The newest traces of a bottle, or of all: `kind`, `since`, `session_id`, `limit`."""
        found = orjson.loads(await self._call("GET", "/v1/traces", query={"slug": slug, **query}))
        return [Trace.model_validate(one) for one in found]

    async def usage_totals(self) -> dict[str, Any]:
        """Used today, and the providers' windows: what the event `usage` says."""
        return orjson.loads(await self._call("GET", "/v1/usage/totals"))

    async def budgets(self) -> BudgetsReport:
        return BudgetsReport.model_validate_json(await self._call("GET", "/v1/budgets"))

    async def set_budget(self, order: BudgetOrder) -> BudgetsReport:
        """Set, raise or clear a budget; in force when this returns."""
        return BudgetsReport.model_validate_json(await self._call("POST", "/v1/budgets", order))

    async def answer_budget(self, slug: str, order: AnswerOrder) -> BottleView:
        """What to do where a used up budget asks, or another policy for a bottle."""
        return BottleView.model_validate_json(await self._call("POST", f"{_bottle(slug)}/budget", order, timeout=None))

    async def cutoff(self, slug: str, order: CutoffOrder) -> BottleView:
        """Close the model's hosts of a bottle, or everything."""
        return BottleView.model_validate_json(await self._call("POST", f"{_bottle(slug)}/cutoff", order))

    async def restore_egress(self, slug: str, order: CutoffOrder) -> BottleView:
        return BottleView.model_validate_json(await self._call("POST", f"{_bottle(slug)}/restore-egress", order))

    async def audit(self) -> dict[str, Any]:
        return orjson.loads(await self._call("GET", "/v1/audit", timeout=None))

    async def events(
        self, since: int | None = None, slug: str | None = None, *, here: bool = False
    ) -> AsyncIterator[StreamEvent]:
        """Kept events after `since` (None: from now on), then everything live, without end.

        Whatever breaks, it reconnects and resumes: no kept event is lost or comes twice. After each break it yields
        one `lagged` event, since passing ones (bottle snapshots) may have been missed: ask for `bottles()` again.
        """
        seq, pause, broken = since, Backoff(), False
        while True:
            try:
                if seq is None:
                    seq = (await self.status()).last_seq
                socket = await self._socket(
                    "/v1/events", {"since": seq, "slug": slug, "here": "true" if here else None}
                )
                try:
                    if broken:
                        self.on_state("connected")
                        yield StreamEvent(seq=0, at=time.time(), kind="lagged", data={"resume": seq})
                    async for event in event_messages(socket):
                        pause.reset()
                        seq = max(seq, event.seq)
                        if event.kind != "lagged":
                            yield event
                finally:
                    await socket.close()
            except CarboyError as error:
                if error.code not in _PASSING:
                    raise
            broken = True
            self.on_state("reconnecting")
            await pause.pause()

    # --- below --------------------------------------------------------------------------------------------------

    async def _view(self, method: str, slug: str, action: str) -> BottleView:
        return BottleView.model_validate_json(await self._call(method, _bottle(slug) + action, timeout=None))

    async def _call(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        timeout: float | None = QUICK_SECONDS,
        start: bool | None = None,
    ) -> bytes:
        async with self._request(method, path, body, query=query, timeout=timeout, start=start) as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        timeout: float | None = QUICK_SECONDS,
        start: bool | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            data = orjson.dumps(
                body.model_dump(mode="json", context=REVEAL) if isinstance(body, BaseModel) else body or {}
            )
        except TypeError:  # an argument, a variable or a path with bytes that are no text
            hint = "Look at the arguments, and at the name of this folder"
            raise CarboyError("Something here is not written in UTF-8", hint, "bad_name") from None
        limits = aiohttp.ClientTimeout(total=timeout)
        try:
            response = await self._dial(
                lambda: self._http.request(
                    method, path, params=_params(query), data=None if method == "GET" else data, timeout=limits
                ),
                start=start,
            )
            async with response:
                self._look_at(response.headers.get(HEADER, ""))
                if response.status >= 400:
                    raise await _error(response)
                yield response
        except TimeoutError:
            raise CarboyError("The controller did not answer in time", "Look at its log", "controller_silent") from None
        except aiohttp.ClientError:
            raise lost() from None

    def _look_at(self, theirs: str) -> None:
        if theirs != self._build:
            self._build = theirs
            if theirs != build():
                self.on_other_build(theirs)

    async def _socket(self, path: str, query: dict[str, Any]) -> aiohttp.ClientWebSocketResponse:
        try:
            return await self._dial(
                lambda: self._http.ws_connect(path, params=_params(query), max_msg_size=MAX_LINE, heartbeat=30.0)
            )
        except aiohttp.WSServerHandshakeError as error:
            raise _refused(error) from None
        except aiohttp.ClientError:
            raise lost() from None

    async def _dial(self, attempt: Callable[[], Any], *, start: bool | None = None) -> Any:
        """Make a request; where nobody listens, get a controller first. Nothing was sent then, so that it is safe."""
        try:
            return await attempt()
        except aiohttp.ClientConnectorError:
            await self._ensured(self._start if start is None else start)
            return await attempt()

    async def _ensured(self, start: bool) -> None:
        """A controller answers. One at a time is started, however many ask: two would be in each other's way. The start
        goes on where who asked gives up: the next one asks for it again, and half of one is nobody's."""
        if not start:
            await ensure(self._paths, start=False)
            return
        if self._starting is None or self._starting.done():
            self._starting = spawn(ensure(self._paths), name="controller", on_error=lambda _: None)  # it is awaited
        await asyncio.shield(self._starting)


_PASSING = frozenset({"connection_lost", "controller_silent"})
"""Failures after which the event stream tries again."""


def _bottle(slug: str) -> str:
    return f"/v1/bottles/{quote(slug, safe='')}"


def _proposal(identity: str) -> str:
    return f"/v1/proposals/{quote(identity, safe='')}"


def _params(query: dict[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (query or {}).items() if value is not None}


def _refused(error: aiohttp.WSServerHandshakeError) -> CarboyError:
    """Why a stream was not opened: a refused handshake shows its headers, not its body."""
    try:
        return from_dict(orjson.loads(unquote((error.headers or {}).get("Carboy-Error", ""))))
    except (orjson.JSONDecodeError, AttributeError):
        return CarboyError(f"The controller answered {error.status}", "Are both of one version?", "bad_answer")


async def _error(response: aiohttp.ClientResponse) -> CarboyError:
    try:
        return from_dict(orjson.loads(await response.read()))
    except (orjson.JSONDecodeError, AttributeError):
        return CarboyError(f"The controller answered {response.status}", "Are both of one version?", "bad_answer")
