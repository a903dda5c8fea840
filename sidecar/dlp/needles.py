"""What a known secret looks like on the wire: its needles, in every encoding of egress.md. Pure.

Needles are compared on the *projection* of a text: its ASCII letters and digits alone, so that separators, line wraps
and the escaping of anything else vanish. An encoding's needles are windows of its projection, long enough to stand for
12 characters of the secret. Outer layers of a nested encoding are taken off by `derive`; those that cannot be told from
text (reversed, case-swapped, rot13) are laid over every other encoding here.
"""

import base64
import html
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sidecar.dlp.fold import fold
from sidecar.dlp.information import dull_prefix, informative
from sidecar.dlp.lookup import lookup
from sidecar.secret import Secret

WINDOW = 12
"""Consecutive letters and digits of a secret that count (egress.md); shorter secrets are matched exactly only."""

LEAST = 4
"""A shorter secret would be found in every text; the launch refuses or warns of it."""

_ALNUM = bytes(code < 128 and chr(code).isalnum() for code in range(256))
_NOT_ALNUM = bytes(code for code, wanted in enumerate(_ALNUM) if not wanted)
_SWAP = bytes.maketrans(
    bytes([*range(65, 91), *range(97, 123)]), bytes([*range(97, 123), *range(65, 91)])
)  # case-swapped letters
_ROT13 = bytes.maketrans(
    bytes([*range(65, 91), *range(97, 123)]), bytes([*range(78, 91), *range(65, 78), *range(110, 123), *range(97, 110)])
)
_URL = bytes.maketrans(b"-_", b"+/")


Array = np.ndarray[Any, Any]

_LARGE = 64 * 1024
"""From here on arrays are as fast, and they leave the interpreter to other threads, the event loop's first."""
_ROW = 20
"""Letters and digits in a row, on average, from which rows are copied faster than letters."""
_AT_ONCE = 128 * 1024
"""Bytes of a text of which arrays are made at a time: they are eight times itself, and the processor's caches small."""


def project(text: bytes) -> bytes:
    """The ASCII letters and digits of `text`, in order."""
    if len(text) < _LARGE:
        return text.translate(None, _NOT_ALNUM)
    alnum = np.frombuffer(lookup(text, _ALNUM), np.bool_)
    codes = np.frombuffer(text, np.uint8)
    spans = [slice(at, at + _AT_ONCE) for at in range(0, len(codes), _AT_ONCE)]
    return b"".join([_kept(codes[span], alnum[span]) for span in spans])


def _kept(codes: Array, wanted: Array) -> Array:
    """The `wanted` ones of these bytes."""
    others = len(codes) - np.count_nonzero(wanted)
    if not others:
        return codes
    # the first copies row by row, the second letter by letter
    return codes[wanted] if others * _ROW < len(codes) else codes.compress(wanted)


class Known(NamedTuple):
    """A provisioned secret by name, or the bottle's canary."""

    name: str
    value: Secret
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoding of a secret. `window`/`stride`: how its projection is cut; `texts`: how it stands when unbroken."""

    name: str
    projection: bytes
    window: int
    stride: int
    texts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """Where a literal comes from: secret, encoding (its place in the list), offset in that projection."""

    secret: int
    encoding: int
    offset: int
    piece: bool = False


def _base64_cores(raw: bytes) -> Iterator[bytes]:
    """The characters of base64 that depend on `raw` alone, at each of the three alignments."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).rstrip(b"=")
        start = (0, 2, 3)[offset]
        end = len(encoded) - (1 if (len(raw) + offset) % 3 else 0)
        yield encoded[start:end]


def _base32_cores(raw: bytes) -> Iterator[bytes]:
    for offset in range(5):
        encoded = base64.b32encode(b"\0" * offset + raw).rstrip(b"=")
        start = -(-offset * 8 // 5)
        end = (len(raw) + offset) * 8 // 5
        yield encoded[start:end]


_DIGITS85 = {
    "ascii85": bytes(range(33, 118)),
    "base85": b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
    "z85": b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
}
_BASE85_TO = {name: bytes.maketrans(_DIGITS85["base85"], digits) for name, digits in _DIGITS85.items()}
_BASE32HEX = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHIJKLMNOPQRSTUV")
_UUENCODE = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", b"`" + bytes(range(33, 96))
)
_BASE58 = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _base85_cores(raw: bytes) -> Iterator[bytes]:
    """The groups of base85 that depend on `raw` alone, at each of the four alignments."""
    for skip in range(4):
        whole = (len(raw) - skip) // 4 * 4
        yield base64.b85encode(raw[skip : skip + whole])


def _base58(raw: bytes) -> bytes:
    """Of the secret alone: with anything before it or behind, every digit is another."""
    number, digits = int.from_bytes(raw), bytearray()
    while number:
        number, rest = divmod(number, 58)
        digits.append(_BASE58[rest])
    return bytes(reversed(digits))


def _seldom(raw: bytes) -> Iterator[Encoded]:
    """Encodings that tools offer and few use: not laid over by others."""
    for core in _base85_cores(raw):
        for name, table in _BASE85_TO.items():
            digits = core.translate(table)
            yield Encoded(name, project(digits), 12, 8, (digits,))
    for core in _base64_cores(raw):
        yield Encoded("uuencode", project(core.translate(_UUENCODE)), 12, 8)
    for core in _base32_cores(raw):
        yield Encoded("base32hex", project(core.translate(_BASE32HEX)), 20, 28, (core.translate(_BASE32HEX),))
    if len(raw) <= _SHORT:
        yield Encoded("base58", _base58(raw), 16, 12, (_base58(raw),))


_SHORT = 512
"""Bytes of a secret that is written as one large number: dividing is quadratic."""


def _joined(raw: bytes, form: str) -> bytes:
    return "".join(form.format(byte) for byte in raw).encode()


def _deflated(raw: bytes) -> Iterator[bytes]:
    """base64 of the secret alone inside gzip and zlib streams at any level, without their headers and trailers."""
    streams = {zlib.compress(raw, level)[2:-4] for level in range(1, 10)}
    for stream in sorted(streams):
        for skip in (10, 2, 0):  # header of gzip, of zlib, none
            encoded = base64.b64encode(b"\0" * skip + stream).rstrip(b"=")
            yield encoded[-(-skip * 4 // 3) : len(encoded) - 1]


def _plain_encodings(raw: bytes) -> Iterator[Encoded]:
    """Each encoding by itself, with the window that holds 12 characters of the secret."""
    yield Encoded("raw", project(raw), WINDOW, 1, (raw,))
    folded = fold(raw)
    if folded != raw:
        yield Encoded("folded", project(folded), WINDOW, 2, (folded,))
    entities = html.escape(raw.decode("utf-8", "replace")).encode()
    if entities != raw:
        yield Encoded("html", project(entities), WINDOW, 4, (entities,))
    for core in _base64_cores(raw):
        yield Encoded("base64", project(core), 16, 6, (core, core.translate(bytes.maketrans(b"+/", b"-_"))))
    for core in _base32_cores(raw):
        yield Encoded("base32", project(core), 20, 28, (core,))
        yield Encoded("base32", project(core.lower()), 20, 28, (core.lower(),))
    lower = raw.hex().encode()
    yield Encoded("hex", lower, 24, 12, (lower,))
    yield Encoded("hex", lower.upper(), 24, 12, (lower.upper(),))
    yield Encoded("url", project(_joined(raw, "%{:02X}")), 24, 24, (_joined(raw, "%{:02X}"), _joined(raw, "%{:02x}")))
    yield Encoded("hex-list", _joined(raw, "0x{:02x}"), 48, 24)
    yield Encoded("hex-list", _joined(raw, "0x{:02X}"), 48, 24)
    yield Encoded("escapes", _joined(raw, "x{:02x}"), 36, 24)
    yield Encoded("escapes", _joined(raw, "u{:04x}"), 60, 30)
    yield Encoded("html", _joined(raw, "{:d}"), 28, 16)
    yield Encoded("octal", _joined(raw, "{:03o}"), 36, 24)
    for core in _deflated(raw):
        yield Encoded("gzip+base64", project(core), 20, 16)


def _reversed(value: bytes) -> bytes:
    return value[::-1]


def _swapped(value: bytes) -> bytes:
    return value.translate(_SWAP)


def _rot13(value: bytes) -> bytes:
    return value.translate(_ROT13)


OVERLAYS: dict[str, Callable[[bytes], bytes]] = {"reversed": _reversed, "case-swapped": _swapped, "rot13": _rot13}


def _overlaid(encoded: Encoded) -> Iterator[Encoded]:
    """The encodings that look like text, over another one."""
    stride = max(3, encoded.stride)
    for name, change in OVERLAYS.items():
        texts = tuple(change(text) for text in encoded.texts)
        label = name if encoded.name == "raw" else f"{name}+{encoded.name}"
        yield Encoded(label, change(encoded.projection), encoded.window, stride, texts)


_NO_RUN = {"base64": 18, "base32": 20}
"""Fewer bytes give a run of the alphabet that is not decoded: 24 and 32 letters are (`derive`)."""


def _nested(raw: bytes) -> Iterator[Encoded]:
    """What is read off the outer encoding of a longer secret, of one for which that is too short."""
    inner = {name: change(raw) for name, change in OVERLAYS.items()}
    inner["base64"] = base64.b64encode(raw).rstrip(b"=")
    for name, text in inner.items():
        if len(text) < _NO_RUN["base64"]:
            for core in _base64_cores(text):
                yield Encoded(f"base64+{name}", project(core), 16, 6, (core,))
        if len(text) < _NO_RUN["base32"]:
            for core in _base32_cores(text):
                for cased in (core, core.lower()):
                    yield Encoded(f"base32+{name}", project(cased), 20, 28, (cased,))


def encodings(raw: bytes) -> tuple[Encoded, ...]:
    """Every form whose needles are searched for; equal projections once, plain ones first."""
    found: dict[bytes, Encoded] = {}
    plain = list(_plain_encodings(raw))
    once = [over for encoded in plain for over in _overlaid(encoded)]
    twice = [over for encoded in once if "+" not in encoded.name for over in _overlaid(encoded)]
    upper, lower = raw.upper(), raw.lower()
    cased = [Encoded("case", project(text), WINDOW, 3, (text,)) for text in (upper, lower)]
    for encoded in (*plain, *once, *cased, *twice, *_seldom(raw), *_nested(raw)):
        if encoded.projection:
            found.setdefault(encoded.projection, encoded)
    return tuple(found.values())


def windows(encoded: Encoded, prefix: int) -> Iterator[tuple[int, bytes]]:
    """(offset, literal) of the needles of one encoding. The last window ends where the projection does.

    `prefix` letters and digits at the secret's start are a vendor's constants: a window of the raw form counts only
    with most of it beyond them.
    """
    text, size = encoded.projection, encoded.window
    if len(text) < size:
        size = len(text)
    if size < 10:  # fewer letters and digits than that are no evidence; such a secret is matched literally
        return
    offsets = {*range(0, len(text) - size + 1, encoded.stride), len(text) - size}
    raw = encoded.name == "raw"
    for offset in sorted(offsets):
        literal = text[offset : offset + size]
        if informative(literal) and not (raw and prefix - offset > size - 8):
            yield offset, literal


def pieces(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, literal) of every 6–8 letters and digits of a secret, as short as its alphabet allows.

    36 bits each: a chance hit of three distinct ones of one secret in 5 MB of random text is below 1 in 10⁵.
    """
    text = project(raw)
    size = piece_size(text)
    for offset in range(dull_prefix(raw), len(text) - size + 1):
        literal = text[offset : offset + size]
        if informative(literal):
            yield offset, literal


def piece_size(projection: bytes) -> int:
    """6 where upper, lower and digits mix, 7 with one case and digits, 8 for hex and digits alone."""
    if not set(projection.lower()) - set(b"0123456789abcdef"):
        return 8
    mixed = any(97 <= c <= 122 for c in projection) and any(65 <= c <= 90 for c in projection)
    return 6 if mixed else 7


def decoded_url_alphabet(text: bytes) -> bytes:
    """base64url as base64."""
    return text.translate(_URL)
