"""A zip archive that unpacks to more than one text may is read member by member, and nothing in it is left out."""

import base64
import io
import random
import string
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, cast

import pytest

from sidecar import prepared
from sidecar.dlp import zips
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.needles import Known
from sidecar.gitgate import contents, limits, scan
from sidecar.gitgate.archives import Archives
from sidecar.gitgate.contents import Piece, TooMuch
from sidecar.secret import Secret

MUCH = b"a line of text, and nothing else\n" * (9 * 1024 * 1024 // 33)
"""More than a text of a few kilobytes may unpack to."""
NOISE = random.Random(5)
PLACES = [
    "deflated", "stored", "behind much", "name", "comment", "file comment", "extra", "base64 in a member",
    "archive in a member", "archive stored in a member", "much archive in a member", "gzip in a member", "large member",
    "across windows",
]  # fmt: skip
SECRETS = {place: "".join(NOISE.choices(string.ascii_letters + string.digits, k=40)) for place in PLACES}


@pytest.fixture(scope="module")
def engine() -> Engine:
    prepared.prepare()
    return Engine.compile(EngineConfig(tuple(Known(name, Secret(value)) for name, value in SECRETS.items())))


def zipped(*members: tuple[str, bytes], stored: bool = False, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = comment
    return file.getvalue()


def streamed(*members: tuple[str, bytes]) -> bytes:
    """As what cannot go back writes it, Java for one: sizes stand behind each member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    file = Pipe()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def problems(engine: Engine, data: bytes, archives: Archives | None = None) -> list[scan.Problem]:
    piece, left = Piece("1" * 40, "blob", len(data), data), scan.Left(engine)
    texts = scan._suspicious(engine, [piece], left)
    return scan._scan(engine, texts, {piece.oid: "lib/app.jar"}, archives or Archives(), left) + left.problems


def unread(found: list[scan.Problem]) -> bool:
    return any(problem.rule == scan.UNREAD for problem in found)


def planted() -> bytes:
    value = {place: secret.encode() for place, secret in SECRETS.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("much.txt", MUCH)
        archive.writestr("a.txt", b"x " + value["deflated"] + b" y")
        archive.writestr(zipfile.ZipInfo("b.txt"), b"x " + value["stored"] + b" y", zipfile.ZIP_STORED)
        archive.writestr("c.txt", MUCH[: 3 << 20] + value["behind much"])
        archive.writestr(SECRETS["name"], b"")
        member = zipfile.ZipInfo("d.txt")
        member.comment = value["comment"]
        member.extra = struct.pack("<HH", 0xCAFE, len(value["extra"])) + value["extra"]
        archive.writestr(member, b"d")
        archive.writestr("e.txt", base64.b64encode(value["base64 in a member"]))
        archive.writestr("f.zip", zipped(("f", value["archive in a member"])))
        inner = zipped(("g", value["archive stored in a member"]), stored=True)
        archive.writestr(zipfile.ZipInfo("g.zip"), inner, zipfile.ZIP_STORED)
        archive.writestr("h.zip", zipped(("much", MUCH), ("h", value["much archive in a member"])))
        archive.writestr("i.gz", zlib.compress(value["gzip in a member"], wbits=31))
        archive.writestr("j.txt", MUCH + MUCH[: 1 << 20] + value["large member"])
        edge = limits.WINDOW - 20
        archive.writestr("k.txt", MUCH[:edge] + value["across windows"] + MUCH[:1000])
        archive.comment = zlib.compress(value["file comment"], wbits=31)
    return file.getvalue()


def test_pieces_in_several_members_are_put_together(engine: Engine) -> None:
    pieces = [SECRETS["deflated"][at : at + 7].encode() for at in (0, 12, 25)]
    for count, found in ((2, []), (3, ["several files together"])):
        members = [(f"{number}.txt", b"see %b there\n" % piece) for number, piece in enumerate(pieces[:count])]
        assert [each.what for each in problems(engine, zipped(("much", MUCH), *members))] == found


def test_whatever_place_a_secret_has_in_it_is_read(engine: Engine) -> None:
    data = planted()
    assert len(data) < limits.WINDOW
    found = problems(engine, data)
    assert not unread(found)
    missed = [place for place in PLACES if not any(f" {place} " in f" {problem.title} " for problem in found)]
    assert missed == []
    assert any("in its h in h.zip)" in str(problem) for problem in found)


def test_one_without_a_secret_goes_through(engine: Engine) -> None:
    data = zipped(("much.txt", MUCH), ("deep.zip", zipped(("much.txt", MUCH))), ("empty", b""))
    assert scan.findings(engine, data)  # as one text it cannot be read
    assert problems(engine, data) == []
    assert problems(engine, streamed(("much.txt", MUCH), ("b", b"b"))) == []


# --- larger than a window ---------------------------------------------------------------------------------------------


class Held:
    """An object's content, as git gives it."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    async def exactly(self, size: int) -> bytes:
        return self._data.read(size)


async def pieces(data: bytes) -> list[Piece]:
    return [each async for each in contents._pieces(cast(Any, Held(data)), "1" * 40, "blob", len(data))]


def large(*members: tuple[str, bytes]) -> bytes:
    return zipped(("noise", NOISE.randbytes(limits.WINDOW)), *members)


async def test_a_large_one_is_read_with_all_it_holds(engine: Engine) -> None:
    value = {place: secret.encode() for place, secret in SECRETS.items()}
    members = [(f"{number}.txt", MUCH) for number in range(5)]
    data = large(("a", b"ends in a word"), ("b", value["deflated"]), *members, (SECRETS["name"], b"z" * 9))
    titles: set[str] = set()
    for piece in await pieces(data):
        titles |= {finding.title for finding in scan.findings(engine, piece.data)}
    assert titles == {"The secret deflated", "The secret name"}
    shapes = large(("a", b"ends in a word"), ("b", f"AKIA{'QYLPMN5HFIQR7XYA'} ".encode()))
    assert any(scan.findings(engine, piece.data) for piece in await pieces(shapes) if piece.unpacked)


async def test_a_large_one_that_is_not_sound_is_looked_at_as_it_is() -> None:
    data = large(("a", b"a" * 99))
    noise = [b"PK\x03\x04" in piece.data for piece in await pieces(data) if not piece.unpacked]
    assert noise[0] is False
    wrong = data.replace(struct.pack("<I", zlib.crc32(b"a" * 99)), b"abcd")
    for other in (wrong, data + b"\n"):
        whole = b"".join(piece.data[len(piece.data) - own :] for piece, own in raw(await pieces(other), len(other)))
        assert whole == other


async def test_a_large_one_behind_a_header_that_is_none_is_refused() -> None:
    """It says that its name goes on to where the archive has begun. Whoever opens that looks at its end first."""
    header = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, 9, 9, 200, 0)
    with pytest.raises(TooMuch, match="in the name of another"):
        await pieces(header + large(("a", b"a" * 99)))


def raw(found: list[Piece], size: int) -> list[tuple[Piece, int]]:
    """Those of the file as it is, and how much in each is new."""
    plain = [piece for piece in found if not piece.unpacked]
    ends = [0, *(piece.start + len(piece.data) for piece in plain)]
    assert ends[-1] == size
    return [(piece, end - before) for piece, before, end in zip(plain, ends, ends[1:], strict=False)]


# --- how much ---------------------------------------------------------------------------------------------------------


def test_what_is_taken_apart_has_an_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(("much.txt", MUCH))
    archives = Archives()
    monkeypatch.setattr(archives, "_left", 2 * len(MUCH))
    assert problems(engine, data, archives) == []
    assert unread(problems(engine, data, archives))
    monkeypatch.setattr(limits, "MAX_ARCHIVE", len(MUCH))
    assert unread(problems(engine, data))
    monkeypatch.undo()
    for _ in range(4):
        data = zipped(("deeper.zip", data), ("much.txt", MUCH))
    assert unread(problems(engine, data))


# --- what is said -----------------------------------------------------------------------------------------------------


def test_a_mark_counts_in_its_member_alone(engine: Engine) -> None:
    line = "key: AKIA" + "QYLPMN5HFIQR7XYA"
    data = zipped(("much.txt", MUCH), ("a", f"{line}\n".encode()), ("b", f"{line} # gitleaks:allow".encode()))
    found = [(problem.what, problem.suppressed, problem.line) for problem in problems(engine, data)]
    assert sorted(found) == [("in its a", False, 0), ("in its b", True, 0)]


def test_a_members_name_tells_no_secret_and_no_line_of_its_own(engine: Engine) -> None:
    name = f"{SECRETS['name']}\nrefs/heads/x: fine"
    data = zipped(("much.txt", MUCH), (name, SECRETS["deflated"].encode()))
    said = [str(problem) for problem in problems(engine, data)]
    assert said
    assert not [line for line in said if SECRETS["name"][:12] in line or "\n" in line]


# --- what is not exactly an archive -----------------------------------------------------------------------------------


def changed(at: int, data: bytes) -> Callable[[bytes], bytes]:
    """Some bytes of it others; `at` from the end where it is below nothing."""

    def change(archive: bytes) -> bytes:
        place = at % len(archive)
        return archive[:place] + data + archive[place + len(data) :]

    return change


def in_directory(offset: int, data: bytes) -> Callable[[bytes], bytes]:
    def change(archive: bytes) -> bytes:
        return changed(archive.find(b"PK\x01\x02") + offset, data)(archive)

    return change


def between(archive: bytes) -> bytes:
    """Bytes between two members, the directory as true as before."""
    second = archive.find(b"PK\x03\x04", 4)
    directory = archive.find(b"PK\x01\x02")
    entry = archive.find(b"PK\x01\x02", directory + 4)
    text = bytearray(archive)
    struct.pack_into("<I", text, entry + 42, second + 5)
    struct.pack_into("<I", text, len(text) - 6, directory + 5)
    return bytes(text[:second] + b"extra" + text[second:])


def twice(archive: bytes) -> bytes:
    """Two entries for one member."""
    directory = archive.find(b"PK\x01\x02")
    entry = archive.find(b"PK\x01\x02", directory + 4)
    text = bytearray(archive)
    text[entry + 42 : entry + 46] = text[directory + 42 : directory + 46]
    return bytes(text)


def gap(archive: bytes) -> bytes:
    """Bytes between the last member and the directory."""
    directory = archive.find(b"PK\x01\x02")
    text = bytearray(archive)
    struct.pack_into("<I", text, len(text) - 6, directory + 5)
    return bytes(text[:directory] + b"extra" + text[directory:])


NOT_SO: dict[str, Callable[[bytes], bytes]] = {
    "something before": lambda archive: b"#!/bin/sh\n" + archive,
    "something behind": lambda archive: archive + b"\n",
    "between members": between,
    "before the directory": gap,
    "one member twice": twice,
    "cut off": lambda archive: archive[:-5],
    "the end alone": lambda archive: archive[-22:],
    "encrypted": in_directory(8, b"\x01\x00"),
    "another method": in_directory(10, b"\x0c\x00"),
    "another name": in_directory(46, b"z"),
    "another size": in_directory(24, b"\x01\x00\x00\x00"),
    "zip64": in_directory(24, b"\xff\xff\xff\xff"),
    "another checksum": in_directory(16, b"\x01\x00\x00\x00"),
    "another place": in_directory(42, b"\x01\x00\x00\x00"),
    "far away": in_directory(42, b"\xff\xff\xff\xff"),
    "another disk": in_directory(34, b"\x01\x00"),
    "more entries": changed(-14, b"\x03\x00\x03\x00"),
    "fewer entries": changed(-14, b"\x01\x00\x01\x00"),
    "no header": changed(0, b"PK\x03\x05"),
}


def test_one_that_is_as_it_has_to_be() -> None:
    for data in (zipped(("a", b"one" * 9), ("b", b"two")), streamed(("a", b"one" * 9), ("b", b"two"))):
        found = zips.members(data)
        assert [(each.name, zips.content(data, each)) for each in found] == [(b"a", b"one" * 9), (b"b", b"two")]
        plain = zips.unsigned(data, found)
        assert len(plain) == len(data)
        assert sum(one != other for one, other in zip(plain, data, strict=True)) == len(found)
        assert b"PK\x03\x04" not in plain


@pytest.mark.parametrize("fault", NOT_SO)
def test_any_other_is_none(fault: str) -> None:
    for data in (zipped(("a", b"one" * 9), ("b", b"two")), streamed(("a", b"one" * 9), ("b", b"two"))):
        assert zips.members(data)
        assert zips.members(NOT_SO[fault](data)) == []


def both(archive: bytes, offset: int, here: int, data: bytes) -> bytes:
    """The same in the header and in the directory."""
    return in_directory(offset, data)(changed(here, data)(archive))


def test_a_member_that_holds_other_than_is_said(engine: Engine) -> None:
    data = zipped(("a", MUCH), ("b", SECRETS["deflated"].encode()))
    size = struct.pack("<I", len(MUCH) - 1)
    for wrong in (both(data, 16, 14, b"abcd"), both(data, 24, 22, size), changed(40, b"\xff" * 8)(data)):
        (first, _) = zips.members(wrong)
        with pytest.raises(zips.Broken):
            zips.content(wrong, first)
        assert problems(engine, wrong)


def test_what_is_not_exactly_an_archive_stays_refused(engine: Engine) -> None:
    data = zipped(("a", MUCH), ("b", b"b"))
    for fault in ("something before", "between members", "encrypted"):
        assert unread(problems(engine, NOT_SO[fault](data))), fault
