"""Clone and fetch: upstream's present state first, then git's own upload-pack, its answer passed on as it comes."""

import os
from collections.abc import AsyncIterator, Callable

from sidecar.gitgate.git import AS_IT_IS, finished, pieces
from sidecar.gitgate.mirror import Mirror
from sidecar.gitgate.pktline import FLUSH, Malformed, band, next_packet, packet
from sidecar.gitgate.stream import Stream

RESULT = "application/x-git-upload-pack-result"
MAX_BEFORE_PACK = 4 * 1024 * 1024
"""What an answer may hold before its pack: acknowledgements, shallow lines, wanted references."""


def protocol(header: str) -> str:
    """The value of Git-Protocol that is passed to git: one of its versions, nothing that could be more."""
    return "version=2" if "version=2" in header.split(":") else "version=1" if "version=1" in header.split(":") else ""


def refused(text: str) -> bytes:
    """The answer that git shows to its user (gitprotocol-pack: ERR); of an error of HTTP it shows the number alone."""
    return packet(b"ERR " + text.encode())


async def advertise(mirror: Mirror, version: str, stream: Stream) -> None:
    """Answer `info/refs` for a fetch."""
    async with mirror.git.start(
        "upload-pack", "--stateless-rpc", "--advertise-refs", str(mirror.path),
        cwd=mirror.path, env={"GIT_PROTOCOL": version},
    ) as running:  # fmt: skip
        await stream.begin(200, "application/x-git-upload-pack-advertisement")
        if version != "version=2":
            await stream.put(packet(b"# service=git-upload-pack\n") + FLUSH)
        async for piece in pieces(running):
            await stream.put(piece)
        await finished(running)


async def serve(
    mirror: Mirror, version: str, fd: int, stream: Stream, count: Callable[[int], None], stale: str
) -> None:
    """Answer a request of a fetch, whose body is in `fd`. `stale`: why upstream's present state is not there, if so."""
    os.lseek(fd, 0, os.SEEK_SET)
    async with mirror.git.start(
        *AS_IT_IS, "upload-pack", "--stateless-rpc", "--strict", str(mirror.path),
        cwd=mirror.path, env={"GIT_PROTOCOL": version}, stdin=fd,
    ) as running:  # fmt: skip
        await stream.begin(200, RESULT)
        source = pieces(running)
        if stale:
            source = with_warning(
                source, f"carboy: upstream cannot be reached, this is the last state known ({stale})\n"
            )
        async for piece in source:
            count(len(piece))
            await stream.put(piece)
        await finished(running)


async def with_warning(source: AsyncIterator[bytes], text: str) -> AsyncIterator[bytes]:
    """An answer with a line for the user: put on the side band, where the pack begins. Where none does, as it is."""
    held = b""
    at = 0
    looking = True
    async for piece in source:
        if not looking:
            yield piece
            continue
        held += piece
        try:
            place, at = _pack_begins(held, at)
        except Malformed:
            place, looking = -1, len(held) < MAX_BEFORE_PACK and _cut_off(held, at)
        if place >= 0:
            yield held[:place] + b"".join(band(2, text.encode())) + held[place:]
            held, looking = b"", False
        elif not looking:
            yield held
            held = b""
    if held:
        yield held


def _pack_begins(data: bytes, at: int) -> tuple[int, int]:
    """Where the first packet of a side band stands, else -1; and up to where there is none. Raises Malformed."""
    while at < len(data):
        if data[at : at + 4] in (b"0001", b"0002"):
            at += 4
            continue
        line, after = next_packet(data, at)
        if line is not None and line[:1] in (b"\x01", b"\x02"):
            return at, at
        at = after
    return -1, at


def _cut_off(data: bytes, at: int) -> bool:
    """Whether what stands at `at` may be the beginning of a packet that has not come in full."""
    rest = data[at : at + 4]
    if len(rest) < 4:
        return True
    try:
        return int(rest, 16) > len(data) - at
    except ValueError:
        return False
