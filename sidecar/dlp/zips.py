"""Zip archives that are what their directory says and nothing else: member after member, the directory, its end. Pure.

Of any other there is nothing here: what a reader would make of it could not be told.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from sidecar.dlp.containers import ZIP_HEADER, ZIP_MEMBER

_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_DESCRIBED = 8
"""The flag of a member whose sizes stand behind it as well."""
_FLAGS = 0x0006 | _DESCRIBED | 0x0800
"""How well it was compressed, and that its name is UTF-8. Others say that it is encrypted, patched or hidden."""
_DESCRIPTOR = b"PK\x07\x08"
_NO_SIGN = b"PK\x03\x03"


class Broken(Exception):
    """A member does not hold what the directory says."""


class Member(NamedTuple):
    """`data[start:end]` is what it holds, as it is packed; its header is at `at`."""

    at: int
    start: int
    end: int
    name: bytes
    method: int
    size: int
    crc: int


def members(data: bytes) -> list[Member]:
    """All of them, in the order in which they lie there; none where anything is not as it has to be."""
    try:
        return _members(data)
    except struct.error:
        return []


def _members(data: bytes) -> list[Member]:
    last = data.rfind(b"PK\x05\x06")
    if last < 0:
        return []
    _, disk, first, here, count, size, at, comment = _END.unpack_from(data, last)
    if (disk, first, here) != (0, 0, count) or at + size != last or last + _END.size + comment != len(data):
        return []
    begin, found = at, list[Member]()
    for _ in range(count):
        member, at = _entry(data, at)
        if member is None or at > last:
            return []
        found.append(member)
    found.sort()
    ends = [each.at for each in found[1:]] + [begin]
    together = bool(found) and found[0].at == 0 and at == last
    if together and all(_reaches(data, *each) for each in zip(found, ends, strict=True)):
        return found
    return []


def _entry(data: bytes, at: int) -> tuple[Member | None, int]:
    """The member of an entry of the directory, where its own header says the same; and where the next entry is."""
    (
        sign, _, _, flags, method, _, _, crc, packed, size, name_size, extra, comment, disk, _, _, header,
    ) = _ENTRY.unpack_from(data, at)  # fmt: skip
    name = data[at + _ENTRY.size : at + _ENTRY.size + name_size]
    own = ZIP_HEADER.unpack_from(data, header)
    sizes = own[6:9] == (crc, packed, size) or (flags & _DESCRIBED and own[6:9] == (0, 0, 0))
    start = header + ZIP_HEADER.size + name_size + own[10]
    alike = own[0] == ZIP_MEMBER and own[2:4] == (flags, method) and own[9] == name_size and sizes
    plain = sign == b"PK\x01\x02" and not disk and not flags & ~_FLAGS and method in (0, zlib.DEFLATED)
    if not alike or not plain or data[header + ZIP_HEADER.size : start - own[10]] != name:
        return None, at
    member = Member(header, start, start + packed, name, method, size, crc)
    return member, at + _ENTRY.size + name_size + extra + comment


def _reaches(data: bytes, member: Member, end: int) -> bool:
    """Whether nothing is between a member and `end` but its sizes once more, where they may stand there."""
    flags = ZIP_HEADER.unpack_from(data, member.at)[2]
    sizes = struct.pack("<III", member.crc, member.end - member.start, member.size)
    behind = (sizes, _DESCRIPTOR + sizes) if flags & _DESCRIBED else (b"",)
    return member.end <= end and data[member.end : end] in behind


def sound(data: bytes, most: int) -> list[Member]:
    """The same where each holds what is said, `most` bytes together; else none."""
    found = members(data)
    if sum(each.size for each in found) > most:
        return []
    try:
        for each in found:
            content(data, each)
    except Broken:
        return []
    return found


def content(data: bytes, member: Member) -> bytes:
    """What a member holds. Raises Broken where that is not exactly what was said."""
    packed = data[member.start : member.end]
    if member.method == 0:
        whole, plain = True, packed
    else:
        stream = zlib.decompressobj(-15)
        try:
            plain = stream.decompress(packed, member.size + 1)
        except zlib.error as error:
            raise Broken(str(error)) from None
        whole = stream.eof and not stream.unused_data
    if not whole or len(plain) != member.size or zlib.crc32(plain) != member.crc:
        raise Broken("a member is not what its directory says")
    return plain


def unsigned(data: bytes, opened: Iterable[Member]) -> bytes:
    """The archive as it is, but no sign says any more that something was packed where these members begin."""
    text = bytearray(data)
    for each in opened:
        text[each.at : each.at + len(ZIP_MEMBER)] = _NO_SIGN
    return bytes(text)
