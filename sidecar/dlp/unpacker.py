"""A file that is one compressed stream or a zip archive, unpacked as it comes: what is too large to be looked at whole.
Pure, bounded in memory. A stream that is cut off or broken gives what it held until then, and ends it. Of a zip archive
whose members overlap nothing can be told: `take` raises Broken.
"""

import bz2
import lzma
import zlib
from typing import Any

import zstandard

from sidecar.dlp.containers import BEGINS, MEMORY, WINDOW, ZIP_HEADER, ZIP_MEMBER
from sidecar.dlp.zips import Broken

_IN, _OUT = 64 * 1024, 1024 * 1024
"""Bytes read and made at a time."""
_IN_ZSTD = 512
"""Its output cannot be bounded: so many bytes hold up to 16 MiB."""
_SIGN = 16
"""Bytes that tell what begins."""
BREAK = b"\n\0\n"
"""Behind each member of an archive: the next begins with a word of its own."""
_BROKEN = zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError


def kind_of(begin: bytes) -> str:
    """What a file is that begins so; nothing where it is none of these."""
    if begin.startswith(ZIP_MEMBER):
        return "zip"
    return next((name for name, sign in BEGINS.items() if sign.match(begin)), "")


class Unpacker:
    """`give` what comes of a file of that kind, and `take` until there is nothing more."""

    def __init__(self, kind: str, overlap: int) -> None:
        self._kind = kind
        self._overlap = overlap
        self._end = b""
        self._rest = b""
        self._stream: Any = None
        self._data = b""
        self._at = 0
        self._over = False

    def give(self, data: bytes) -> None:
        self._data, self._at = b"" if self._over else self._data[self._at :] + data, 0

    def take(self, most: int) -> bytes:
        """The next of what it holds, `most` bytes and some more, behind the end of what was taken before; less where it
        needs more, and nothing where there is nothing new. A member of an archive is not divided where `most` has room
        for it: what is packed in it once more is read from its beginning to its end."""
        before = len(self._end)
        found = bytearray(self._end + self._rest)
        begun = before if self._stream is not None else len(found)
        self._rest = b""
        while len(found) - before < most and not self._over:
            if self._stream is None:
                begun = len(found)
                if not self._begin():
                    break
            try:
                piece, moved = self._step()
            except _BROKEN:
                self._stream = None
                self._over = self._kind != "zip"  # where the next member may be whole
                continue
            found += piece
            if not moved:
                break
        if self._kind == "zip" and self._stream is not None and begun > before and len(found) - before >= most:
            found, self._rest = found[:begun], bytes(found[begun:])
        fresh = len(found) > before
        self._end = bytes(found[-self._overlap :])
        return bytes(found) if fresh else b""

    def _step(self) -> tuple[bytes, bool]:
        """Some of the present stream, and whether there was anything to read."""
        stream = self._stream
        waits = not getattr(stream, "needs_input", True)  # bzip2 and xz keep what they were given
        size = 0 if waits else _IN_ZSTD if self._kind == "zstd" else _IN
        given = memoryview(self._data)[self._at : self._at + size]
        if not given and not waits:
            return b"", False
        piece: bytes = stream.decompress(given) if self._kind == "zstd" else stream.decompress(given, _OUT)
        # at its end zlib names what is left in both
        self._at += len(given) - len(stream.unused_data if stream.eof else getattr(stream, "unconsumed_tail", b""))
        if stream.eof:
            self._stream = None
            piece += BREAK * (self._kind == "zip")
        return piece, True

    def _begin(self) -> bool:
        """Whether a stream begins here; where too little is here to tell, the rest waits."""
        if self._kind == "zip":
            return self._next_member()
        while self._data[self._at : self._at + 1] == b"\0":  # how streams are filled up
            self._at += 1
        begin = self._data[self._at : self._at + _SIGN]
        if kind_of(begin) != self._kind:
            self._over = len(begin) == _SIGN
            return False
        made: dict[str, Any] = {
            "gzip": lambda: zlib.decompressobj(31),
            "bzip2": bz2.BZ2Decompressor,
            "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY),
            "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(),
        }
        self._stream = made[self._kind]()
        return True

    def _next_member(self) -> bool:
        while (at := self._data.find(ZIP_MEMBER, self._at)) >= 0:
            self._at = at
            if at + ZIP_HEADER.size > len(self._data):
                return False
            _, _, _, method, _, _, _, _, _, name, extra = ZIP_HEADER.unpack_from(self._data, at)
            begin = at + ZIP_HEADER.size + name + extra
            if begin > len(self._data):
                return False
            if method == zlib.DEFLATED:
                if self._data.find(ZIP_MEMBER, at + 4, begin) >= 0:
                    raise Broken("a member of it begins in the name of another")
                self._at = begin
                self._stream = zlib.decompressobj(-15)
                return True
            self._at += len(ZIP_MEMBER)  # what is stored is seen as it is
        self._at = max(self._at, len(self._data) - len(ZIP_MEMBER) + 1)
        return False
