"""Bodies as the receiver will read them: content encodings, character sets, multipart and form fields. Pure, bounded.

What cannot be decoded is never passed as it is: `Undecodable` tells the caller to refuse the request. The whole body,
decompressed, is always the first part, so nothing is lost between parts.
"""

import binascii
import quopri
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import brotli as brotli_module  # pyright: ignore[reportMissingTypeStubs]
import zstandard

from sidecar.dlp.escapes import percent

_br: Any = cast(Any, brotli_module)  # the binding has no types
MAX_ENCODINGS = 3
MAX_PARTS = 1000
_DEPTH = 3

Code = str


class Undecodable(Exception):
    """The body cannot be examined. `code` is stable (docs/errors.md); the text never holds what was in the body."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Part(NamedTuple):
    """A text to scan: `name` says which field or file, `content_type` what it claims to be."""

    name: str
    data: bytes
    content_type: str | None = None


# --- content encodings --------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """A body without its content encodings, and what they carried `beside` it: no decoder shows that, but it leaves."""

    data: bytes
    beside: bytes = b""


_SLICES = 512, 16_384
"""What a decoder is fed: a stream of a few bytes must not cost a copy of all that follows it."""
MAX_STREAMS = 16_384
"""Streams of gzip, or frames of zstd, one behind the other: block-wise writers make one of 16 KiB each."""
_GZIP_CRC, _GZIP_EXTRA, _GZIP_NAME, _GZIP_COMMENT = 2, 4, 8, 16
_GZIP_FIXED = 10
_ZSTD_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")


def _next(data: bytes, at: int, start: int) -> bytes:
    """The slice of a stream that began at `start`."""
    return data[at : at + _SLICES[at > start]]


def _zlib(data: bytes, limit: int, *, wbits: int) -> Plain:
    """All members of a gzip stream, or one zlib or bare deflate stream, to its very end."""
    out, heads = bytearray(), bytearray()
    at = streams = 0
    while at < len(data):
        start = at
        streams += 1
        if streams > 1 and wbits != 31:
            raise Undecodable("body_undecodable", "something follows the compressed body")
        if streams > MAX_STREAMS:
            raise Undecodable("body_undecodable", "too many compressed streams in a row")
        if wbits == 31:
            heads += _gzip_head(data, start)
        stream = zlib.decompressobj(wbits)
        while at < len(data) and not stream.eof:
            piece = _next(data, at, start)
            out += stream.decompress(piece, limit - len(out) + 1)
            at += len(piece) - len(stream.unused_data)
            if len(out) > limit or stream.unconsumed_tail:
                raise Undecodable("body_too_large", "the decompressed body is larger than may be scanned")
        if not stream.eof:
            raise Undecodable("body_undecodable", "the compressed body is cut off")
    return Plain(bytes(out), bytes(heads))


def _gzip_head(data: bytes, start: int) -> bytes:
    """What stands before a member's data: a name, a comment, fields of anybody's own (RFC 1952 2.3)."""
    flags = data[start + 3] if start + 3 < len(data) else 0
    end = start + _GZIP_FIXED
    if flags & _GZIP_EXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (_GZIP_NAME, _GZIP_COMMENT):
        if flags & flag:
            end = data.find(b"\0", end) + 1 or len(data)
    return data[start : end + (2 if flags & _GZIP_CRC else 0)]


def _gzip(data: bytes, limit: int) -> Plain:
    return _zlib(data, limit, wbits=31)


def _deflate(data: bytes, limit: int) -> Plain:
    try:
        return _zlib(data, limit, wbits=15)
    except zlib.error:
        return _zlib(data, limit, wbits=-15)


def _brotli(data: bytes, limit: int) -> Plain:
    stream = _br.Decompressor()
    out = bytearray()
    piece: bytes = stream.process(data, output_buffer_limit=limit + 1)
    while True:
        out += piece
        if len(out) > limit:
            raise Undecodable("body_too_large", "the decompressed body is larger than may be scanned")
        if stream.is_finished():
            break
        if stream.can_accept_more_data():
            raise Undecodable("body_undecodable", "the compressed body is cut off")
        piece = stream.process(b"", output_buffer_limit=limit + 1 - len(out))
    # blocks of metadata stand as they are in it (RFC 7932 9.2), and only a decoder could tell where
    return Plain(bytes(out), data)


def _zstd(data: bytes, limit: int) -> Plain:
    """All frames. The window is bounded too: a frame may ask for gigabytes of memory."""
    out, skipped = bytearray(), bytearray()
    at = frames = 0
    while at < len(data):
        start = at
        frames += 1
        if frames > MAX_STREAMS:
            raise Undecodable("body_undecodable", "too many compressed streams in a row")
        if _ZSTD_SKIPPED.match(data, at):
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            if at > len(data) or start + 8 > len(data):
                raise Undecodable("body_undecodable", "the compressed body is cut off")
            skipped += data[start + 8 : at]
            continue
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        # fed in slices: the binding has no limit on what one call may give
        while at < len(data) and not stream.eof:
            piece = _next(data, at, start)
            out += stream.decompress(piece)
            at += len(piece) - len(stream.unused_data)
            if len(out) > limit:
                raise Undecodable("body_too_large", "the decompressed body is larger than may be scanned")
        if not stream.eof:
            raise Undecodable("body_undecodable", "the compressed body is cut off")
    return Plain(bytes(out), bytes(skipped))


_DECODERS: dict[str, Callable[[bytes, int], Plain]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}


def decompressed(data: bytes, encoding: str | None, *, limit: int) -> Plain:
    """`data` with its Content-Encoding taken off; at most `limit` bytes, else Undecodable."""
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    names = [name for name in names if name and name != "identity"]
    if len(names) > MAX_ENCODINGS:
        raise Undecodable("body_undecodable", "too many content encodings")
    beside: list[bytes] = []
    for name in reversed(names):
        decoder = _DECODERS.get(name)
        if decoder is None:
            raise Undecodable("body_undecodable", "an unknown content encoding")
        if not data:
            break  # a body of length 0 needs no decoding; some clients send the header anyway
        try:
            data, more = decoder(data, limit)
        except Undecodable:
            raise
        except Exception as error:  # the bindings' own errors have no common base; whatever it is, the body is refused
            raise Undecodable("body_undecodable", "the body is not in the encoding that its header names") from error
        beside.append(more)
    if len(data) > limit:
        raise Undecodable("body_too_large", "the body is larger than may be scanned")
    return Plain(data, b"\n".join(filter(None, beside)))


# --- content types ------------------------------------------------------------------------------------------------

_PARAMETER = re.compile(r""";\s*([A-Za-z0-9_*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))""")
# Character sets in which ASCII bytes mean ASCII: scanned as they are.
_ASCII_SETS = re.compile(
    r"(?:us-)?ascii|utf-?8(?:mb4)?|iso-?8859-?\d{1,2}|latin-?\d|windows-?125\d|cp125\d|koi8-[ru]|big5(?:-hkscs)?|gb(?:k|2312|18030)|"
    r"euc-?(?:jp|kr)|shift[-_]?jis|sjis|macintosh|binary|x-user-defined"
)
_WIDE_SETS = frozenset(
    {"utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be", "utf-7", "utf16", "utf32", "utf7"}
)


_SPELT = 7
"""Less than the longest piece of a secret that counts wherever it stands (`needles.piece_size`)."""


def spelt(pairs: Iterable[bytes]) -> bytes:
    """The values of `name=value` that are so short that a secret may be spelt with them, a few characters in each."""
    values = (pair.rpartition(b"=")[2].strip() for pair in pairs)
    short = [value for value in values if 0 < len(value) <= _SPELT]
    return b"|".join(short) if len(short) > 1 else b""


def parameters(content_type: str) -> dict[str, str]:
    """The parameters of a Content-Type or Content-Disposition header, names in lower case, the first of each."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(content_type):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain)
    return found


def _transcoded(data: bytes, content_type: str) -> bytes | None:
    """`data` as UTF-8 where its character set says something else with these bytes; None where they mean the same."""
    name = parameters(content_type).get("charset", "").strip().lower()
    if not name:
        return None
    if _ASCII_SETS.fullmatch(name):
        if data.isascii() or name.startswith("utf"):
            return None
        try:  # look-alikes and invisible characters are folded in UTF-8 alone
            return data.decode(name, "replace").encode("utf-8", "replace")
        except LookupError:
            return None
    if name not in _WIDE_SETS:
        raise Undecodable("body_undecodable", "an unknown character set")
    return data.decode(name, "replace").encode("utf-8", "replace")


def parts(data: bytes, content_type: str | None, beside: bytes = b"") -> list[Part]:
    """Everything to scan of a decompressed body: all of it, what stood `beside` it, and what its own format encodes."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    found = [Part("", data, content_type)]
    if beside:
        found.append(Part("encoding", beside))
    found += _inner(data, content_type or "", kind, 0, "")
    if len(found) > MAX_PARTS:
        raise Undecodable("body_undecodable", "too many parts")
    return found


def _inner(data: bytes, content_type: str, kind: str, depth: int, prefix: str) -> Iterator[Part]:
    if kind.startswith("multipart/"):
        if depth == _DEPTH:
            raise Undecodable("body_undecodable", "parts nested too deep")
        yield from _multipart(data, content_type, depth, prefix)
    elif kind == "application/x-www-form-urlencoded":
        if b"%" in data or b"+" in data:
            yield Part(f"{prefix}form", data := percent(data.replace(b"+", b" ")))
        if short := spelt(re.split(rb"[&;]", data)):
            yield Part(f"{prefix}values", short)
    elif (wide := _transcoded(data, content_type)) is not None:
        yield Part(f"{prefix}charset", wide, kind or None)


def _multipart(data: bytes, content_type: str, depth: int, prefix: str) -> Iterator[Part]:
    boundary = parameters(content_type).get("boundary", "")
    if not 1 <= len(boundary) <= 200:
        raise Undecodable("body_undecodable", "a multipart body without a boundary")
    pieces = (b"\r\n" + data).split(b"\n--" + boundary.encode("utf-8", "replace"))
    if len(pieces) > MAX_PARTS:
        raise Undecodable("body_undecodable", "too many parts")
    values: list[bytes] = []
    for number, piece in enumerate(pieces[1:]):
        head, gap, body = piece.partition(b"\r\n\r\n")
        if not gap:
            head, gap, body = piece.partition(b"\n\n")
        if not gap:
            continue
        headers = _headers(head)
        name = parameters(headers.get("content-disposition", "")).get("name", "") or str(number)
        label = f"{prefix}part:{name[:60]}"
        plain = _transferred(body.removesuffix(b"\r"), headers.get("content-transfer-encoding", ""))
        kind = headers.get("content-type", "")
        if plain is not None:
            yield Part(label, plain, kind or None)
        elif "json" in kind.lower():
            yield Part(label, body.removesuffix(b"\r"), kind)
        main = kind.partition(";")[0].strip().lower()
        yield from _inner(body if plain is None else plain, kind, main, depth + 1, f"{label}/")
        values.append(body if plain is None else plain)
    if short := spelt(values):
        yield Part(f"{prefix}values", short)


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    unfolded = re.sub(rb"\r?\n[ \t]+", b" ", head)
    for line in unfolded.splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            found.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("utf-8", "replace"))
    return found


def _transferred(body: bytes, encoding: str) -> bytes | None:
    """A part's own transfer encoding taken off, None where it has none."""
    name = encoding.strip().lower()
    if name == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error as error:
            raise Undecodable("body_undecodable", "a part that is not the base64 it claims to be") from error
    if name == "quoted-printable":
        return quopri.decodestring(body)
    if name in ("", "7bit", "8bit", "binary"):
        return None
    raise Undecodable("body_undecodable", "an unknown transfer encoding")
