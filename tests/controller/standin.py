"""A registry of bottles in memory, for tests of the API alone: real bottles need a sandbox, and what is tested here is
how requests are read, answered and streamed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from app.backends.base import Terminal
from app.core.model import BottleView, CleanupReport, LaunchRequest, LaunchStep, Preflight
from app.errors import CarboyError, NotFound
from sidecar.secret import Secret


def view(slug: str, **more: Any) -> BottleView:
    fields: dict[str, Any] = {
        "slug": slug,
        "session_id": f"id-{slug}",
        "label": slug,
        "agent": None,
        "bottles": ("base",),
        "provider": "shell",
        "backend": "local",
        "isolation": "process",
        "state": "running",
        "cwd": "/tmp",
        "created_at": 1.0,
    }
    return BottleView(**{**fields, **more})


class Echo(Terminal):
    """Gives back what is written; `flood` bytes first."""

    def __init__(self, flood: int = 0) -> None:
        self.flood = flood
        self.room = 0
        """Bytes not yet taken at which it takes no more input; 0: it always does."""
        self.sent = 0
        self.size = (0, 0)
        self.closed = asyncio.Event()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._read = asyncio.Event()

    async def output(self) -> AsyncIterator[bytes]:
        yield b"ready "
        for _ in range(self.flood // 65536):
            self.sent += 65536
            yield b"x" * 65536
        while (data := await self._queue.get()) is not None:
            yield data
            self._waiting -= len(data)
            self._read.set()

    async def write(self, data: bytes) -> None:
        while self.room and self._waiting > self.room:
            self._read.clear()
            await self._read.wait()
        self._waiting += len(data)
        self._queue.put_nowait(None if data == b"exit" else data)

    async def resize(self, rows: int, cols: int) -> None:
        self.size = (rows, cols)
        self._queue.put_nowait(f"[{rows}x{cols}]".encode())

    async def close(self) -> None:
        self.closed.set()


class Registry:
    def __init__(self) -> None:
        self.all: dict[str, BottleView] = {}
        self.terminals: list[Echo] = []
        self.flood = 0
        self.given: dict[str, str] = {}
        self.gate = asyncio.Event()
        self.ended = asyncio.Event()
        self.undone = asyncio.Event()
        self.launched: list[LaunchRequest] = []

    def views(self) -> list[BottleView]:
        return list(self.all.values())

    def _find(self, slug: str) -> BottleView:
        if slug not in self.all:
            raise NotFound(f"There is no bottle {slug}", "", "no_such_bottle")
        return self.all[slug]

    async def preflight(self, request: LaunchRequest) -> Preflight:
        raise CarboyError("no preflight here", "none", "nothing")

    async def launch(self, request: LaunchRequest, progress: Callable[[LaunchStep], None]) -> BottleView:
        self.launched.append(request)
        slug = request.label or "dev"
        if request.prompt == "fail":
            raise CarboyError("it broke", "mend it", "broken")
        if request.prompt == "crash":
            raise ZeroDivisionError
        progress(LaunchStep(session_id="abc", slug=slug, step="one", state="running"))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.undone.set()
            raise
        progress(LaunchStep(session_id="abc", slug=slug, step="one", state="done", ms=1.0))
        self.all[slug] = view(slug)
        return self.all[slug]

    async def _set(self, slug: str, **changes: Any) -> BottleView:
        self.all[slug] = self._find(slug).model_copy(update=changes)
        return self.all[slug]

    async def stop(self, slug: str) -> BottleView:
        return await self._set(slug, state="ended", exit_code=0)

    async def kill(self, slug: str) -> BottleView:
        return await self._set(slug, state="stopped", exit_code=137)

    async def freeze(self, slug: str) -> BottleView:
        if self._find(slug).state == "frozen":
            raise CarboyError("A bottle that is frozen cannot be frozen", "", "wrong_state")
        return await self._set(slug, state="frozen")

    async def thaw(self, slug: str) -> BottleView:
        return await self._set(slug, state="running")

    async def restart_sidecar(self, slug: str) -> BottleView:
        return self._find(slug)

    async def give_secrets(self, slug: str, given: Mapping[str, Secret]) -> BottleView:
        self.given |= {name: value.reveal() for name, value in given.items()}
        return self._find(slug)

    async def wait(self, slug: str) -> BottleView:
        await self.ended.wait()
        return self._find(slug)

    async def routes(self, slug: str) -> list[dict[str, Any]]:
        self._find(slug)
        return [{"host": "example.com"}]

    async def terminal(self, slug: str, rows: int, cols: int) -> Terminal:
        self._find(slug)
        self.terminals.append(Echo(self.flood))
        return self.terminals[-1]

    async def cleanup(self) -> CleanupReport:
        return CleanupReport(removed=("a thing",))
