"""The API's long answers: a launch's progress, the event stream, and terminals. Each copes with a client that is
slow (it waits, or is told to resume) or gone (what it started goes on)."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import orjson
from aiohttp import WSMsgType, web
from pydantic import ValidationError

from app.backends.base import Terminal
from app.controller.api import PARTS, Parts, body, dump, event_bytes, query, slug_of
from app.controller.events import Subscription
from app.controller.rooms import EventsQuery, Said, Size, TerminalQuery
from app.core.model import BottleView, LaunchRequest, LaunchStep, StreamEvent
from app.errors import CarboyError, NotFound
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

HEARTBEAT = 30.0
"""Seconds between pings on a quiet WebSocket: a client that was killed is noticed after at most twice this."""

MAX_INPUT = 1024 * 1024
"""Largest message of a terminal's client: a big paste."""

ENDING_SECONDS = 5.0
"""How long a session takes at most from its agent's end to its transcript's (a sidecar has 3 s to end)."""

CHUNK = 16 * 1024
"""Terminal output in one message."""


class Launches:
    """Launches under way. They belong to the controller, not to the client that asked."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[BottleView]] = {}

    def start(self, parts: Parts, asked: LaunchRequest) -> asyncio.Queue[bytes | None]:
        """Start a launch; the queue gets its lines, then None."""
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        slugs: set[str] = set()

        def progress(step: LaunchStep) -> None:
            self._tasks[step.session_id] = task
            slugs.add(step.slug)
            lines.put_nowait(dump(step))
            data = step.model_dump(mode="json")
            parts.bus.pass_on(StreamEvent(seq=0, at=time.time(), kind="launch", slug=step.slug, data=data))

        def ended(done: asyncio.Task[BottleView]) -> None:
            failed = done.cancelled() or done.exception() is not None
            for slug in slugs if failed else ():
                parts.bus.pass_on(StreamEvent(seq=0, at=time.time(), kind="bottle_gone", slug=slug))
            for key in [key for key, value in self._tasks.items() if value is done]:
                del self._tasks[key]
            lines.put_nowait(_last_line(done))
            lines.put_nowait(None)

        task = spawn(_launch(parts, asked, progress), name="launch", on_error=_report)
        task.add_done_callback(ended)
        return lines

    async def cancel(self, session_id: str) -> None:
        """Cancel a launch and wait until it has been undone."""
        task = self._tasks.get(session_id)
        if task is None:
            raise NotFound("No such launch is under way", "It may have ended already", "no_such_launch")
        await cancel_and_wait(task)

    @property
    def running(self) -> int:
        return len(set(self._tasks.values()))

    async def close(self) -> None:
        """Undo what is under way: a launch does not outlive its controller half made."""
        await cancel_and_wait(*set(self._tasks.values()))


LAUNCHES: web.AppKey[Launches] = web.AppKey("launches", Launches)
SOCKETS: web.AppKey[set[web.WebSocketResponse]] = web.AppKey("sockets", set)


def _report(error: BaseException) -> None:
    if not isinstance(error, CarboyError):
        log.error("a launch failed", exc_info=error)


def _last_line(done: asyncio.Task[BottleView]) -> bytes:
    if done.cancelled():
        return dump({"error": CarboyError("The launch was cancelled", "", "launch_cancelled").as_dict()})
    error = done.exception()
    if error is None:
        return dump({"bottle": done.result()})
    shown = error if isinstance(error, CarboyError) else internal()
    return dump({"error": shown.as_dict()})


def internal() -> CarboyError:
    return CarboyError("Something in carboy itself failed", "`controller.log` in the state folder has it", "internal")


async def _launch(parts: Parts, asked: LaunchRequest, progress: Any) -> BottleView:
    detail = {
        "agent": asked.agent,
        "command": list(asked.command),
        "bottles": list(asked.bottles) if asked.bottles is not None else None,
        "cwd": asked.cwd,
        "typed_secrets": sorted(asked.secrets),
        "confirmed": list(asked.confirm),
    }
    try:
        view = await parts.bottles.launch(asked, progress)
    except CarboyError as error:
        await parts.audit.record("launch-failed", **detail, code=error.code, may_wait=True)
        raise
    await parts.audit.record("launch", slug=view.slug, session_id=view.session_id, **detail, may_wait=True)
    return view


async def launch(request: web.Request) -> web.StreamResponse:
    asked = await body(request, LaunchRequest)
    lines = request.app[LAUNCHES].start(request.app[PARTS], asked)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        while (line := await lines.get()) is not None:
            await response.write(line + b"\n")
        await response.write_eof()
    return response


async def cancel_launch(request: web.Request) -> web.Response:
    await request.app[LAUNCHES].cancel(request.match_info["session_id"])
    return web.json_response({})


async def events(request: web.Request) -> web.WebSocketResponse:
    """Kept events from `since` on, then everything live. The client says nothing."""
    asked = query(request, EventsQuery)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=1024, compress=False)
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    parts = request.app[PARTS]
    watched = parts.operator.reporting.presence if asked.here and parts.operator is not None else nullcontext()
    with watched, parts.bus.subscribe(asked.since, asked.slug) as subscription:
        sender = spawn(_send_events(socket, subscription), name="events to a client", on_error=_quiet)
        try:
            async for _ in socket:
                pass
        finally:
            await cancel_and_wait(sender)
            request.app[SOCKETS].discard(socket)
    return socket


async def _send_events(socket: web.WebSocketResponse, subscription: Subscription) -> None:
    async for event in subscription:
        await socket.send_str(event_bytes(event).decode())
    await socket.close()


async def terminal(request: web.Request) -> web.WebSocketResponse:
    """An agent's terminal. Opened before the upgrade, so that a failure is an ordinary error answer."""
    asked = query(request, TerminalQuery)
    held = await _open(request.app[PARTS], slug_of(request), asked)
    window = Window(asked.window)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_INPUT, compress=False)
    try:
        await socket.prepare(request)
        request.app[SOCKETS].add(socket)
        sender = spawn(_send_output(socket, held, window), name="terminal to a client", on_error=_quiet)
        try:
            await _take_input(socket, held, window)
        finally:
            await cancel_and_wait(sender)
    finally:
        request.app[SOCKETS].discard(socket)
        await held.close()
    return socket


async def _open(parts: Parts, slug: str, size: Size) -> Terminal:
    try:
        return await parts.bottles.terminal(slug, size.rows, size.cols)
    except NotFound:
        raise
    except (CarboyError, OSError) as error:
        # an agent that is just ending has no terminal any more; once it is over, what it printed is in its transcript
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await parts.bottles.wait(slug)
        except TimeoutError:
            raise error from None
        return await parts.bottles.terminal(slug, size.rows, size.cols)


class Window:
    """How much output is on its way to one client. The buffers between here and there hold a megabyte, which is seconds
    of drawing: what follows a key, as the end of a flood after ctrl+c, would be seen that much later."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sent = 0
        self._lifted = False
        self._taken = asyncio.Event()

    async def room(self, count: int) -> None:
        """Returns once so many bytes more may be sent."""
        while self._size and not self._lifted and self._sent and self._sent + count > self._size:
            self._taken.clear()
            await self._taken.wait()
        self._sent += count

    def taken(self, count: int) -> None:
        self._sent -= min(count, self._sent)
        self._taken.set()

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """No limit meanwhile: what the client says it has taken waits behind input that the program does not read,
        which may be waiting, in turn, for its output to be taken."""
        self._lifted = True
        self._taken.set()
        try:
            yield
        finally:
            self._lifted = False


async def _send_output(socket: web.WebSocketResponse, held: Terminal, window: Window) -> None:
    # `send_bytes` waits while the client does not read, and so, in turn, does the session's holder
    async for data in held.output():
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            await window.room(len(piece))
            await socket.send_bytes(piece)
    await socket.close(message=b"ended")


async def _take_input(socket: web.WebSocketResponse, held: Terminal, window: Window) -> None:
    async for message in socket:
        try:
            if message.type is WSMsgType.BINARY:
                with window.lifted():
                    await held.write(message.data)
            elif message.type is WSMsgType.TEXT:
                said = Said.model_validate(orjson.loads(message.data))
                window.taken(said.taken)
                if (size := said.size) is not None:
                    await held.resize(size.rows, size.cols)
        except (ValidationError, orjson.JSONDecodeError):
            await socket.close(code=1007, message=b"not understood")
        except (OSError, CarboyError):
            await socket.close(message=b"ended")


def _quiet(error: BaseException) -> None:
    if not isinstance(error, ConnectionError):
        log.error("a stream to a client failed", exc_info=error)


ROUTES: tuple[web.RouteDef, ...] = (
    web.post("/v1/launch", launch),
    web.delete("/v1/launch/{session_id}", cancel_launch),
    web.get("/v1/events", events),
    web.get("/v1/bottles/{slug}/terminal", terminal),
)
