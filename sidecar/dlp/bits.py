"""Arithmetic on five- and six-bit alphabets. Pure; the standard library's base32 is a loop in Python."""

from collections.abc import Iterator

import numpy as np

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

_VALUES = np.full(256, 255, np.uint8)
for _value, (_upper, _lower) in enumerate(zip(BASE32.encode(), BASE32.lower().encode(), strict=True)):
    _VALUES[_upper] = _VALUES[_lower] = _value


_ISLAND = 24
_CLEAR = bytes(_ISLAND)
_PIECE = 1 << 20


def base32_offsets(run: bytes) -> Iterator[bytes]:
    """`run` decoded from base32 starting at each of its first eight letters; what is no letter of it is skipped.

    Left out is what holds no text: neither all of it is ASCII, nor 24 bytes in a row (the top bits tell).
    """
    bits = _base32_bits(run)
    for offset in range(8):
        part = bits[5 * offset :]
        part = part[: len(part) // 8 * 8]
        tops = part[::8].tobytes()
        if b"\1" not in tops or (len(tops) >= _ISLAND and _CLEAR in tops):
            yield np.packbits(part).tobytes()


def base32_decoded(run: bytes) -> bytes:
    """`run` decoded from base32; what is no letter of it is skipped."""
    bits = _base32_bits(run)
    return np.packbits(bits[: len(bits) // 8 * 8]).tobytes()


def _base32_bits(run: bytes) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    values = _VALUES[np.frombuffer(run, np.uint8)]
    values = values[values < 32]
    bits = np.empty((len(values), 5), np.uint8)
    for at in range(0, len(values), _PIECE):  # eight of each letter meanwhile
        part = values[at : at + _PIECE]
        bits[at : at + _PIECE] = np.unpackbits(part.reshape(-1, 1), axis=1)[:, 3:]
    return bits.ravel()


_GROUP = 32
_CANDIDATES = 64
"""Stretches of random data that may hold an island, of a megabyte two: with more, all of it is looked through."""


def ascii_islands(text: bytes) -> list[int]:
    """Places in base64 where at least 72 bytes of ASCII are encoded, at any alignment: every fourth character is of the
    first half of the alphabet, 24 times, hence in two neighbouring groups of 32 characters from the text's start."""
    codes = np.frombuffer(text, np.uint8)
    first = (codes[: len(codes) // _GROUP * _GROUP] - np.uint8(65)) <= 37
    words = first.view(np.uint64)
    groups = words[::4] & words[1::4] & words[2::4] & words[3::4]
    groups &= groups >> np.uint64(32)
    both = np.flatnonzero((groups[:-1] & groups[1:]) & np.uint64(0x01010101))
    if not len(both):
        return []
    rows = np.split(both, np.flatnonzero(np.diff(both) > 8) + 1)
    if len(rows) > _CANDIDATES:
        return _islands(text)
    found: list[int] = []
    for row in rows:
        low = max(0, (int(row[0]) - 3) * _GROUP)
        found += [low + end for end in _islands(text[low : (int(row[-1]) + 5) * _GROUP])]
    return found


def _islands(text: bytes) -> list[int]:
    """As `ascii_islands`, exactly."""
    if len(text) < 4 * _ISLAND:
        return []
    codes = np.frombuffer(text, np.uint8)
    first = ((codes - np.uint8(65)) <= 25) | ((codes - np.uint8(97)) <= 5)
    islands = int.from_bytes(np.packbits(first, bitorder="little").tobytes(), "little")
    for step in (4, 8, 16, 32, 32):
        islands &= islands >> step
        if not islands:
            return []
    found = np.unpackbits(np.frombuffer(islands.to_bytes(len(text) // 8 + 1, "little"), np.uint8), bitorder="little")
    begins = found.copy()  # once for each island of the four alignments
    begins[4:] &= found[:-4] ^ 1
    return (np.flatnonzero(begins) + 4 * _ISLAND).tolist()


_HEX_KINDS = np.zeros(256, np.uint8)
for _code in range(128):
    if chr(_code).isalnum():
        _HEX_KINDS[_code] = 1 if chr(_code) in "0123456789abcdefABCDEF" else 2


def hex_runs(text: bytes, least: int) -> Iterator[tuple[int, int]]:
    """Where digits of hex stand in a row, of `least` bytes and more: between two of them at most eight bytes that are
    no letter or digit, and an `x` after those. At the same cost however many there are, in which an expression takes a
    tenth of a microsecond for each byte of such a row."""
    codes = np.frombuffer(text, np.uint8)
    kinds = _HEX_KINDS[codes]
    digit = np.zeros(len(codes) + 2, np.bool_)
    np.equal(kinds, 1, out=digit[1:-1])
    edges = np.flatnonzero(digit[1:] != digit[:-1])
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return
    left, right = ends[:-1], starts[1:]
    # counted modulo 256: what is wider than nine bytes joins nothing in any case
    others = np.cumsum(kinds >> 1, dtype=np.uint8)
    inside = others[right] - others[left - 1]
    marked = ((codes[right - 1] | 32) == 120) & (inside == 1)
    cut = np.flatnonzero((right - left > 8 + marked) | (inside != marked))
    starts = starts[np.concatenate(([0], cut + 1))]
    ends = ends[np.concatenate((cut, [len(ends) - 1]))]
    long = ends - starts >= least
    yield from zip(starts[long].tolist(), ends[long].tolist(), strict=True)


_NIBBLES = np.full(256, 16, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    _NIBBLES[_digit] = _NIBBLES[bytes([_digit]).upper()[0]] = _value


def percent_decoded(data: bytes) -> bytes:
    """One layer of percent-encoding taken off, at the same cost however much there is of it."""
    codes = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(codes[:-2] == 37)
    high, low = _NIBBLES[codes[marks + 1]], _NIBBLES[codes[marks + 2]]
    real = (high | low) < 16
    marks = marks[real]
    plain, kept = codes.copy(), np.ones(len(codes), np.bool_)
    plain[marks] = (high[real] << 4) | low[real]
    kept[marks + 1] = kept[marks + 2] = False
    return plain[kept].tobytes()


_TOP_BITS = np.uint64(0x8080808080808080)


def may_hold_ascii(data: bytes) -> bool:
    """False where no 24 bytes of ASCII stand in a row: those hold two neighbouring words of eight, at any alignment.

    Random data has such a pair once in 2¹⁶ places, so an image is told from text without looking at each byte.
    """
    if len(data) < 1024:
        return True  # for so little another look is cheaper
    words = np.frombuffer(data, np.uint64, len(data) // 8)
    plain = (words & _TOP_BITS) == 0
    return bool((plain[1:] & plain[:-1]).any())


_HIGH = tuple(np.uint64(0x00F800F800F800F8 << shift) for shift in (0, 8))
_ZEROS = np.uint64(0x3030303030303030)


def hex_may_hold_ascii(digits: bytes) -> bool:
    """False where hex digits hold no 24 bytes of ASCII in a row, at either alignment: each begins below 8."""
    if len(digits) < 48:
        return False
    # 48 digits hold five aligned words of eight in a row, wherever they lie; random ones are such once in a million
    words = np.frombuffer(digits, np.uint64, len(digits) // 8) ^ _ZEROS
    return any(_row_of((words & high) == 0) for high in _HIGH) and _hex_holds_ascii(digits)


def _row_of(plain: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> bool:
    """Whether five in a row are true."""
    two = plain[1:] & plain[:-1]
    return bool((two[3:] & two[1:-2] & plain[:-4]).any())


def _hex_holds_ascii(digits: bytes) -> bool:
    """As `hex_may_hold_ascii`, exactly."""
    low = (np.frombuffer(digits, np.uint8) - np.uint8(48)) <= 7
    for offset in range(2):
        row = int.from_bytes(np.packbits(low[offset::2], bitorder="little").tobytes(), "little")
        for step in (1, 2, 4, 8, 8):
            row &= row >> step
        if row:
            return True
    return False


def ascii_group(alphabet: str, *, also: str = "") -> str:
    """An expression for one aligned group of characters that encode ASCII: the top bit of each byte is 0.

    `also` are further characters taken wherever the whole alphabet is.
    """
    width = len(alphabet).bit_length() - 1
    size = {5: 8, 6: 4}[width]
    classes: list[str] = []
    for index in range(size):
        masks = [1 << (width - 1 - bit) for bit in range(width) if (index * width + bit) % 8 == 0]
        if masks:
            chosen = "".join(char for value, char in enumerate(alphabet) if not value & masks[0])
        else:
            chosen = alphabet + also
        classes.append("[" + "".join("\\" + char if char in "+/-" else char for char in chosen) + "]")
    return "".join(classes)
