"""Frames on a stream socket, as pure state: a 4-byte big-endian length, then one JSON message.

Descriptors come beside the bytes (SCM_RIGHTS) and are matched by the count that a message declares, not by where they
turned up: the kernel may hand out the bytes of several frames with the descriptors of the last. Must never do I/O
other than closing descriptors nobody asked for.
"""

import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import ValidationError

from sidecar.contract import WIRE_VERSION, Note, Reply, Request

MAX_FRAME = 16 * 1024 * 1024
"""docs/architecture.md: the largest frame. A policy with thousands of routes is below 1 MB."""
MAX_FDS = 16
"""Descriptors with one frame; the most any op passes is two."""

type Message = Request | Reply | Note


class BadFrame(Exception):
    """The peer does not speak this protocol. The text is for a log; it never holds the peer's bytes."""


def pack(message: Message) -> bytes:
    """`message` as one frame. Bodies are plain JSON data already, so nothing secret-aware is needed here."""
    data = orjson.dumps(message.model_dump(mode="python"))
    if len(data) > MAX_FRAME:
        raise BadFrame(f"a message of {len(data)} bytes is larger than {MAX_FRAME}")
    return len(data).to_bytes(4, "big") + data


def parse(data: bytes) -> Message:
    """The message in `data`. Raises BadFrame on anything but exactly one known shape of this version."""
    try:
        raw: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadFrame("not JSON") from None
    if not isinstance(raw, dict):
        raise BadFrame("not an object")
    if raw.get("v", WIRE_VERSION) != WIRE_VERSION:  # pyright: ignore[reportUnknownMemberType]
        raise BadFrame("another version of the protocol")
    kind = Request if "op" in raw else Reply if "re" in raw else Note
    try:
        return kind.model_validate(raw)
    except ValidationError:
        raise BadFrame("not a message of this protocol") from None


@dataclass
class Inbox:
    """Bytes and descriptors as they come; `take()` gives whole messages."""

    data: bytearray = field(default_factory=bytearray)
    fds: deque[int] = field(default_factory=deque[int])

    def feed(self, data: bytes, fds: list[int]) -> None:
        self.data += data
        self.fds.extend(fds)
        if len(self.fds) > 4 * MAX_FDS:
            raise BadFrame("too many descriptors")

    def take(self) -> tuple[Message, list[int]] | None:
        """The next whole message with its descriptors, or None."""
        if len(self.data) < 4:
            return None
        size = int.from_bytes(self.data[:4], "big")
        if size > MAX_FRAME:
            raise BadFrame("a frame that is too large")
        if len(self.data) < 4 + size:
            return None
        message = parse(bytes(self.data[4 : 4 + size]))
        if message.fds > len(self.fds):
            raise BadFrame("descriptors that were announced did not come")
        del self.data[: 4 + size]
        return message, [self.fds.popleft() for _ in range(message.fds)]

    def rest(self) -> bytes:
        """What follows the last message taken: the first bytes of whatever the socket is used for next."""
        rest = bytes(self.data)
        self.data.clear()
        return rest

    def close(self) -> None:
        while self.fds:
            close_fds([self.fds.popleft()])


def close_fds(fds: list[int]) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            continue
