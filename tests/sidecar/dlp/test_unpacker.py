"""Files that come in pieces and are compressed: what was put in comes out, whatever the pieces."""

import bz2
import gzip
import io
import lzma
import random
import zipfile
import zlib

import pytest
import zstandard

from sidecar.dlp.unpacker import BREAK, Unpacker, kind_of

OVERLAP = 100
NOISE = random.Random(5)
WORDS = b"".join(b"line %d of %d\n" % (number, NOISE.randrange(1 << 60)) for number in range(30_000))


def zipped(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"m{number}", member)
    return target.getvalue()


PACKED = {
    "gzip": gzip.compress(WORDS),
    "two of gzip": gzip.compress(WORDS[:70_000]) + gzip.compress(WORDS[70_000:]) + bytes(512),
    "bzip2": bz2.compress(WORDS),
    "two of bzip2": bz2.compress(WORDS[:70_000]) + bz2.compress(WORDS[70_000:]),
    "xz": lzma.compress(WORDS),
    "zstd": zstandard.compress(WORDS),
    "zip": zipped(WORDS),
    "zip of many": zipped(*(WORDS[at : at + 9000] for at in range(0, len(WORDS), 9000))),
}


def unpacked(data: bytes, size: int, most: int = 1 << 20) -> bytes:
    """All that comes out, without what was there before."""
    unpacker, out = Unpacker(kind_of(data), OVERLAP), bytearray()
    for at in range(0, len(data), size):
        unpacker.give(data[at : at + size])
        while piece := unpacker.take(most):
            assert piece.startswith(out[-OVERLAP:])
            out += piece[len(out[-OVERLAP:]) :]
    return bytes(out)


@pytest.mark.parametrize("size", [777, 65_536, 1 << 30])
@pytest.mark.parametrize("form", PACKED)
def test_what_was_put_in_comes_out(form: str, size: int) -> None:
    out = unpacked(PACKED[form], size)
    assert out.replace(BREAK, b"") == WORDS
    assert out.count(BREAK) == {"zip": 1, "zip of many": -(-len(WORDS) // 9000)}.get(form, 0)


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_what_is_cut_off_gives_its_beginning_and_a_bomb_is_taken_in_parts(form: str) -> None:
    begin = unpacked(PACKED[form][: len(PACKED[form]) * 19 // 20], 10_000)
    assert WORDS.startswith(begin)
    assert len(begin) > len(WORDS) // 10
    bomb = {
        "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstandard.compress, "zip": zipped,
    }[form](bytes(100 << 20))  # fmt: skip
    unpacker = Unpacker(form, OVERLAP)
    unpacker.give(bomb)
    first = unpacker.take(1 << 20)
    assert 1 << 20 <= len(first) <= 18 << 20
    if form != "zstd":
        assert len(first) <= 3 << 20


@pytest.mark.parametrize("form", ["gzip", "zip"])
def test_what_follows_a_stream_that_unpacks_to_much_is_read_once(form: str) -> None:
    """zlib names what follows twice where it had to stop before."""
    much = bytes(5 << 20)
    data = gzip.compress(much) + gzip.compress(WORDS) if form == "gzip" else zipped(much, WORDS)
    assert unpacked(data, 1 << 30).replace(BREAK, b"") == much + WORDS


def test_a_member_is_in_one_piece_where_there_is_room_for_it() -> None:
    members = [NOISE.randbytes(size) for size in (70_000, 40_000, 100_000, 5_000, 90_000, 1_000, 99_000, 350_000, 20)]
    unpacker = Unpacker("zip", OVERLAP)
    unpacker.give(zipped(*members))
    taken = list(iter(lambda: unpacker.take(100_000), b""))
    divided = [len(member) for member in members if not any(member in piece for piece in taken)]
    assert divided == [350_000]
    assert max(map(len, taken)) < 2 << 20


def test_a_member_that_is_broken_hides_no_other() -> None:
    bad = bytearray(zipped(b"first " * 1000, WORDS))
    bad[40:60] = b"\xff" * 20
    assert WORDS in unpacked(bytes(bad), 5000)


def test_other_files_are_none_of_these() -> None:
    assert [kind_of(begin) for begin in (b"", b"PK\x05\x06", WORDS, zlib.compress(WORDS), b"\x1f\x8b")] == [""] * 5
