"""Runs every hook of every addon, and decides what a failing one means: before a request is sent it is refused and the
upstream sees nothing; after that the flow is killed and recorded. Nothing an addon raises reaches the proxy engine, and
nothing it swallows lets a request through.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol, cast

from mitmproxy import flow as mflow
from mitmproxy.hooks import Hook
from mitmproxy.http import HTTPFlow

from sidecar.egress.exchange import exchange_of, refuse

log = logging.getLogger(__name__)

HOOK_SECONDS = 60.0
"""For one asynchronous hook. The longest regular wait is a look-up (10 s)."""
BEFORE_SENT = frozenset({"http_connect", "requestheaders", "request"})

_limit: ContextVar[asyncio.Timeout | None] = ContextVar("hook_limit", default=None)


@asynccontextmanager
async def patient(flow: HTTPFlow, seconds: float) -> AsyncGenerator[None]:
    """Inside a hook of `flow`: what happens here may take `seconds`, since somebody is asked. The usual limit begins
    anew afterwards. Until then the client's leaving ends the connection."""
    limit, exchange, loop = _limit.get(), exchange_of(flow), asyncio.get_running_loop()
    exchange.held += 1
    if limit is not None:
        limit.reschedule(loop.time() + seconds + HOOK_SECONDS)
    try:
        yield
    finally:
        exchange.held -= 1
        if limit is not None and not limit.expired():
            limit.reschedule(loop.time() + HOOK_SECONDS)


class Recorder(Protocol):
    """Where failures are written down (the journal)."""

    def failed(self, where: str, flow: HTTPFlow | None) -> None: ...


type HookFunction = Callable[[Any], Awaitable[None] | None]


class Guard:
    """The addons, in order. `run(hook)` is what the connection calls for each hook of the engine."""

    def __init__(self, addons: Sequence[object], recorder: Recorder, *, hook_seconds: float = HOOK_SECONDS) -> None:
        self._addons = list(addons)
        self._recorder = recorder
        self._seconds = hook_seconds
        self._functions: dict[str, list[HookFunction]] = {}

    def run(self, hook: Hook) -> Coroutine[Any, Any, None] | None:
        """Run the hook on each addon. Returns None when done, or what is to be awaited. Never raises."""
        (data,) = hook.args()
        functions = self._functions.get(hook.name)
        if functions is None:
            functions = self._functions[hook.name] = self._collect(hook.name)
        for index, function in enumerate(functions):
            try:
                if _settled(hook.name, data):
                    return None
                waiting = function(data)
            except Exception as error:
                self.failed(hook.name, data, error)
                return None
            if waiting is not None and inspect.isawaitable(waiting):
                return self._wait(hook.name, data, waiting, functions[index + 1 :])
        return None

    async def _wait(self, name: str, data: object, waiting: Awaitable[None], rest: list[HookFunction]) -> None:
        try:
            async with asyncio.timeout(self._seconds) as limit:
                _limit.set(limit)
                await waiting
                for function in rest:
                    if _settled(name, data):
                        return
                    more = function(data)
                    if more is not None:
                        await more
        except Exception as error:
            self.failed(name, data, error)
        except asyncio.CancelledError:
            if not (isinstance(data, HTTPFlow) and exchange_of(data).closed):  # else its connection has ended
                self.failed(name, data, InterruptedError("cancelled"))
            raise

    def failed(self, where: str, data: object, error: BaseException) -> None:
        """Make a failure safe: refuse what was not sent, kill what was."""
        # the exception's text may hold what the bottle sent: its type and place only
        log.error("hook %s failed: %s at %s", where, type(error).__name__, _place(error))
        flow = data if isinstance(data, HTTPFlow) else None
        if flow is not None:
            stop(flow, where)
        try:
            self._recorder.failed(where, flow)
        except Exception as second:
            log.error("recording a failure failed: %s", type(second).__name__)

    def _collect(self, name: str) -> list[HookFunction]:
        found = [getattr(addon, name, None) for addon in self._addons]
        return [cast(HookFunction, function) for function in found if callable(function)]


def stop(flow: HTTPFlow, where: str) -> None:
    """Refuse `flow` if nothing of it has left, else kill it."""
    exchange = exchange_of(flow)
    if where in BEFORE_SENT and not exchange.sent:
        flow.response = None
        exchange.refusal = None
        refuse(flow, "internal_error", "a check failed")
    else:
        flow.error = mflow.Error(mflow.Error.KILLED_MESSAGE)


def _settled(name: str, data: object) -> bool:
    """True once a request has its answer already: no later check may undo that."""
    return name in BEFORE_SENT and isinstance(data, HTTPFlow) and data.response is not None


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
