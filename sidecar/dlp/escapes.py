"""One layer of percent-encoding, of backslash escapes, of HTML entities and the like taken off a text. Pure; linear;
texts written in nothing else cost little more than others.
"""

import html
import re

from sidecar.dlp.bits import percent_decoded
from sidecar.dlp.fold import replaced
from sidecar.dlp.lookup import lookup

_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_PERCENT_U = re.compile(rb"%u([0-9A-Fa-f]{4})")
_ESCAPE = re.compile(
    rb"\\(?:(u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*)|(x[0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*)|"
    rb"([0-3]?[0-7]{2}(?:\\[0-3]?[0-7]{2})*)|(?:u\{([0-9A-Fa-f]{1,6})\}|U([0-9A-Fa-f]{8}))|"
    rb"([nrtbfv](?:\\[nrtbfv])*)|([\\/\"'](?:\\[\\/\"'])*))"
)
# all of it one group, as `replaced` wants it
_ESCAPES = re.compile(b"(" + re.sub(rb"\((?!\?)", b"(?:", _ESCAPE.pattern) + b")")


_WIDE = bytes(97 if code < 128 and chr(code).isalnum() else 32 if code else 48 for code in range(256))
_WIDE_SIGNS = b"a0" * 4, b"a000" * 4


def wide_ends(text: bytes, most: int) -> list[int] | None:
    """Ends of four letters or digits in a row of two or four bytes each; None where there are more than `most`. An
    expression for them takes 40 ns for each NUL, of which a binary text may be full."""
    if b"\0" not in text:
        return []
    kinds = lookup(text, _WIDE)
    found: list[int] = []
    for sign in _WIDE_SIGNS:
        at = kinds.find(sign)
        while at >= 0:
            if len(found) == most:
                return None
            at += len(sign)
            found.append(at)
            at = kinds.find(sign, at)
    return found


def narrowed(data: bytes) -> bytes:
    """What stands in characters of two or four bytes each in one each."""
    return data.replace(b"\0", b"")


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


_ONE_UNIT = len(r"\u0041")


def _meaning(escape: bytes) -> bytes:
    if len(escape) == _ONE_UNIT and escape.startswith(b"\\u") and escape[2] != ord("{"):  # most of them
        code = int(escape[2:], 16)
        if not 0xD800 <= code < 0xE000:
            return chr(code).encode()
    match = _ESCAPE.fullmatch(escape)
    assert match is not None
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


_MARKS = b"\0", b"\xff"
"""Either stands for two backslashes meanwhile, where a text has none of it."""


def unescape(data: bytes) -> bytes:
    """One layer of the backslash escapes of JSON, JavaScript, Python and C taken off."""
    # a run of backslashes is read in pairs from its first, so what stands between two pairs is read by itself
    pairs = data.count(b"\\\\")
    for mark in _MARKS if pairs > 1 else ():
        if mark not in data:
            whole = _unescaped(data.replace(b"\\\\", mark))
            if whole.count(mark) == pairs:  # none came out of an escape
                return whole.replace(mark, b"\\")
    return b"\\".join([_unescaped(part) for part in data.split(b"\\\\")])


_BLANKS = re.compile(rb"\\[nrtbfv](?:\\[nrtbfv])*")  # begins with a literal: ten times faster


def _unescaped(part: bytes) -> bytes:
    """As `unescape`, of a text without two backslashes in a row."""
    if b"\\" not in part:
        return part
    part = _BLANKS.sub(b"\n", part)
    part = part.replace(b'\\"', b'"').replace(b"\\/", b"/").replace(b"\\'", b"'")
    return replaced(_ESCAPES, part, _meaning) if b"\\" in part else part


_ENTITIES = re.compile(
    rb"(&(?:#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});(?:&#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});)*|"
    rb"#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]{1,31};?))"
)
"""As `html` has it, with whole runs of numeric ones: whole texts are written so. All names are letters and digits. It
begins with one literal: ten times faster."""


_LONG = 64


def entities(data: bytes) -> bytes:
    """HTML entities taken off."""
    if b"&" not in data:
        return data
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    return replaced(_ENTITIES, data, _entity)


def _entity(found: bytes) -> bytes:
    text = found.decode()
    if not text.startswith("&#") or not text.endswith(";"):
        return html.unescape(_shorter(text)).encode("utf-8", "replace")
    numbers = text[2:-1].split(";&#")
    known = {number: html.unescape(_shorter(f"&#{number};")) for number in set(numbers)}
    return "".join([known[number] for number in numbers]).encode("utf-8", "replace")


def _shorter(entity: str) -> str:
    """An entity that means the same in fewer digits: Python reads no decimal number of more than 4300."""
    if len(entity) < _LONG or entity[2] in "xX":
        return entity
    return f"&#{entity[2:].rstrip(';').lstrip('0')[:8] or '0'};"  # above all characters, as the whole would be


_SOFT_BREAK = re.compile(rb"=[ \t]{0,8}\r?\n")
_QUOTED = re.compile(rb"(?:=[0-9A-Fa-f]{2})+")


def quoted_printable(data: bytes) -> bytes:
    """The encoding of mail bodies and, as `=?utf-8?Q?…?=`, of mail headers."""
    if b"=" not in data:
        return data
    plain = _SOFT_BREAK.sub(b"", data)
    return _QUOTED.sub(lambda match: bytes.fromhex(match.group().replace(b"=", b"").decode()), plain)


_CODES = re.compile(
    rb"(?:\b(?:[3-9][0-9]|1[0-2][0-9]|9|1[03])(?:[ ]{0,2},\s{0,4}|[ ])){7,}(?:[3-9][0-9]|1[0-2][0-9]|1[03])\b"
)
_CODE = re.compile(rb"[0-9]+")


def codes(data: bytes) -> bytes:
    """Characters given as decimal numbers: a list of bytes."""
    return _CODES.sub(lambda match: bytes(map(int, _CODE.findall(match.group()))), data)


_MARKUP = re.compile(rb"<!--.{0,400}?-->|<!\[CDATA\[|\]\]>|</?[A-Za-z!][^<>]{0,400}>", re.DOTALL)


def unmarked(data: bytes) -> bytes:
    """Tags and comments taken off: what a reader of HTML or of an office document sees."""
    return _MARKUP.sub(b"", data)
