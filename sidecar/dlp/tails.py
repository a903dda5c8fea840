"""Whether a text that comes in pieces ends inside a secret, as it is or under what it is written in: escapes, base64,
hex and base32 of other encodings, gzip. Pure. A hit is a reason to wait for the next piece of the text.

What each encoding makes of a secret by itself is in `grams`. Layers above that are taken off the last bytes of the
text; an escape that has only begun is left out meanwhile.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from sidecar.dlp.bits import base32_offsets
from sidecar.dlp.derive import base64_letters, from_base64, from_hex, hex_alone
from sidecar.dlp.derived import source_span
from sidecar.dlp.escapes import entities, percent, unescape
from sidecar.dlp.grams import SIZE, Grams

_LAYERS = 3
_WINDOW = 256
"""Bytes that hold six letters, each escaped three times."""
_NEAR = 64
"""Bytes at a text's end in which the sign of an escape stands if one of those letters is escaped."""
_RUN = 2048
"""Bytes of a run of one alphabet that are decoded: as many as are kept of what has gone on."""
_MOST_INFLATED = 64 * 1024

_BEGUN = re.compile(rb"[%\\&][#{0-9A-Za-z]{0,11}\Z")
"""How an escape stands there that may go on."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_\r\n"
_HEX = b"0123456789abcdefABCDEFxX:, \r\n"
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"abcdefghijklmnopqrstuvwxyz234567"
_LEAST_BASE64, _LEAST_HEX, _LEAST_BASE32 = 8, 12, 10
"""Characters that stand for six others."""
_TEXT = bytes(range(32, 127)) + b"\t\r\n"
_GZIP = b"\x1f\x8b\x08"
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")

type _Back = Callable[[int], int]
"""Where something of the decoded text begins in the text itself."""


def tail(grams: Grams, text: bytes) -> int:
    """Where the part of a secret begins with which `text` ends; its length where there is none."""
    return _first(grams, text, _LAYERS)


def _first(grams: Grams, text: bytes, layers: int) -> int:
    first = grams.tail(text)
    for decoded, back in (*_unescaped(text), *_runs(text)) if layers else ():
        at = _first(grams, decoded, layers - 1)
        if at < len(decoded):  # where the text itself does so, it may begin earlier under its escapes
            first = min(first, back(at))
    return first


def _unescaped(text: bytes) -> Iterator[tuple[bytes, _Back]]:
    base = max(0, len(text) - _WINDOW)
    window = text[base:]
    if not any(sign in window[-_NEAR:] for sign in (b"%", b"\\", b"&")):
        return
    begun = _BEGUN.search(window, max(0, len(window) - 12))
    for piece in (window, window[: begun.start()]) if begun else (window,):
        decoded = _step(piece)
        if decoded != window:
            yield decoded, partial(_source, base, piece, len(decoded))


def _source(base: int, piece: bytes, size: int, at: int) -> int:
    return base + source_span(_step, piece, at, size)[0]


def _step(text: bytes) -> bytes:
    return entities(percent(unescape(text)))


def _runs(text: bytes) -> Iterator[tuple[bytes, _Back]]:
    """What the run of an alphabet with which `text` ends decodes to, or a stream that goes on. It waits as a whole."""
    for size, part in _decoded(text[-_RUN:]):
        start = len(text) - size
        for found in (part, _inflated(part)):
            if end := _ending(found, _TEXT, SIZE):
                yield end, partial(_whole, start)


def _whole(start: int, at: int) -> int:
    return start


def _decoded(text: bytes) -> Iterator[tuple[int, bytes]]:
    """How many bytes at its end are such a run, and what they may say."""
    if (at := text.find(_GZIP)) >= 0:
        yield len(text) - at, text[at:]
    if run := _ending(text, _BASE64, _LEAST_BASE64):
        letters = base64_letters(run)
        yield from ((len(run), from_base64(letters[offset:])) for offset in range(4))
        for alphabet in _BASE32:
            if single := _ending(run, alphabet, _LEAST_BASE32):
                yield from ((len(single), data) for data in base32_offsets(single))
    if run := _ending(text, _HEX, _LEAST_HEX):
        digits = hex_alone(run)
        yield from ((len(run), from_hex(digits[offset:])) for offset in range(2))


def _ending(text: bytes, alphabet: bytes, least: int) -> bytes:
    """The run of `alphabet` with which `text` ends, if it has as many bytes as `least`."""
    size = len(text) - len(text.rstrip(alphabet))
    return text[-size:] if size >= least else b""


def _inflated(data: bytes) -> bytes:
    """What a gzip or zlib stream holds that has begun in `data` and goes on behind it."""
    at = data.find(_GZIP)
    if at < 0 and not _ZLIB.match(data):
        return b""
    stream = zlib.decompressobj(47)
    try:
        plain = stream.decompress(data[max(0, at) :], _MOST_INFLATED)
    except zlib.error:
        return b""
    return b"" if stream.eof else plain
