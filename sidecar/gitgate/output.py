"""What a git of ours prints, read straight from its pipe: in pieces as large as may be, since each costs the same on
its way through the proxy."""

import asyncio
import os

CHUNK = 256 * 1024
STEADY = 4 * CHUNK
"""After this much it is a clone, where a piece may wait a moment for company."""
MOMENT = 0.002


class Output:
    """For one reader. Owns the descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._read = 0
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next piece; nothing at the end."""
        while (data := self._now(CHUNK)) is None:
            await self._readable()
        self._read += len(data)
        if data and len(data) < CHUNK // 2 and self._read > STEADY:
            await asyncio.sleep(MOMENT)
            more = self._now(CHUNK - len(data)) or b""
            self._read += len(more)
            data += more
        return data

    def close(self) -> None:
        if self._fd >= 0:
            self._forget()
            os.close(self._fd)
            self._fd = -1

    def _now(self, size: int) -> bytes | None:
        if self._fd < 0:
            return b""
        try:
            return os.read(self._fd, size)
        except BlockingIOError:
            return None

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._fd, _set, self._waiting)
        try:
            await self._waiting
        finally:
            self._forget()

    def _forget(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            if self._fd >= 0:
                asyncio.get_running_loop().remove_reader(self._fd)
            _set(waiting)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
