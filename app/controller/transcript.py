"""The terminal of a session that is over: its transcript, as it was printed. Takes no input and never touches a live
session."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from app.backends.base import Terminal
from app.errors import NotFound
from app.terminal import recorder

MAX_BYTES = 8 * 1024 * 1024
"""The end of it that is shown: more than any terminal's scrollback keeps."""
CHUNK = 64 * 1024


class TranscriptTerminal(Terminal):
    """Yields the recorded output, then ends."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    async def open(cls, path: Path) -> "TranscriptTerminal":
        try:
            return cls(await asyncio.to_thread(_output, path))
        except OSError:
            raise NotFound("This session left no transcript", "", "no_transcript") from None

    async def output(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), CHUNK):
            yield self._data[start : start + CHUNK]

    async def write(self, data: bytes) -> None:
        del data

    async def resize(self, rows: int, cols: int) -> None:
        del rows, cols

    async def close(self) -> None:
        self._data = b""


def _output(path: Path) -> bytes:
    if path.is_symlink():
        raise OSError("a symbolic link")
    kept = bytearray()
    for event in recorder.read(path)[1]:
        if event.kind == "o":
            kept += event.data.encode("utf-8", "replace")
            if len(kept) > 2 * MAX_BYTES:
                del kept[:-MAX_BYTES]
    return bytes(kept[-MAX_BYTES:])
