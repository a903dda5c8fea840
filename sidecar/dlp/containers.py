"""What archives and compressed streams inside a text hold: zip (so office documents, packages), gzip, bzip2, xz, zstd,
zlib, compressed texts in a PNG. Pure, bounded by the scan's allowance: what would take more is refused, not passed.

Streams are read piece by piece and each byte of input is paid for, so neither many starts nor a bomb cost more than
their share. A stream that is cut off or broken gives what it held until then.
"""

import bz2
import io
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import zstandard

from sidecar.dlp.derived import Allowance

_PIECE = 16 * 1024
_SLOW = 4
"""bzip2 and xz take longer for a byte than scanning it: they may give so many times less."""
MEMORY = 32 << 20
WINDOW = 1 << 23
_STORED = 4096
"""Of a member that is stored as it is, what is looked at again: its beginning touches the header."""

_KEYWORD = 128
"""Bytes of a PNG's chunk before the stream: a keyword of 79 and, of the newer kind, a language."""

ZIP_MEMBER = b"PK\x03\x04"
ZIP_HEADER = struct.Struct("<4sHHHHHIIIHH")
_TEXT_CHUNK = re.compile(rb"zTXt|iTXt")
ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
"""How a zlib stream begins. So few bytes count only where a text, or a part of one behind an empty line, does."""
_PART = re.compile(rb"\n\r?\n(?=\x78[\x01\x5e\x9c\xda])")
BEGINS: dict[str, re.Pattern[bytes]] = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "bzip2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}

SIGNS = (
    r"PK\x03\x04",
    r"\x1f\x8b\x08",
    r"BZh[1-9]1AY&SY",
    r"\xfd7zXZ\x00",
    r"\x28\xb5\x2f\xfd",
    r"(?:\A|\n\n|\n\r\n)\x78[\x01\x5e\x9c\xda]",
    "zTXt|iTXt",
)
"""Each as an expression for the search."""


class Held(NamedTuple):
    """`data` is what text[start:end] holds."""

    name: str
    start: int
    end: int
    data: bytes


class _Stream(Protocol):
    """What decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def held(text: bytes, allowance: Allowance) -> Iterator[Held]:
    """Everything that is compressed in a text."""
    yield from _members(text, allowance)
    for name, begin in BEGINS.items():
        yield from _streams(text, name, begin, allowance)
    done = 0
    for at in _zlib_places(text):
        if at >= done:
            data, end = _read(text, at, zlib.decompressobj(15), allowance, 1)
            done = max(end, at + 1)
            if data:
                yield Held("zlib", at, end, data)
            else:
                allowance.vain()


def _zlib_places(text: bytes) -> Iterator[int]:
    """Where two bytes may begin a zlib stream: that is no sign by itself."""
    if ZLIB.match(text):
        yield 0
    for part in _PART.finditer(text):
        yield part.end()
    for chunk in _TEXT_CHUNK.finditer(text):
        for match in ZLIB.finditer(text, chunk.end(), chunk.end() + _KEYWORD):
            yield match.start()


def _members(text: bytes, allowance: Allowance) -> Iterator[Held]:
    """The members of a zip archive, whatever its directory says of them."""
    at = text.find(ZIP_MEMBER)
    while at >= 0:
        begin = end = at + 4
        if at + ZIP_HEADER.size <= len(text):
            _, _, _, method, _, _, _, size, _, name, extra = ZIP_HEADER.unpack_from(text, at)
            begin = end = at + ZIP_HEADER.size + name + extra
            if method == 8:
                data, end = _read(text, begin, zlib.decompressobj(-15), allowance, 1)
            else:
                data = text[begin : begin + min(size, _STORED)]
            if data:
                yield Held("zip", at, end, allowance.take(data) if method != 8 else data)
            else:
                allowance.vain()
        at = text.find(ZIP_MEMBER, at + 4)  # in its name as well, which is as long as it says
        if begin <= at < end:
            at = text.find(ZIP_MEMBER, end)


def _streams(text: bytes, name: str, begin: re.Pattern[bytes], allowance: Allowance) -> Iterator[Held]:
    match = begin.search(text)
    while match is not None:
        at = match.start()
        data, end = _open(name, text, at, allowance)
        if data:
            yield Held(name, at, end, data)
        else:
            allowance.vain()
        match = begin.search(text, max(end, at + 3))


def _open(name: str, text: bytes, at: int, allowance: Allowance) -> tuple[bytes, int]:
    if name == "zstd":
        return _zstd(text, at, allowance)
    made: dict[str, Callable[[], _Stream]] = {
        "gzip": lambda: zlib.decompressobj(31),
        "bzip2": bz2.BZ2Decompressor,
        "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY),
    }
    return _read(text, at, made[name](), allowance, 1 if name == "gzip" else _SLOW)


def _read(text: bytes, at: int, stream: _Stream, allowance: Allowance, share: int) -> tuple[bytes, int]:
    """What a stream at text[at:] gives until it ends or breaks, and where that is."""
    out = bytearray()
    most = max(1, allowance.left // share)
    begin = at
    try:
        while at < len(text) and not stream.eof:
            piece = text[at : at + _PIECE]
            allowance.attempt(piece if at > begin else piece[:512])
            at += len(piece)
            out += stream.decompress(piece, most - len(out) + 1)
            if len(out) > most:
                allowance.left = 0  # there is more
                break
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return allowance.take(bytes(out)), begin  # what follows may be another
    return allowance.take(bytes(out)), at - len(stream.unused_data) if out else begin


def _zstd(text: bytes, at: int, allowance: Allowance) -> tuple[bytes, int]:
    source = io.BytesIO(text[at:])
    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(source, read_size=4096)
    out = bytearray()
    try:
        while piece := reader.read(min(_PIECE, allowance.left + 1)):
            out += allowance.take(piece)
    except zstandard.ZstdError:
        if not out:
            return b"", at
    read = source.tell()
    allowance.attempt(text[at : at + read])
    return bytes(out), at + read
