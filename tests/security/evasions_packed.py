"""More ways out: archives and compressed streams, rarer encodings, markup, what spells a secret over many places. As
`evasions`: names and what to send."""

import base64
import binascii
import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import zstandard

from tests.security.evasions import CANARY, SECRET, TOKENS, Evasion

_TOKEN = TOKENS["github"]
_FILLER = b"lorem ipsum dolor sit amet\n" * 200
_PART = 'content-disposition: form-data; name="f"; filename="a.zip"\r\ncontent-type: application/octet-stream'
_MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


def _zip(data: bytes, name: str = "a.txt", *, stored: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.txt", _FILLER)
        archive.writestr(name, data)
    return out.getvalue()


def _zip_header(name: int) -> bytes:
    """The head of a member, which says how long its name is. Whoever opens the archive looks at its end first."""
    return struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, 9, 9, name, 0)


def _tar(data: bytes, mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo("a.txt")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _png(kind: bytes, payload: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(kind, payload) + chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))


def _gzip_with(flag: int, field: bytes) -> bytes:
    """A gzip member of nothing, with a field in its head."""
    return b"\x1f\x8b\x08" + bytes([flag]) + b"\0" * 4 + b"\2\3" + field + gzip.compress(b"", mtime=0)[10:]


def _brotli_with(field: bytes) -> bytes:
    """A brotli stream of nothing but one block of metadata (RFC 7932 9.2)."""
    return (0b010110 << 1 | len(field) - 1 << 6 + 1).to_bytes(2, "little") + field + b"\3"


def _encodings() -> Iterator[Evasion]:
    """Beside the content, in what encodes it."""
    for kind, text in (
        ("secret", SECRET.encode()),
        ("token", _TOKEN.encode()),
        ("base64", _b64(SECRET.encode()).encode()),
    ):
        name = _gzip_with(8, text + b"\0")
        skipped = struct.pack("<II", 0x184D2A5B, len(text)) + text
        yield _post(f"{kind} as the name in gzip", name, content_encoding="gzip")
        yield _post(f"{kind} as the name in gzip in gzip", gzip.compress(name), content_encoding="gzip, gzip")
        yield _post(f"{kind} as the comment in gzip", _gzip_with(16, text + b"\0"), content_encoding="gzip")
        extra = struct.pack("<H", len(text)) + text
        yield _post(f"{kind} as a field in gzip", gzip.compress(b"x") + _gzip_with(4, extra), content_encoding="gzip")
        yield _post(f"{kind} before zstd", skipped + zstandard.compress(b"x"), content_encoding="zstd")
        yield _post(f"{kind} behind zstd", zstandard.compress(b"x") + skipped, content_encoding="zstd")
        yield _post(f"{kind} as metadata in brotli", _brotli_with(text), content_encoding="br")
    times = (SECRET[at : at + 4].encode() for at in range(0, len(SECRET), 4))
    members = b"".join(b"\x1f\x8b\x08\0" + each + gzip.compress(b"")[8:] for each in times)
    yield _post("secret as the times in gzip", members, content_encoding="gzip")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base58(data: bytes) -> str:
    digits, number, text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", int.from_bytes(data), ""
    while number:
        number, rest = divmod(number, 58)
        text = digits[rest] + text
    return text


def _uuencoded(data: bytes) -> bytes:
    lines = b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    return b"begin 644 a\n" + lines + b"`\nend\n"


def _post(name: str, raw: bytes | str, **headers: str) -> Evasion:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    return Evasion(name, "POST", headers=fields, raw=raw.encode() if isinstance(raw, str) else raw)


def _part(body: bytes) -> bytes:
    return f"--b\r\n{_PART}\r\n\r\n".encode() + body + b"\r\n--b--\r\n"


def _archives() -> Iterator[Evasion]:
    for kind, text in (("secret", SECRET), ("token", _TOKEN)):
        data = _FILLER + text.encode() + b"\n"
        yield _post(f"{kind} in a zip", _zip(data))
        yield _post(f"{kind} in a zip in a zip", _zip(_zip(data)))
        yield _post(f"{kind} in a stored zip", _zip(text.encode(), stored=True))
        yield _post(f"{kind} in a zip behind a header that is none", _zip_header(200) + _zip(data))
        extra = _zip_header(len(_zip(data))) + _zip(data) + zlib.compress(b"x", wbits=-15)
        yield _post(f"{kind} in a zip in the name of a member", extra)
        yield _post(f"{kind} as a zip's file name", _zip(b"x", text))
        yield _post(f"{kind} in a document", _zip(f"<w:t>{text}</w:t>".encode(), "word/document.xml"))
        for mode in ("gz", "bz2", "xz"):
            yield _post(f"{kind} in a tar.{mode}", _tar(data, f"w:{mode}"))
        yield _post(f"{kind} in zstd that nobody declares", zstandard.ZstdCompressor().compress(data))
        yield _post(f"{kind} in zlib that nobody declares", zlib.compress(data))
        yield _post(f"{kind} in a second gzip stream", gzip.compress(b"hello") + b"--" + gzip.compress(data))
        yield _post(f"{kind} in a zip in a form", _part(_zip(data)), **_MULTIPART)
        yield _post(f"{kind} in a tar.gz in a form", _part(_tar(data, "w:gz")), **_MULTIPART)
        yield _post(f"{kind} in a zip in base64", json.dumps({"file": _b64(_zip(data))}))
        yield _post(f"{kind} in xz in base64", json.dumps({"file": _b64(lzma.compress(data))}))
        yield _post(f"{kind} in bzip2 in base64", json.dumps({"file": _b64(bz2.compress(data))}))
        yield _post(f"{kind} in gzip in hex", gzip.compress(data).hex())
        yield _post(f"{kind} in gzip in base32", base64.b32encode(gzip.compress(data)))
        yield _post(f"{kind} in a picture's text", _png(b"tEXt", b"Comment\0" + text.encode()))
        yield _post(f"{kind} in a picture's packed text", _png(b"zTXt", b"Comment\0\0" + zlib.compress(text.encode())))


def _rare() -> Iterator[Evasion]:
    raw = SECRET.encode()
    groups = base64.b85encode(b"the value is " + raw).decode()
    yield _post("base85", json.dumps({"d": groups}))
    yield _post("ascii85", base64.a85encode(raw, adobe=True))
    yield _post("base58", _base58(raw))
    yield _post("base32hex", base64.b32hexencode(raw))
    yield _post("uuencode", _uuencoded(raw))
    for kind, text in (("secret", SECRET), ("token", _TOKEN)):
        codes = list(text.encode())
        wide = "".join(chr(ord(char) + 0xFEE0) for char in text)
        for charset in ("gb18030", "shift_jis", "euc-jp"):
            raw = wide.encode(charset)
            yield _post(f"{kind} full width in {charset}", raw, content_type=f"text/plain; charset={charset}")
        soft = "\xad".join(text).encode("latin-1")
        yield _post(f"{kind} with soft hyphens in latin-1", soft, content_type="text/plain; charset=iso-8859-1")
        yield _post(f"{kind} quoted-printable", "".join(f"={code:02X}" for code in codes))
        yield _post(f"{kind} with soft line breaks", "=\r\n".join(text[at : at + 5] for at in range(0, len(text), 5)))
        yield Evasion(f"{kind} as a mail header", headers={"x-note": f"=?utf-8?B?{_b64(text.encode())}?="})
        yield _post(f"{kind} as codes", json.dumps({"bytes": codes}))
        yield _post(f"{kind} for fromCharCode", f"String.fromCharCode({','.join(map(str, codes))})")
        yield _post(f"{kind} in utf-32", text.encode("utf-32-le"))
        yield _post(f"{kind} in long escapes", "".join(f"\\U{code:08x}" for code in codes))
        yield _post(f"{kind} in short octal", "".join(f"\\{code:o}" for code in codes))
        yield _post(f"{kind} as escape() wrote it", "".join(f"%u{code:04x}" for code in codes))
        yield _post(f"{kind} in tag letters", "".join(chr(0xE0000 + code) for code in codes))
        yield _post(f"{kind} behind an emoji", "\U0001f600" + "".join(chr(0xE0100 + code - 16) for code in codes))
        yield _post(f"{kind} between tags", "".join(f"<b>{char}</b>" for char in text))
        runs = "".join(f"<w:r><w:t>{text[at : at + 4]}</w:t></w:r>" for at in range(0, len(text), 4))
        yield _post(f"{kind} in a document's runs", _zip(runs.encode(), "word/document.xml"))
        yield _post(f"{kind} in CDATA", "".join(f"<![CDATA[{char}]]>" for char in text))
        yield _post(f"{kind} between comments", "<!-- -->".join(text))
        yield _post(
            f"{kind} in a length-prefixed frame", b"\0\0\0\0" + bytes((len(text) + 2, 10, len(text))) + text.encode()
        )
        yield _post(f"{kind} in msgpack", b"\x81\xa1a\xd9" + bytes([len(text)]) + text.encode())
        yield _post(f"{kind} as a variable of a query", json.dumps({"query": "q", "variables": {"t": text}}))
        twice = "".join(f"%25{code:02X}" for code in codes)
        head = f'content-disposition: form-data; name="f"; filename="{twice}"'
        yield _post(f"{kind} as a file name, encoded twice", f"--b\r\n{head}\r\n\r\nx\r\n--b--\r\n", **_MULTIPART)
        head = "content-disposition: form-data; name=f; filename*=UTF-8''" + "".join(f"%{code:02X}" for code in codes)
        yield _post(f"{kind} as an extended file name", f"--b\r\n{head}\r\n\r\nx\r\n--b--\r\n", **_MULTIPART)
        yield Evasion(f"{kind} as an etag", headers={"if-none-match": f'"{text}"'})
        yield Evasion(f"{kind} as a range", headers={"range": f"bytes={text}"})
        yield Evasion(f"{kind} as what is accepted", headers={"accept": f"text/{text}"})
        yield Evasion(f"{kind} in a header of odd case", headers={"X-tRaCe": text})
    yield _post("a charset nobody knows", SECRET.encode("cp037"), content_type="text/plain; charset=cp037")
    yield _post("utf-7", f"+{_b64(SECRET.encode('utf-16-be')).rstrip('=')}-", content_type="text/plain; charset=utf-7")


def _spelt() -> Iterator[Evasion]:
    yield Evasion("a letter a header", headers={f"x-{at}": char for at, char in enumerate(SECRET)})
    yield Evasion("a letter a cookie", headers={"cookie": "; ".join(f"c{at}={c}" for at, c in enumerate(SECRET))})
    yield Evasion("a letter a parameter", path="/x?" + "&".join(f"{at}={char}" for at, char in enumerate(SECRET)))
    yield Evasion(
        "two letters a parameter", path="/x?" + "&".join(f"p{at}={SECRET[at : at + 2]}" for at in range(0, 28, 2))
    )
    fives = [SECRET[at : at + 5] for at in range(0, 28, 5)]
    yield Evasion("five letters a parameter", path="/x?" + "&".join(f"p={each}" for each in fives))
    yield Evasion("five letters a cookie", headers={"cookie": "; ".join(f"c={each}" for each in fives)})
    yield Evasion("five letters a header", headers={f"x-{at}": each for at, each in enumerate(fives)})
    form = {"content_type": "application/x-www-form-urlencoded"}
    for name, pieces in (("five letters", fives), ("a letter", list(SECRET))):
        yield _post(f"{name} a field", "&".join(f"p={each}" for each in pieces), **form)
        parts = "".join(f'--b\r\ncontent-disposition: form-data; name="p"\r\n\r\n{each}\r\n' for each in pieces)
        yield _post(f"{name} a part", parts + "--b--\r\n", content_type=_MULTIPART["content-type"])
    sevens = [CANARY[at : at + 7] for at in range(0, 64, 7)]
    yield Evasion("seven digits of the canary a parameter", path="/x?" + "&".join(f"p={each}" for each in sevens))
    yield Evasion("the id of a trace", headers={"traceparent": f"00-{SECRET.encode().hex()[:32]}-00-01"})
    yield _post("duplicate keys", "{" + ",".join(f'"a":"{SECRET[at : at + 7]}"' for at in range(0, 28, 7)) + "}")
    yield _post("a list of letters", json.dumps(list(SECRET)))
    yield _post("an assignment in xml", "<password>hunter2hunter2</password>")
    yield _post("an assignment in yaml", "db:\n  password: Tr0ub4dor-Zx81-Qm\n")
    yield _post("an assignment in an env file", "A=1\nDB_PASSWORD=kV9x2mQ7tLp4\n")
    yield _post("an assignment as an option", "tool --password=kV9x2mQ7tLp4 -v")
    yield _post("a login of a command", "curl -u admin:kV9x2mQ7tLp4 https://x.example/")


PACKED = (*_archives(), *_encodings(), *_rare(), *_spelt())
