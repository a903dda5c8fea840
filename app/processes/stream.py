"""Frames of an attached terminal: one byte of kind, four of length, then the bytes. Pure.

`o` output, `i` input, `r` resize (`ROWS COLS`), `x` the agent ended (its exit code), `d` dropped: this reader was too
slow and must attach again. A peer that sends anything else is cut off.
"""

import struct
from collections.abc import Iterator

OUTPUT, INPUT, RESIZE, EXIT, DROPPED = b"o", b"i", b"r", b"x", b"d"
KINDS = frozenset((OUTPUT, INPUT, RESIZE, EXIT, DROPPED))
MAX_FRAME = 1024 * 1024
"""Longest frame; a redraw is cut into several."""
_HEADER = struct.Struct(">cI")


class BadStream(Exception):
    """The peer does not speak this protocol."""


def encode(kind: bytes, data: bytes) -> bytes:
    """One frame, or several where `data` is longer than a frame may be."""
    parts = [data[start : start + MAX_FRAME] for start in range(0, len(data), MAX_FRAME)] or [b""]
    return b"".join(_HEADER.pack(kind, len(part)) + part for part in parts)


class Decoder:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._data += data
        while len(self._data) >= _HEADER.size:
            kind, size = _HEADER.unpack_from(self._data)
            if kind not in KINDS or size > MAX_FRAME:
                raise BadStream
            end = _HEADER.size + size
            if len(self._data) < end:
                return
            frame = bytes(self._data[_HEADER.size : end])
            del self._data[:end]
            yield kind, frame


def parse_size(data: bytes) -> tuple[int, int]:
    """Rows and columns of a resize frame, within what a terminal can be."""
    try:
        rows, cols = (int(part) for part in data.split())
    except ValueError:
        raise BadStream from None
    if not (1 <= rows <= 1000 and 1 <= cols <= 1000):
        raise BadStream
    return rows, cols
