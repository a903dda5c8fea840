"""An answer of the gate while it is made: written by a task of ours, taken by the connection piece by piece.

Bounded: a client that does not read holds its writer up. One that has gone away ends it, unless the work has come so
far that it must be finished (`keep_going`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mitmproxy.http import Response

from sidecar.supervise.bridge import head
from sidecar.tasks import spawn

log = logging.getLogger(__name__)

MAX_PIECES = 8
KEEPALIVE_SECONDS = 5.0
"""git's own interval for a side band that is silent (receive.keepAlive)."""

type Work = Callable[["Stream"], Awaitable[None]]


class Stream:
    """A `Source`. `work` calls `begin` once, then `put`; `keepalive` is sent where nothing comes."""

    def __init__(self, work: Work, version: str, done: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._version = version
        self._done = done
        self._pieces: asyncio.Queue[Response | bytes | None] = asyncio.Queue(MAX_PIECES)
        self._task: asyncio.Task[None] | None = None
        self._begun = self._ended = False
        self.keepalive = b""
        self.keep_going = False
        self.gone = False

    async def next(self) -> Response | bytes:
        if self._task is None:
            self._task = spawn(self._run(), name="git-answer")
        while True:
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    piece = await self._pieces.get()
            except TimeoutError:
                if self.keepalive:
                    return self.keepalive
                continue
            if piece is None:
                raise RuntimeError("the answer broke off")
            return piece

    def close(self) -> None:
        self.gone = True
        if self._task is None:
            self._done()
        elif not self.keep_going:
            self._task.cancel()
        else:
            while not self._pieces.empty():  # so that it does not wait for a reader
                self._pieces.get_nowait()

    async def begin(self, status: int, content_type: str) -> None:
        fields = [(b"content-type", content_type.encode()), (b"cache-control", b"no-cache")]
        self._begun = True
        await self._send(head(status, fields, self._version))

    async def put(self, data: bytes) -> None:
        if data:
            await self._send(data)

    async def end(self) -> None:
        """All is said, though the work goes on."""
        self._ended = True
        await self._send(b"")

    async def _send(self, piece: Response | bytes | None) -> None:
        if not self.gone:
            await self._pieces.put(piece)

    async def _run(self) -> None:
        end: bytes | None = b""
        try:
            await self._work(self)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # its text may hold what the bottle sent
            log.error("a git answer failed: %s", type(error).__name__, exc_info=log.isEnabledFor(logging.DEBUG))
            end = None
            if not self._begun:
                end = b"the git gate failed at this\n"
                await self.begin(500, "text/plain")
        finally:
            self._done()
        if self._ended:
            return
        if end:
            await self._send(end)
            end = b""
        await self._send(end)


def refusal(text: str, status: int = 403) -> Response:
    """A finished answer that git shows to its user: as text, each line with `remote:` before it."""
    return Response.make(status, text.encode() + b"\n", {"content-type": "text/plain", "cache-control": "no-cache"})
