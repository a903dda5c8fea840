"""What a push brings, read out of git: which objects are new, and the content of each. Decides nothing about them.

All objects of the received pack come in the order in which they lie there, while git finds out beside it which of them
are new: what is examined needs no second look-up of each. Memory is bounded whatever an object's size.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from sidecar.dlp import zips
from sidecar.dlp.unpacker import Unpacker, kind_of
from sidecar.gitgate import limits
from sidecar.gitgate.git import GitFailed, Running, finished, pieces
from sidecar.gitgate.quarantine import Quarantine

_SHORT = 512 * 1024
"""What is read before it is handed on: git goes on with the next meanwhile."""


_TOO_MUCH = "it unpacks to more than is scanned at once: push in parts"


class TooMuch(Exception):
    """More than is examined, or other than can be. The text is for the client."""


@dataclass(slots=True)
class Piece:
    """An object's content, or a part of it where it is large."""

    oid: str
    kind: str
    size: int
    data: bytes
    start: int = 0
    """Where in the object `data` begins."""
    line: int = 0
    """Lines before it."""
    unpacked: bool = False
    """It was compressed there."""
    inside: tuple[bytes, ...] = ()
    """Names of the members it was taken out of, one in the other."""

    def instead(self, data: bytes) -> "Piece":
        return Piece(self.oid, self.kind, self.size, data, self.start, self.line, inside=self.inside)


async def new_objects(quarantine: Quarantine, tips: list[str]) -> dict[str, str]:
    """Object → a path of it. This also proves that nothing is missing, as git's own receiver does. Raises TooMuch, or
    GitFailed."""
    args = ("rev-list", "--objects", *tips, "--not", "--all")
    paths: dict[str, str] = {}
    size = 0
    async with quarantine.git.start(*args, cwd=quarantine.mirror.path, env=quarantine.env) as running:
        source = _Source(running)
        while (line := await source.line()) is not None:
            oid, _, path = line.decode(errors="replace").partition(" ")
            size += len(path)
            if len(paths) >= limits.MAX_OBJECTS or size > limits.MAX_PATHS:
                raise TooMuch("its new objects, or their paths, are more than are scanned at once: push in parts")
            paths.setdefault(oid, path)
        await _ended(running, "rev-list")
    return paths


async def everything(quarantine: Quarantine) -> AsyncIterator[list[Piece]]:
    """All that the pack holds, in batches; the objects that git added to complete it as well."""
    env = {**quarantine.env, "GIT_ALTERNATE_OBJECT_DIRECTORIES": ""}
    async with quarantine.git.start(
        "cat-file", "--batch-all-objects", "--unordered", "--batch", "--buffer", cwd=quarantine.mirror.path, env=env
    ) as running:
        async for batch in _batches(running):
            yield batch


async def some(quarantine: Quarantine, oids: Iterable[str]) -> AsyncIterator[list[Piece]]:
    """These objects, wherever they are."""
    given = "".join(f"{oid}\n" for oid in oids).encode()
    async with quarantine.git.start(
        "cat-file", "--batch", "--buffer", cwd=quarantine.mirror.path, env=quarantine.env, stdin=given
    ) as running:
        async for batch in _batches(running):
            yield batch


async def _batches(running: Running) -> AsyncIterator[list[Piece]]:
    source = _Source(running)
    batch: list[Piece] = []
    size = total = 0
    while (line := await source.line()) is not None:
        oid, kind, length = _header(line)
        total += length
        if total > limits.MAX_UNPACKED:
            raise TooMuch(_TOO_MUCH)
        if (whole := source.here(length + 1)) is not None:  # as nearly all of them
            batch.append(Piece(oid, kind, length, whole[:-1]))
            size += length
            if size >= _SHORT:
                yield batch
                batch, size = [], 0
            continue
        async for each in _pieces(source, oid, kind, length):
            batch.append(each)
            size += len(each.data)
            total += len(each.data) * each.unpacked
            if total > limits.MAX_UNPACKED:
                raise TooMuch(_TOO_MUCH)
            if size >= _SHORT:
                yield batch
                batch, size = [], 0
        await source.exactly(1)
    if batch:
        yield batch
    await _ended(running, "cat-file")


async def _ended(running: Running, what: str) -> None:
    """Raises GitFailed where it did not end well."""
    if (code := await finished(running)) != 0:
        raise GitFailed(f"git {what} failed", bytes(running.stderr).decode(errors="replace"), code)


def _header(line: bytes) -> tuple[str, str, int]:
    """Name, kind and size of an object."""
    words = line.decode("ascii", "replace").split(" ")
    if len(words) != 3 or not words[2].isdigit():
        raise GitFailed("cat-file: an object is missing")
    return words[0], words[1], int(words[2])


async def _pieces(source: "_Source", oid: str, kind: str, size: int) -> AsyncIterator[Piece]:
    kept = b""
    start = line = 0
    unpacker: Unpacker | None = None
    async for fresh, shown in _windows(source, size):
        if unpacker is None and not kept and size > len(shown) and (packed := kind_of(fresh)):
            unpacker = Unpacker(packed, limits.OVERLAP)
        data = kept + shown
        yield Piece(oid, kind, size, data, start, line)
        if unpacker is not None:  # within one window the scan unpacks by itself
            unpacker.give(fresh)
            try:
                while held := await asyncio.to_thread(unpacker.take, limits.WINDOW):
                    yield Piece(oid, kind, size, held, unpacked=True)
            except zips.Broken as error:
                raise TooMuch(f"an archive is not examined: {error}") from None
        cut = max(0, len(data) - limits.OVERLAP)
        line += data.count(b"\n", 0, cut)
        kept, start = data[cut:], start + cut


async def _windows(source: "_Source", size: int) -> AsyncIterator[tuple[bytes, bytes]]:
    """An object part by part: as it comes, and as it is looked at. What a sound archive holds is unpacked beside it,
    all at once, and not looked for in a part once more, which would be too much for one text."""
    first = await source.exactly(min(limits.WINDOW, size))
    if len(first) < size <= limits.MAX_WHOLE and kind_of(first) == "zip":
        data = first + await source.exactly(size - len(first))
        found = await asyncio.to_thread(zips.sound, data, limits.MAX_UNPACKED)
        shown = zips.unsigned(data, found)
        for at in range(0, size, limits.WINDOW):
            window = slice(at, at + limits.WINDOW)
            yield data[window] if not found else data if not at else b"", shown[window]
        return
    yield first, first
    for done in range(len(first), size, limits.WINDOW):
        part = await source.exactly(min(limits.WINDOW, size - done))
        yield part, part


class _Source:
    """The output of git, by lines and lengths. Thousands of small objects come in one piece of it."""

    def __init__(self, running: Running) -> None:
        self._pieces = pieces(running)
        self._data = b""
        self._at = 0

    async def line(self) -> bytes | None:
        """Without its end; None at the end of all."""
        while (end := self._data.find(b"\n", self._at)) < 0:
            if not await self._more():
                if self._at < len(self._data):
                    raise GitFailed("an answer of git broke off")
                return None
        found, self._at = self._data[self._at : end], end + 1
        return found

    def here(self, size: int) -> bytes | None:
        """So much of it, where it has come already."""
        end = self._at + size
        if end > len(self._data):
            return None
        found, self._at = self._data[self._at : end], end
        return found

    async def exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while len(self._data) - self._at < size:
            parts.append(self._data[self._at :])
            size -= len(parts[-1])
            self._at = len(self._data)
            if not await self._more():
                raise GitFailed("an answer of git broke off")
        parts.append(self._data[self._at : self._at + size])
        self._at += size
        return b"".join(parts) if len(parts) > 1 else parts[0]

    async def _more(self) -> bool:
        piece = await anext(self._pieces, b"")
        self._data, self._at = self._data[self._at :] + piece, 0
        return bool(piece)
