"""Bodies as their receiver reads them; what cannot be read is refused."""

import base64
import contextlib
import gzip
import json
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dlp.decode import MAX_STREAMS, Undecodable, decompressed, parts

LIMIT = 1 << 20
TEXT = b"the quick brown fox " * 100


def bare_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", bare_deflate(TEXT)),
        ("br", brotli.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT[:500]) + zstandard.compress(TEXT[500:])),
        ("gzip, br", brotli.compress(gzip.compress(TEXT))),
        ("identity", TEXT),
        (None, TEXT),
        ("GZIP", gzip.compress(TEXT)),
    ],
    ids=["gzip", "gzip2", "zlib", "deflate", "br", "zstd", "zstd2", "gzip-br", "identity", "none", "capitals"],
)
def test_every_content_encoding_is_taken_off(encoding: str | None, body: bytes) -> None:
    assert decompressed(body, encoding, limit=LIMIT).data == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_bombs_cut_bodies_and_other_encodings_are_refused(encoding: str) -> None:
    pack = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli.compress,
        "zstd": zstandard.compress,
    }[encoding]
    with pytest.raises(Undecodable) as bomb:
        decompressed(pack(b"\0" * 20_000_000), encoding, limit=LIMIT)
    assert bomb.value.code == "body_too_large"
    with pytest.raises(Undecodable):
        decompressed(pack(TEXT)[:-4], encoding, limit=LIMIT)
    with pytest.raises(Undecodable):
        decompressed(b"plain text, no archive", encoding, limit=LIMIT)


@pytest.mark.parametrize("encoding", ["compress", "aes128gcm", "gzip, gzip, gzip, gzip"])
def test_unknown_and_too_many_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(Undecodable):
        decompressed(TEXT, encoding, limit=LIMIT)


@given(data=st.binary(max_size=500), encoding=st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_arbitrary_bytes_are_decoded_or_refused(data: bytes, encoding: str) -> None:
    with contextlib.suppress(Undecodable):
        decompressed(data, encoding, limit=LIMIT)


def test_the_whole_body_is_always_a_part() -> None:
    assert [part.data for part in parts(TEXT, None)] == [TEXT]
    assert parts(TEXT, "text/plain; charset=utf-8")[0].data == TEXT


def test_a_form_is_decoded() -> None:
    assert [part.data for part in parts(b"a=%73%65cret+x&b=1", "application/x-www-form-urlencoded")][
        1
    ] == b"a=secret x&b=1"


def multipart(*fields: tuple[str, bytes]) -> tuple[bytes, str]:
    pieces = [b"--XX\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n" for head, body in fields]
    return b"".join(pieces) + b"--XX--\r\n", "multipart/form-data; boundary=XX"


def test_parts_with_a_transfer_encoding_and_json_parts_are_decoded() -> None:
    body, kind = multipart(
        ('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64', base64.b64encode(b"hidden")),
        ('Content-Disposition: form-data; name="b"\r\nContent-Transfer-Encoding: quoted-printable', b"s=65cret"),
        ('Content-Disposition: form-data; name="c"\r\nContent-Type: application/json', json.dumps({"k": 1}).encode()),
    )
    found = {part.name: part.data for part in parts(body, kind)}
    assert found.pop("values") == b"hidden|secret"
    assert found == {"": body, "part:a": b"hidden", "part:b": b"secret", "part:c": b'{"k": 1}'}


def test_wide_character_sets_are_transcoded() -> None:
    assert parts("secret".encode("utf-16"), "text/plain; charset=UTF-16")[1].data == b"secret"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x", "multipart/form-data"),
        (b"x", "text/plain; charset=cp037"),
        (b"\r\n--B\r\n\r\nx" * 2000, "multipart/mixed; boundary=B"),
        (multipart(("Content-Transfer-Encoding: x-uuencode", b"x"))[0], "multipart/form-data; boundary=XX"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(Undecodable):
        parts(body, kind)


def test_many_streams_in_a_row_are_read_once_and_bounded() -> None:
    empty = gzip.compress(b"")
    frame = zstandard.compress(b"a")
    assert decompressed(empty * 5000 + gzip.compress(TEXT), "gzip", limit=LIMIT).data == TEXT
    assert decompressed(frame * 5000, "zstd", limit=LIMIT).data == b"a" * 5000
    for encoding, body in (("gzip", empty * (MAX_STREAMS + 1)), ("zstd", frame * (MAX_STREAMS + 1))):
        with pytest.raises(Undecodable):
            decompressed(body, encoding, limit=LIMIT)


def test_a_frame_that_is_skipped_ends_inside_the_body() -> None:
    with pytest.raises(Undecodable):
        decompressed(b"\x50\x2a\x4d\x18\xff\0\0\0short", "zstd", limit=LIMIT)
