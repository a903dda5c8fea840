"""What the DLP tests share: secrets of several alphabets, every encoding of egress.md as a function, placements."""

import base64
import codecs
import gzip
import html
import json
import random
import string
import urllib.parse
from collections.abc import Callable
from functools import cache

from sidecar.dlp.engine import Engine, EngineConfig, Scan
from sidecar.dlp.finding import Location
from sidecar.dlp.matcher import Backend
from sidecar.dlp.needles import Known
from sidecar.secret import Secret

BODY = Location("body")
ALNUM = string.ascii_letters + string.digits


def make_secret(rng: random.Random, kind: int, size: int) -> str:
    """Secrets as they are met: alphanumeric, base64, hex, with punctuation, dotted."""
    if kind == 0:
        return "".join(rng.choices(ALNUM, k=size))
    if kind == 1:
        return base64.b64encode(rng.randbytes(size * 3 // 4)).decode()
    if kind == 2:
        return f"{rng.getrandbits(4 * size):0{size}x}"
    if kind == 3:
        return "sv_" + "".join(rng.choices(ALNUM + "-_./+=!@", k=size - 3))
    return ".".join("".join(rng.choices(ALNUM + "-_", k=size // 3)) for _ in range(3))


def make_secrets(count: int = 20, seed: int = 7) -> list[str]:
    rng = random.Random(seed)
    return [make_secret(rng, number % 5, rng.randint(40, 100)) for number in range(count)]


@cache
def engine_for(secrets: tuple[str, ...], canary: str = "", backend: Backend | None = None) -> Engine:
    known = [Known(f"SECRET_{number}", Secret(value)) for number, value in enumerate(secrets)]
    if canary:
        known.append(Known("TIN_HORSE_SECRET", Secret(canary), canary=True))
    return Engine.compile(EngineConfig(tuple(known), backend))


def scan(engine: Engine, data: bytes, **options: object) -> Scan:
    return engine.scan(data, where=BODY, **options)  # type: ignore[arg-type]


def names(result: Scan) -> set[str]:
    return {finding.kind for finding in result.findings}


# --- encodings: every row of egress.md ----------------------------------------------------------------------------

Encoder = Callable[[bytes, random.Random], bytes]


def _misaligned(skip: int, alphabet: bytes = b"+/") -> Encoder:
    def encode(raw: bytes, rng: random.Random) -> bytes:
        return base64.b64encode(rng.randbytes(skip) + raw, altchars=alphabet).rstrip(b"=")

    return encode


def _wrapped(width: int, gap: bytes) -> Encoder:
    def encode(raw: bytes, rng: random.Random) -> bytes:
        text = base64.b64encode(raw)
        return gap.join(text[at : at + width] for at in range(0, len(text), width))

    return encode


def _some(form: Callable[[int], bytes], share: float) -> Encoder:
    def encode(raw: bytes, rng: random.Random) -> bytes:
        # the encoding's own mark is always encoded, or no decoder could take it off
        return b"".join(form(byte) if rng.random() < share or byte in b"%\\&" else bytes([byte]) for byte in raw)

    return encode


def _each(form: str) -> Encoder:
    return lambda raw, rng: "".join(form.format(byte) for byte in raw).encode()


ENCODERS: dict[str, Encoder] = {
    "raw": lambda raw, rng: raw,
    "base64": _misaligned(0),
    "base64 at 1": _misaligned(1),
    "base64 at 2": _misaligned(2),
    "base64url": _misaligned(0, b"-_"),
    "base64url at 1": _misaligned(1, b"-_"),
    "base64 wrapped": _wrapped(76, b"\n"),
    "base64 wrapped short": _wrapped(32, b"\r\n  "),
    "base32": lambda raw, rng: base64.b32encode(raw),
    "base32 lower": lambda raw, rng: base64.b32encode(raw).lower().rstrip(b"="),
    "hex": lambda raw, rng: raw.hex().encode(),
    "HEX": lambda raw, rng: raw.hex().upper().encode(),
    "hex colons": lambda raw, rng: raw.hex(":").encode(),
    "hex spaces": lambda raw, rng: raw.hex(" ").encode(),
    "hex list": lambda raw, rng: ", ".join(f"0x{byte:02x}" for byte in raw).encode(),
    "url": lambda raw, rng: urllib.parse.quote(raw, safe="").encode(),
    "url all": _each("%{:02X}"),
    "url some": _some(lambda byte: b"%%%02x" % byte, 0.5),
    "url twice": lambda raw, rng: urllib.parse.quote("".join(f"%{byte:02x}" for byte in raw)).encode(),
    "json": lambda raw, rng: json.dumps(raw.decode("latin-1")).encode()[1:-1],
    "unicode escapes": _each("\\u{:04x}"),
    "unicode escapes some": _some(lambda byte: b"\\u%04x" % byte, 0.4),
    "hex escapes": _each("\\x{:02x}"),
    "html": lambda raw, rng: html.escape(raw.decode("latin-1")).encode(),
    "html decimal": _each("&#{:d};"),
    "html hex": _each("&#x{:x};"),
    "html some": _some(lambda byte: b"&#%d;" % byte, 0.4),
    "reversed": lambda raw, rng: raw[::-1],
    "case swapped": lambda raw, rng: raw.swapcase(),
    "rot13": lambda raw, rng: codecs.encode(raw.decode("latin-1"), "rot13").encode("latin-1"),
    "gzip 1": lambda raw, rng: base64.b64encode(gzip.compress(raw, 1, mtime=rng.getrandbits(31))),
    "gzip 9": lambda raw, rng: base64.b64encode(gzip.compress(b"some text before " + raw + b" and after", 9)),
}


def _injected(mark: str) -> Encoder:
    return lambda raw, rng: mark.join(raw.decode("latin-1")).encode()


INJECTED: dict[str, Encoder] = {
    "dashes": _injected("-"),
    "spaces": _injected(" "),
    "dots and lines": _injected(".\n"),
    "zero width": _injected("\u200b"),
    "soft hyphens": _injected("\u00ad"),
    "combining marks": _injected("\u0301"),
    "variation selectors": _injected("\ufe0f"),
}


# --- placements ---------------------------------------------------------------------------------------------------

PROSE = b"The parser reads the next token, and the loop ends when nothing is left to read in the buffer. "


def _filled(rng: random.Random, size: int) -> bytes:
    at = rng.randrange(len(PROSE))
    return (PROSE[at:] + PROSE * (size // len(PROSE) + 1))[:size]


def as_text(value: bytes, rng: random.Random) -> bytes:
    return _filled(rng, 300) + b" value: " + value + b" " + _filled(rng, 200)


def as_json(value: bytes, rng: random.Random) -> bytes:
    document = {"model": "m", "messages": [{"role": "user", "content": value.decode("utf-8")}], "stream": True}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def as_nested_json(value: bytes, rng: random.Random) -> bytes:
    inner = json.dumps({"command": "echo " + value.decode("utf-8")})
    return json.dumps({"calls": [{"name": "Bash", "arguments": inner}], "n": 1}, ensure_ascii=True, indent=1).encode()


def as_key(value: bytes, rng: random.Random) -> bytes:
    return json.dumps({value.decode("utf-8"): 1, "other": [1, 2, 3]}).encode()


def as_query(value: bytes, rng: random.Random) -> bytes:
    return b"/collect?page=3&q=" + urllib.parse.quote(value).encode() + b"&end=1"


def as_log(value: bytes, rng: random.Random) -> bytes:
    return b"2026-03-01T10:00:00Z INFO [worker-3] got <" + value + b"> in 12ms\n" * 3


PLACEMENTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "text": as_text,
    "json": as_json,
    "nested json": as_nested_json,
    "key": as_key,
    "query": as_query,
    "log": as_log,
}
