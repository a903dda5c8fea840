"""One layer of percent-encoding, of backslash escapes, of HTML entities and the like taken off a text. Pure; linear;
texts written in nothing else cost little more than others.
"""

import html
import re
from functools import lru_cache

from sidecar.dlp.bits import percent_decoded

_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_PERCENT_U = re.compile(rb"%u([0-9A-Fa-f]{4})")
_ESCAPES = re.compile(
    rb"\\(?:(u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*)|(x[0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*)|"
    rb"([0-3]?[0-7]{2}(?:\\[0-3]?[0-7]{2})*)|(?:u\{([0-9A-Fa-f]{1,6})\}|U([0-9A-Fa-f]{8}))|"
    rb"([nrtbfv](?:\\[nrtbfv])*)|([\\/\"'](?:\\[\\/\"'])*))"
)


_MANY = 64
"""Percent signs from which a few passes over the whole cost less than a call for each."""


def percent(data: bytes) -> bytes:
    """One layer of percent-encoding taken off."""
    marks = data.count(b"%")
    if not marks:
        return data
    if b"%u" in data:  # as JavaScript's escape() wrote it
        data = _PERCENT_U.sub(lambda match: chr(int(match[1], 16)).encode("utf-8", "replace"), data)
    if marks > _MANY:
        return percent_decoded(data)
    return _PERCENT.sub(lambda match: bytes.fromhex(match.group().replace(b"%", b"").decode()), data)


def _unescape(match: re.Match[bytes]) -> bytes:
    text = match.group()
    return _character_of(text) if len(text) <= _SINGLE else _meaning(match)


_SINGLE = 6


@lru_cache(4096)
def _character_of(text: bytes) -> bytes:
    """A single character's escape, as a rule: remembered, since each by itself is a call."""
    match = _ESCAPES.fullmatch(text)
    assert match is not None
    return _meaning(match)


def _meaning(match: re.Match[bytes]) -> bytes:
    wide, byte, octal, brace, long, blank, plain = match.groups()
    if wide:
        units = bytes.fromhex(wide[1:].replace(b"\\u", b"").decode())
        return units.decode("utf-16-be", "replace").encode("utf-8", "replace")
    if byte:
        return bytes.fromhex(byte[1:].replace(b"\\x", b"").decode())
    if octal:
        return bytes(int(digits, 8) & 255 for digits in octal.split(b"\\"))
    if brace or long:
        code = int(brace or long, 16)
        return chr(code).encode("utf-8", "replace") if code < 0x110000 else b""
    return b"\n" if blank else plain[::2]


def unescape(data: bytes) -> bytes:
    """One layer of the backslash escapes of JSON, JavaScript, Python and C taken off."""
    # a run of backslashes is read in pairs from its first, so what stands between two pairs is read by itself
    pairs = data.count(b"\\\\")
    if pairs > 1 and b"\0" not in data:
        whole = _unescaped(data.replace(b"\\\\", b"\0"))
        if whole.count(b"\0") == pairs:  # none came out of an escape
            return whole.replace(b"\0", b"\\")
    return b"\\".join([_unescaped(part) for part in data.split(b"\\\\")])


_BLANKS = re.compile(rb"\\[nrtbfv](?:\\[nrtbfv])*")  # begins with a literal: ten times faster


def _unescaped(part: bytes) -> bytes:
    """As `unescape`, of a text without two backslashes in a row."""
    if b"\\" not in part:
        return part
    part = _BLANKS.sub(b"\n", part)
    part = part.replace(b'\\"', b'"').replace(b"\\/", b"/").replace(b"\\'", b"'")
    return _ESCAPES.sub(_unescape, part) if b"\\" in part else part


_NUMBERS = re.compile(rb"&#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});(?:&#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});)*")


def entities(data: bytes) -> bytes:
    """HTML entities taken off."""
    if b"&" not in data:
        return data
    data = _NUMBERS.sub(_numbers, data)
    if b"&" not in data:
        return data
    return html.unescape(data.decode("utf-8", "replace")).encode("utf-8", "replace")


def _numbers(match: re.Match[bytes]) -> bytes:
    """A run of numeric entities at once: whole texts are written so."""
    run = match.group()
    return _short_run(run) if len(run) <= _SHORT else _run(run)


_SHORT = 10


@lru_cache(4096)
def _short_run(run: bytes) -> bytes:
    """A single entity, as a rule: remembered, since each by itself is a call."""
    return _run(run)


def _run(run: bytes) -> bytes:
    entities = run[2:-1].split(b";&#")
    meaning = {entity: _character(entity) for entity in set(entities)}
    return "".join([meaning[entity] for entity in entities]).encode()


def _character(entity: bytes) -> str:
    code = int(entity[1:], 16) if entity[:1] in b"xX" else int(entity)
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else ""


_SOFT_BREAK = re.compile(rb"=[ \t]{0,8}\r?\n")
_QUOTED = re.compile(rb"(?:=[0-9A-Fa-f]{2})+")


def quoted_printable(data: bytes) -> bytes:
    """The encoding of mail bodies and, as `=?utf-8?Q?…?=`, of mail headers."""
    if b"=" not in data:
        return data
    plain = _SOFT_BREAK.sub(b"", data)
    return _QUOTED.sub(lambda match: bytes.fromhex(match.group().replace(b"=", b"").decode()), plain)


_CODES = re.compile(rb"(?:\b(?:[3-9][0-9]|1[0-2][0-9])(?:[ ]{0,2},\s{0,4}|[ ])){7,}(?:[3-9][0-9]|1[0-2][0-9])\b")
_CODE = re.compile(rb"[0-9]+")


def codes(data: bytes) -> bytes:
    """Characters given as decimal numbers: a list of bytes."""
    return _CODES.sub(lambda match: bytes(map(int, _CODE.findall(match.group()))), data)


_MARKUP = re.compile(rb"<!--.{0,400}?-->|<!\[CDATA\[|\]\]>|</?[A-Za-z!][^<>]{0,400}>", re.DOTALL)


def unmarked(data: bytes) -> bytes:
    """Tags and comments taken off: what a reader of HTML or of an office document sees."""
    return _MARKUP.sub(b"", data)
