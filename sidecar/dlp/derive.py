"""Further texts hidden in a text: folded, un-escaped, decoded from base64, base32, hex and gzip. Pure, bounded.

Only the surroundings of what gives an encoding away are decoded, so an ordinary text costs one search. A run of
base64 that holds ASCII shows in its very characters (the top bit of every byte is 0), whatever its alignment: random
data, such as an image, does so once in 2¹⁸ places.
"""

import binascii
import re
import zlib
from collections.abc import Iterator
from functools import cache

from sidecar.dlp import containers, fold
from sidecar.dlp.alone import B32_LINE, B64_LINE, HEX_LINE, alone
from sidecar.dlp.bits import (
    BASE32,
    BASE64,
    ascii_group,
    base32_decoded,
    base32_offsets,
    hex_may_hold_ascii,
    hex_runs,
    may_hold_ascii,
)
from sidecar.dlp.derived import Allowance, Derived, TooMuch
from sidecar.dlp.escapes import codes, entities, narrowed, percent, quoted_printable, unescape, unmarked
from sidecar.dlp.lookup import IN, kind, lookup, rows
from sidecar.dlp.matcher import Spec, Where
from sidecar.dlp.needles import OVERLAYS, decoded_url_alphabet
from sidecar.dlp.portable_matcher import Expression
from sidecar.dlp.runs import LEAST
from sidecar.dlp.steps import Decoder, Ends, Step, in_a_row, spread

_GAP = 80
"""White space and quotes between two lines of one wrapped run are fewer."""


# --- escapes ------------------------------------------------------------------------------------------------------


def _folded(data: bytes) -> bytes:
    extra = fold.hidden(data)
    return fold.fold(data) + (b"\n" + extra if extra else b"")


# --- runs of an alphabet ------------------------------------------------------------------------------------------

_B64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_BLANK = b" \t\r\n\"'\\,>|"
_B64_GAP = rb"(?:\\[nr]|[ \t\r\n\"'\\,>|]){1,80}"
_B64_LINES = re.compile(
    rb"[A-Za-z0-9+/_-]+(?:%b[A-Za-z0-9+/_-]{4,})*(?:%b[A-Za-z0-9+/_-]{2,3}=)?" % (_B64_GAP, _B64_GAP)
)
_HEX_LINES = Expression(r"[0-9A-Fa-f]+(?:[^0-9A-Za-z]{0,8}(?:0?[xX])?[0-9A-Fa-f]+)*")
_B32_LINES = re.compile(rb"(?:[A-Z2-7]{8,}(?:[ \t\r\n-]{0,8}[A-Z2-7]+)*)|(?:[a-z2-7]{8,}(?:[ \t\r\n-]{0,8}[a-z2-7]+)*)")
_NOT_HEX = bytes(code for code in range(256) if chr(code) not in "0123456789abcdefABCDEF")
_NOT_B64 = bytes(code for code in range(256) if code not in _B64)
type _Lines = re.Pattern[bytes] | Expression
_STEP = 16 * 1024
_TAIL = 256
"""Bytes between two parts of a run are fewer: one that ends so near the end of what was read may go on."""
_IN_HEX = kind(lambda code: chr(code) not in "0123456789abcdefABCDEF")


def _back(text: bytes, at: int, alphabet: bytes, floor: int) -> int:
    """The start of the run of `alphabet` that ends at `at`, not before `floor`."""
    while at > floor:
        low = max(floor, at - _STEP)
        kept = len(text[low:at].rstrip(alphabet))
        if kept:
            return low + kept
        at = low
    return floor


def _past(text: bytes, at: int, table: bytes) -> int:
    """Where there is something of the kind of `table`, from `at` on."""
    while at < len(text):
        after = lookup(text[at : at + _STEP], table).find(IN)
        if after >= 0:
            return at + after
        at += _STEP
    return len(text)


def _extent(text: bytes, start: int, lines: _Lines, table: bytes | None) -> tuple[int, int] | None:
    """Where the next run begins and ends. With `table` a long one is passed over, which costs a third of reading it."""
    limit = start + _STEP
    match = lines.search(text, start, limit) if table else lines.search(text, start)
    if match is None:
        match = lines.search(text, start)
    if match is None:
        return None
    first, end = match.span()
    while table and limit - _TAIL < end <= limit < len(text):
        end = _past(text, end, table)
        limit = end + _STEP
        match = lines.match(text, end - 1, limit)
        assert match is not None
        end = match.end()
    return first, end


def _runs(
    text: bytes, ends: Ends, alphabet: bytes, lines: _Lines, table: bytes | None = None
) -> Iterator[tuple[int, int]]:
    """The runs of an alphabet, wrapped lines joined, that hold the places in `ends`; each once."""
    if ends is None:
        yield from (match.span() for match in lines.finditer(text) if match.end() - match.start() >= LEAST)
        return
    done = 0
    for end in ends:
        inside = max(done, min(end, len(text)) - 2)
        if end <= done:
            continue
        start = _back(text, inside, alphabet + _BLANK, done)
        while (extent := _extent(text, start, lines, table)) and extent[0] < end:
            start = done = max(extent[1], start + 1)
            if extent[1] >= min(end, len(text)) - 2:
                yield extent
                break


def _each_once(text: bytes, spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int, bytes]]:
    """Each different run with where it stands first: what one decodes to is examined once anyway."""
    seen: set[bytes] = set()
    for start, end in spans:
        run = text[start:end]
        if len(run) > _STEP:  # to tell it from others costs as much as to decode it
            yield start, end, run
        elif run not in seen:
            seen.add(run)
            yield start, end, run


def _text_in(data: bytes) -> bytes:
    """What of decoded data is text: all of it, its stretches of ASCII, or nothing where an alignment was wrong or an
    image was decoded."""
    if data.isascii():
        return data
    expression = _SHORT_RUN if len(data) < _SMALL else _ASCII_RUN
    match = expression.search(data) if may_hold_ascii(data) else None
    if match is None:
        return b""
    try:
        data.decode()
    except UnicodeDecodeError:
        return b"\n".join(_ASCII_PARTS.findall(data, max(0, match.start() - _GAP)))
    return data


_SMALL, _SHORT_RUN = 1024, Expression(r"[\x00-\x7f]{16,}")  # as many digits as a card has, behind a word
_ASCII_RUN = Expression(r"[\x00-\x7f]{24,}")
_ASCII_PARTS = re.compile(rb"[\x00-\x7f]{8,}")


def _base64(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    for start, end, lines in _each_once(text, _runs(text, ends, _B64, _B64_LINES)):
        run = base64_letters(lines)
        for offset in range(4):
            if found := _text_in(from_base64(run[offset:])):
                yield Derived("base64", start, end, allowance.take(found))
        if len(run) < len(lines):
            apart = re.sub(rb"\\[nrt]", b"  ", lines) if b"\\" in lines else lines
            for first, last in alone(apart, B64_LINE):
                if found := _text_in(from_base64(base64_letters(apart[first:last]))):
                    yield Derived("base64", start + first, start + last, allowance.take(found))


def base64_letters(run: bytes) -> bytes:
    """The letters of base64 in wrapped lines, of either alphabet."""
    if b"\\" in run:
        run = re.sub(rb"\\[nrt]", b"", run)
    return decoded_url_alphabet(run.translate(None, _NOT_B64))


def from_base64(run: bytes) -> bytes:
    return binascii.a2b_base64(
        run[: len(run) // 4 * 4] + {2: run[-2:] + b"==", 3: run[-3:] + b"="}.get(len(run) % 4, b"")
    )


def _hex(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    alphabet = b"0123456789abcdefABCDEFxX%:,;-.&#[](){}u"
    runs = hex_runs(text, LEAST) if ends is None else _runs(text, ends, alphabet, _HEX_LINES, _IN_HEX)
    for start, end, run in _each_once(text, runs):
        for data in _unhexed(run):
            if found := _text_in(data):
                yield Derived("hex", start, end, allowance.take(found))
        for first, last in alone(run, HEX_LINE):
            if found := _text_in(from_hex(hex_alone(run[first:last]))):
                yield Derived("hex", start + first, start + last, allowance.take(found))


_HEX = b"0123456789abcdefABCDEF"
_LONG_HEX = 4096
"""Digits of a run that is worth a look before it is decoded: what is text then has a stretch of it."""


def _unhexed(run: bytes) -> tuple[bytes, bytes]:
    """The bytes that a run says in hex, beginning with its first and with its second digit; of a long run without any
    text, nothing."""
    run = hex_alone(run)
    if len(run) >= _LONG_HEX and not hex_may_hold_ascii(run):
        return b"", b""
    return from_hex(run), from_hex(run[1:])


def hex_alone(run: bytes) -> bytes:
    return re.sub(rb"0[xX]", b"", run).translate(None, _NOT_HEX) if run.translate(None, _HEX) else run


def from_hex(run: bytes) -> bytes:
    return binascii.unhexlify(run[: len(run) // 2 * 2])


_LEAST_B32 = 32
_B32_TABLES = tuple(kind(letters.encode().__contains__) for letters in (BASE32, BASE32.lower()))


def _long_base32(text: bytes) -> list[int]:
    """Ends of the least that is taken for base32, one for each run: a quarter of what the whole expression costs."""
    return sorted(start + _LEAST_B32 for table in _B32_TABLES for start, _ in rows(text, table, _LEAST_B32))


def _base32(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567="
    if ends is None:
        ends = _long_base32(text)
    for start, end, run in _each_once(text, _runs(text, ends, alphabet, _B32_LINES)):
        for data in base32_offsets(run):
            if found := _text_in(data):
                yield Derived("base32", start, end, allowance.take(found))
        for first, last in alone(run, B32_LINE):
            if found := _text_in(base32_decoded(run[first:last])):
                yield Derived("base32", start + first, start + last, allowance.take(found))


_GZIP_START = re.compile(rb"H4sI|eJ[w-z]|eN[o-r]|eA[E-H]|eF[4-7]")
_TRIED = 96
"""Characters of base64 from which zlib tells a stream from noise."""

_GZIP_SIGN = (
    r"H4sI[A-Za-z][A-Za-z0-9+/_\-]{16}|(?:\A|[^A-Za-z0-9+])(?:eJ[w-z]|eN[o-r]|eA[E-H]|eF[4-7])[A-Za-z0-9+/_\-]{16}"
)


def _gzip(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    """base64 of gzip, whose first three bytes are constant, and of zlib, at the start of a run or of a path's part."""
    spans = [(0, len(text))] if ends is None else [(max(0, end - 24), end) for end in ends]
    done = 0
    for low, high in spans:
        for match in _GZIP_START.finditer(text, max(low, done), high):
            if not _begins(from_base64(base64_letters(text[match.start() : match.start() + _TRIED]))):
                allowance.vain()
                continue
            lines = _B64_LINES.match(text, match.start())
            if lines is None:
                continue
            run = base64_letters(lines.group())
            allowance.attempt(run)
            if data := inflate(from_base64(run), allowance):
                done = lines.end()
                yield Derived("gzip+base64", match.start(), done, allowance.take(data))


def _compressed(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    for part in containers.held(text, allowance):
        yield Derived(*part)


# The beginnings of gzip, zip, bzip2, xz and zstd in hex and base32, and of the others in base64.
_PACKED_SIGN = (
    r"(?:UEsDB|Qlpo[MNO]|/Td6WFo|KLUv/)[A-Za-z0-9+/_\-]{16}|(?:1[fF]8[bB]08|504[bB]0304|425[aA]68)[0-9A-Fa-f]{16}|"
    r"(?:D6FQ|d6fq|D6FY|d6fy)[A-Za-z2-7]{16}"
)
_PACKED = re.compile(_PACKED_SIGN.encode())


def _packed(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    """Archives in base64, hex and base32: as the bytes that they are, for the next layer."""
    spans = [(0, len(text))] if ends is None else [(max(0, end - 48), end) for end in ends]
    done = 0
    for low, high in spans:
        for match in _PACKED.finditer(text, max(low, done), high):
            if match.start() < done:
                continue
            kind = match.group()[:1].lower()
            lines = _HEX_LINES if kind in b"145" else _B32_LINES if kind == b"d" else _B64_LINES
            run = lines.match(text, match.start())
            if run is None:
                continue
            done = run.end()
            found = run.group()
            allowance.attempt(found)
            data = _unpacked(found, lines)
            if data.startswith(b"\x1f\x8b") and not _begins(data[:_TRIED]):
                allowance.vain()
            elif data:
                yield Derived("packed", match.start(), done, allowance.take(data))


def _unpacked(run: bytes, lines: _Lines) -> bytes:
    if lines is _HEX_LINES:
        return from_hex(hex_alone(run))  # also where there is no text: its beginning says that it is an archive
    return base32_decoded(run) if lines is _B32_LINES else from_base64(base64_letters(run))


def _begins(data: bytes) -> bool:
    """Whether a gzip or zlib stream may begin so: a header alone, with a long file name, tells nothing yet."""
    try:
        zlib.decompressobj(47).decompress(data, 1)
    except zlib.error:
        return False
    return True


def inflate(data: bytes, allowance: Allowance) -> bytes:
    """What a gzip or zlib stream holds, also a truncated one; b"" where it is none. Bombs end at the allowance."""
    stream = zlib.decompressobj(47)
    try:
        plain = stream.decompress(data, max(1, allowance.left))
    except zlib.error:
        return b""
    if stream.unconsumed_tail:
        raise TooMuch("compressed data is too large")
    return plain


# --- over another encoding ----------------------------------------------------------------------------------------

# Letters and digits that were escaped for no reason: over-encoding. As they are, reversed, and in rot13.
_OVER = r"%(?:3[0-9]|[46][1-9A-Fa-fN-Sn-s]|[57][0-9AaNn])|(?:[0-9]3|[1-9A-Fa-f][46]|[0-9Aa][57])%"
_ESCAPED = r"\\[uUhHxXkK](?:00|\{){0,1}[2-7][0-9A-Fa-fN-Sn-s]|[0-9A-Fa-f][2-7](?:00|\{){0,1}[uUxX]\\"
_OVER_ESCAPES = rf"(?:{_ESCAPED}).{{0,24}}(?:{_ESCAPED})"
_OVER_ENTITIES = (
    r"&#(?:[3-9][0-9]|1[012][0-9]|[xXkK][2-7][0-9A-Fa-fN-Sn-s]);|;(?:[0-9][3-9]|[0-9][012]1|[0-9A-Fa-f][2-7][xX])#&"
)

_TAKEN_OFF = (
    ("escapes", Expression(_OVER_ESCAPES), unescape),
    ("url", Expression(_OVER), percent),
    ("entities", Expression(_OVER_ENTITIES), entities),
)


def _overlaid(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    """Escapes under a reversal, swapped case or rot13: what of the text was not escaped must be turned back first."""
    for start, end in spread(text, ends):
        allowance.turned -= end - start
        if allowance.turned < 0:
            return
        steps = [(name, step) for name, sign, step in _TAKEN_OFF if sign.search(text, start, end)]
        decode = in_a_row(steps)
        source = _reading(text[start:end])
        for name, overlay in OVERLAYS.items():
            turned = overlay(source)
            decoded = decode(turned)
            if decoded != turned:
                yield Derived(name, start, end, allowance.take(decoded), _through(name, decode))


def _through(name: str, decode: Step) -> Step | None:
    """Both steps as one that goes character by character, which a reversal does not."""
    overlay = OVERLAYS[name]
    return None if name == "reversed" else lambda data: decode(overlay(_reading(data)))


def _reading(data: bytes) -> bytes:
    """Letters as they are read: turned round, those of more than one byte would be none."""
    return data if data.isascii() else _folded(data)


def _overlaid_gzip(text: bytes, ends: Ends, allowance: Allowance) -> Iterator[Derived]:
    for start, end in _runs(text, ends, _B64, _B64_LINES):
        for name, overlay in OVERLAYS.items():
            turned = overlay(text[start:end])
            for part in _gzip(turned, None, allowance):
                yield Derived(f"{name}+{part.name}", start, end, part.data)


# Escaped UTF-16 units that matter: ASCII, what folds to it or vanishes; not the dashes, quotes and arrows of prose.
_FOLDED_UNITS = (
    r"\{|00[2-7]|00[aA][dD]|0[1-9A-Fa-f]|1[0-9A-Fa-f]|200[B-Fb-f]|202[A-Ea-e]|20[67]|21[0-4]|24|25[bB]|2[cC]|3[0-3]|"
    r"[aA][67]|[dD]835|[dD]83[cC]|[dD][bB]40|[fF][bB]0|[fF][eE][0fF]|[fF][fF][0-5]"
)


# --- what gives each away -----------------------------------------------------------------------------------------


def _prose(*sources: str, where: Where = "prose") -> tuple[Spec, ...]:
    """Signs of characters that stand in no long run."""
    return tuple(Spec(source, where=where) for source in sources)


_BETWEEN = r"\\{1,4}(?:[nrtbfv]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[01][0-7]{2})"
_LINE_END = r"(?:\\{1,4}[nr]){1,2}"
_ESCAPE_SIGNS = (
    *_prose(
        # with escapes between parts so short that no piece of a secret would be whole
        rf"{_BETWEEN}(?:[^A-Za-z0-9\\]{{0,2}}[A-Za-z0-9]{{1,11}}[^A-Za-z0-9\\]{{0,2}}{_BETWEEN}(?:{_BETWEEN}){{0,2}}){{3}}",
    ),
    # lines of hex and base32 (not a checksum with the next line's date behind it), of quoted-printable, and of lists of
    # numbers
    *_prose(
        rf"[0-9A-Fa-f]{{24}}{_LINE_END}[0-9A-Fa-f]{{8}}", rf"[A-Z2-7]{{24}}{_LINE_END}[A-Z2-7]{{8}}", where="wrapped"
    ),
    *_prose(
        rf"[A-Za-z0-9_+/]={_LINE_END}",
        rf",{_LINE_END}[ ]{{0,24}}(?:0[xX][2-7][0-9A-Fa-f],|[0-9]{{2,3}},{_LINE_END}[ ]{{0,24}}[0-9]{{2,3}},)",
    ),
    *_prose(
        rf"\\u(?:{_FOLDED_UNITS})|\\x[2-7][0-9A-Fa-f]|\\U000[01]|\\[01][0-7]{{2}}\\{{1,8}}[01]?[0-7]|\\/[A-Za-z0-9]",
        # what has quotes or line ends in its shape is not found under their escapes: files quoted in JSON
        r'\\{1,8}"[A-Za-z_]{1,24}\\{1,8}"[ ]{0,2}:[ ]{0,2}\\{1,8}"[A-Za-z0-9+/=_.~\-]{16}',
        r"machine [!-~]{1,80}(?:\\{1,8}[nt]| )",
    ),
)
_QUOTED_SIGN = (
    r"(?:=[2-7][0-9A-Fa-f].{0,3}){2}=[2-7][0-9A-Fa-f]|[A-Za-z0-9_+/]=\r?\n[A-Za-z0-9_+/]|"
    r"=[2-7][0-9A-F](?:[A-Za-z0-9]{1,11}=[2-7][0-9A-F]){3}"
)
_CODES_SIGN = r"(?:(?:[3-9][0-9]|1[0-2][0-9])(?:[ ]{0,2},\s{0,4}|[ ])){16}"
_SHORT = r"[A-Za-z0-9+/=_\-]{1,8}"
_MARKUP_SIGNS = (
    rf">{_SHORT}</[A-Za-z0-9:]{{1,8}}>(?:</?[A-Za-z][^<>]{{0,60}}>){{1,3}}{_SHORT}</",
    r"\]\]><!\[CDATA\[|[A-Za-z0-9]<!--.{0,40}-->[A-Za-z0-9]",
)
_ENTITY_NAMES = "sol|plus|equals|lowbar|hyphen|dash|period|colon|amp|lt|gt|quot|apos|num|commat|percnt"
_BLANK_NAMES = "nbsp|shy|zwnj|zwj|lrm|rlm|ensp|emsp|thinsp|middot|bull"


def _of_text() -> tuple[Decoder, ...]:
    """What takes escapes and disguises off."""
    return (
        # in the order in which they are taken off together: what carries a text is outside of what it says
        Decoder("wide", (), step=narrowed),  # `wide_ends` finds its places
        Decoder("markup", _prose(*_MARKUP_SIGNS), step=unmarked, deletes=True),
        Decoder("escapes", _ESCAPE_SIGNS, step=unescape),
        Decoder("url", _prose(r"%[0-9A-Fa-f]{2}|%u00[2-7]"), step=percent),
        Decoder(
            "entities",
            _prose(rf"&(?:#[0-9xX]|(?:{_ENTITY_NAMES});|(?:{_BLANK_NAMES});[A-Za-z0-9]{{1,11}}&)"),
            step=entities,
        ),
        Decoder("quoted", _prose(_QUOTED_SIGN), step=quoted_printable),
        Decoder("codes", _prose(_CODES_SIGN, where="codes"), step=codes),
        Decoder("folded", _prose(fold.search_source(), where="unicode"), step=_folded, harmless=True),
        Decoder("overlaid", _prose(_OVER, _OVER_ESCAPES, _OVER_ENTITIES), _overlaid, outer=True),
    )


def _of_runs() -> tuple[Decoder, ...]:
    """What decodes runs of an alphabet. A short run may be text as a whole; inside a long one, chance must not make
    text of an image (`bits.ascii_islands` looks there for base64)."""
    group = ascii_group(BASE64, also="-_")
    start = rf"[A-Za-z0-9+/_\-]{{0,3}}(?:{group}){{6}}"
    letters = ("[A-Z2-7]", "[a-z2-7]")
    return (
        Decoder(
            "base64",
            (
                Spec(f"(?:{group}){{8}}", where="run", lane="base64"),
                Spec(rf"[^A-Za-z0-9+/_\-]{start}", where="run", lane="base64 start"),
                Spec(rf"\A{start}", where="run", lane="base64 start"),
            ),
            _base64,
        ),
        Decoder(
            "hex",
            (
                Spec(r"(?:[2-7][0-9A-Fa-f]){12}", where="hex"),
                Spec(r"[0-9A-Fa-f]{64}", where="blob"),
                *_prose(r"(?:[2-7][0-9A-Fa-f][^0-9A-Za-z]{1,2}(?:0?[xX])?){6}", where="pairs"),
            ),
            _hex,
        ),
        Decoder(
            "base32",
            (
                *(Spec(f"{each}{{{_LEAST_B32}}}", where="run") for each in letters),
                *(Spec(f"{each}{{64}}", where="blob") for each in letters),
            ),
            _base32,
        ),
        Decoder("gzip", _prose(_GZIP_SIGN), _gzip, streams=True),
        Decoder("overlaid-gzip", _prose("h4Si|U4fV|Is4H"), _overlaid_gzip, outer=True, streams=True),
        Decoder("packed", _prose(_PACKED_SIGN), _packed, streams=True),
        Decoder("compressed", _prose(*containers.SIGNS), _compressed, streams=True),
    )


@cache
def decoders() -> tuple[Decoder, ...]:
    """All of them."""
    return (*_of_text(), *_of_runs())
