"""The client's end of the long-lived connections: an agent's terminal, and the event stream that never ends."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson

from app.core.model import StreamEvent
from app.errors import CarboyError
from app.tasks import cancel_and_wait, spawn

WINDOW = 32 * 1024
"""Bytes of a terminal's output that may be on their way here: what a flood leaves to be drawn after a key ended it."""
PIECE = 64 * 1024
"""Bytes of one message: the controller ends a connection that sends more than a mebibyte at once, as a paste may be."""
ENDED = 1000
"""WebSocket close code (RFC 6455, 7.4.1) of a stream that came to its proper end."""


def lost() -> CarboyError:
    return CarboyError("The connection to the controller was lost", "It is being restored", "connection_lost")


class RemoteTerminal:
    """One attachment through the controller, with the methods of `app.backends.base.Terminal`.

    `output()` ends when the agent's terminal does, and raises CarboyError `connection_lost` where only the connection
    went away: then attach again.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._closing = False
        self._taken = 0
        self._telling: asyncio.Task[None] | None = None

    async def output(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                yield message.data
                self._took(len(message.data))
        if self._socket.close_code != ENDED and not self._closing:
            raise lost()

    def _took(self, count: int) -> None:
        """Said beside the reading: saying it may have to wait behind input that the program does not read before its
        own output is read."""
        self._taken += count
        if self._telling is None or self._telling.done():
            self._telling = spawn(self._tell(), name="what of a terminal was taken")

    async def _tell(self) -> None:
        while self._taken:
            taken, self._taken = self._taken, 0
            await self._say(taken=taken)

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            await self._send(data[start : start + PIECE])

    async def resize(self, rows: int, cols: int) -> None:
        await self._say(resize=[rows, cols])

    async def _say(self, **word: object) -> None:
        await self._send(orjson.dumps(word).decode())

    async def _send(self, data: bytes | str) -> None:
        if self._socket.closed:
            return  # the reader of `output()` has learned of it, or will at once
        try:
            await (self._socket.send_bytes(data) if isinstance(data, bytes) else self._socket.send_str(data))
        except (ConnectionError, aiohttp.ClientError):
            return

    async def close(self) -> None:
        self._closing = True
        await cancel_and_wait(self._telling)
        await self._socket.close()


async def event_messages(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[StreamEvent]:
    """The events of one connection, until it ends."""
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        # built without validation: these come from our own controller, by the thousand
        yield StreamEvent.model_construct(**orjson.loads(message.data))


class Backoff:
    """Growing pauses between attempts to reconnect, short at first: a controller is back within a second."""

    FIRST, MOST = 0.05, 2.0

    def __init__(self) -> None:
        self._next = self.FIRST

    def reset(self) -> None:
        self._next = self.FIRST

    async def pause(self) -> None:
        await asyncio.sleep(self._next)
        self._next = min(self.MOST, self._next * 2)
