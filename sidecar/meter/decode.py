"""Decodes a content encoding on a copy, as the bytes come. Bounded: no input makes it hold or make more than it may."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import brotli as _untyped_brotli  # pyright: ignore[reportMissingTypeStubs]
import zstandard

brotli: Any = _untyped_brotli
"""It has no types."""

PIECE = 64 * 1024
"""Most bytes that are decoded at a time."""

ZSTD_STEP = 128
"""Compressed bytes given to zstd at a time: it has no bound on output; a block makes up to 128 KiB of 4 bytes."""

ZSTD_WINDOW = 8 * 1024 * 1024
"""The largest window a server may use (RFC 9659)."""

MOST_DECODED = 64 * 1024 * 1024
MOST_RATIO = 200
"""Decoded bytes allowed whatever the ratio, and the ratio beyond: JSON of a model's answer reaches 20."""


class Undecodable(Exception):
    """The encoding is unknown, broken, or makes too much of too little."""


class _Decoder(Protocol):
    @property
    def whole(self) -> bool:
        """What came does not end inside of something that goes on."""
        ...

    def __call__(self, data: bytes) -> Iterator[bytes]: ...


class Decoder:
    """`feed` gives the decoded pieces. After `Undecodable` it gives nothing more."""

    def __init__(self, content_encoding: str) -> None:
        if not readable(content_encoding):
            raise Undecodable(content_encoding[:64])
        names = _names(content_encoding)
        self._chain = [_MAKERS[name]() for name in reversed(names)]  # the last was applied last
        self._taken = 0
        self._made = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not self._chain:
            yield data
            return
        self._taken += len(data)
        for piece in self._through(data, self._chain):
            self._made += len(piece)
            if self._made > max(MOST_DECODED, MOST_RATIO * self._taken):
                raise Undecodable("too much of too little")
            yield piece

    @property
    def whole(self) -> bool:
        """False where what came is only the beginning of an encoded body."""
        return all(decoder.whole for decoder in self._chain)

    def _through(self, data: bytes, chain: list[_Decoder]) -> Iterator[bytes]:
        if not chain:
            yield data
            return
        for piece in chain[0](data):
            yield from self._through(piece, chain[1:])


def readable(content_encoding: str) -> bool:
    """Whether there is a decoder for it."""
    names = _names(content_encoding)
    return len(names) <= 2 and all(name in _MAKERS for name in names)


def _names(content_encoding: str) -> list[str]:
    names = [name.strip().lower() for name in content_encoding.split(",")]
    return [name for name in names if name and name != "identity"]


class _Gzip:
    """Members one after another; zeros between and behind them are padding."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._begun = False

    @property
    def whole(self) -> bool:
        return self._inflate.eof or not self._begun

    def __call__(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        while data:
            if self._inflate.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            yield from _inflated(self._inflate, data)
            data = self._inflate.unused_data


class _Deflate:
    """With zlib's header as it should be, or (some servers) without: the first two bytes tell (RFC 1950, 2.2)."""

    def __init__(self) -> None:
        self._head = b""
        self._inflate: Any = None

    @property
    def whole(self) -> bool:
        return not self._head if self._inflate is None else self._inflate.eof

    def __call__(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            self._head += data
            if len(self._head) < 2:
                return
            first, second = self._head[:2]
            wrapped = first & 0x0F == zlib.DEFLATED and (first * 256 + second) % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            data, self._head = self._head, b""
        if not self._inflate.eof:
            yield from _inflated(self._inflate, data)


def _inflated(inflate: Any, data: bytes) -> Iterator[bytes]:
    """What `data` decodes to, a bounded piece at a time, up to its end or the stream's."""
    full = False
    while data or full:
        try:
            made = inflate.decompress(data, PIECE)
        except zlib.error as error:
            raise Undecodable("deflate") from error
        if made:
            yield made
        data = inflate.unconsumed_tail
        full = len(made) == PIECE  # all of the input may be in, and some of the output still to come


class _Brotli:
    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()
        self._begun = False

    @property
    def whole(self) -> bool:
        return self._inflate.is_finished() or not self._begun

    def __call__(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        try:
            made = self._inflate.process(data, output_buffer_limit=PIECE)
            # once it has all of the input it can "accept more", however much of the output is still to come
            while made or not self._inflate.can_accept_more_data():
                if made:
                    yield made
                made = self._inflate.process(b"", output_buffer_limit=PIECE)
        except brotli.error as error:
            raise Undecodable("br") from error


class _Zstd:
    def __init__(self) -> None:
        self._inflate = self._make()
        self._begun = False

    @property
    def whole(self) -> bool:
        return self._inflate.eof or not self._begun

    def _make(self) -> "zstandard.ZstdDecompressionObj":
        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    def __call__(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        for at in range(0, len(data), ZSTD_STEP):
            rest = data[at : at + ZSTD_STEP]
            while rest:
                try:
                    if self._inflate.eof:
                        self._inflate = self._make()
                    made = self._inflate.decompress(rest)
                except zstandard.ZstdError as error:
                    raise Undecodable("zstd") from error
                rest = self._inflate.unused_data if self._inflate.eof else b""
                if made:
                    yield made


_MAKERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
