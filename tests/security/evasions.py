"""How a secret could be smuggled out: encodings, places, protocols. Each is a name and what to send; nothing here looks
at what becomes of it. All secrets are made up."""

import base64
import codecs
import gzip
import html
import json
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import brotli
import zstandard

SECRET = "zK9vR2qLm7Tx4Wp8sBn5Jd3Hc6Qy"
"""A provisioned credential, which the bottle never sees; it may have learned it somewhere."""
CANARY = "9f27c4be81d05a36e4f7b2c90d8163ae5574bd21f09ec8a7361d4be5c20f9a78"
PLACEHOLDER = "sk-ant-carboy-evasive-5c19e07ab3f24d8896e1c0d75ab2f348"
TOKENS = {
    "github": "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx",
    "aws": "AKIA" + "Q4KZ7TRWN3YB2MHX",
    "card": "4539 1488 0343 6467",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEpAIBAAKCAQEAx7Kq9v3TzPbWm2" * 8
    + "\n-----END RSA PRIVATE KEY-----",
    "url": "postgres://admin:Vq8sT2mZx9Lk4Rw7@db.internal.example/prod",
}


@dataclass(frozen=True)
class Evasion:
    """One request. `raw` is a body that is sent as it is, with its headers."""

    name: str
    method: str = "GET"
    path: str = "/x"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    raw: bytes | None = None


def _hex(text: str) -> str:
    return text.encode().hex()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _wrapped(text: str, width: int = 16) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": _b64,
    "base64 shifted by one": lambda text: _b64("x" + text),
    "base64 shifted by two": lambda text: _b64("xy" + text),
    "base64 in lines": lambda text: _wrapped(_b64(text)),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32 small": lambda text: base64.b32encode(text.encode()).decode().lower(),
    "hex": _hex,
    "hex capitals": lambda text: _hex(text).upper(),
    "hex colons": lambda text: ":".join(f"{byte:02x}" for byte in text.encode()),
    "hex spaces": lambda text: " ".join(f"{byte:02x}" for byte in text.encode()),
    "hex list": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent twice": lambda text: urllib.parse.quote("".join(f"%{byte:02X}" for byte in text.encode())),
    "percent of some": lambda text: "".join(f"%{ord(c):02x}" if at % 3 else c for at, c in enumerate(text)),
    "json escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "hex escapes": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hex entities": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "backwards": lambda text: text[::-1],
    "swapped case": str.swapcase,
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "gzip base64": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "base64 twice": lambda text: _b64(_b64(text)),
    "hex of base64": lambda text: _hex(_b64(text)),
    "base64 of hex": lambda text: _b64(_hex(text)),
    "base64 backwards": lambda text: _b64(text)[::-1],
    "base64 of backwards": lambda text: _b64(text[::-1]),
    "base32 of base64": lambda text: base64.b32encode(_b64(text).encode()).decode(),
    "dots": ".".join,
    "dashes": "-".join,
    "spaces": " ".join,
    "groups": lambda text: "-".join(text[at : at + 4] for at in range(0, len(text), 4)),
    "lines": "\n".join,
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "combining marks": "\u0301".join,
    "full width": lambda text: "".join(chr(ord(char) + 0xFEE0) if char.isalnum() else char for char in text),
    "half of it": lambda text: text[: len(text) // 2 + 1],
    "its middle": lambda text: text[6:21],
    "three pieces": lambda text: f"{text[:8]} then {text[9:17]} and at last {text[18:26]}",
    "quoted strings": lambda text: " + ".join(f'"{text[at : at + 5]}"' for at in range(0, len(text), 5)),
}
_IN_HEADERS = set(FORMS) - {
    "base64 in lines",
    "lines",
    "zero width",
    "soft hyphens",
    "combining marks",
    "full width",
}


def _everything() -> Iterator[Evasion]:
    for name, form in FORMS.items():
        text = form(SECRET)
        yield Evasion(f"secret {name} in json", "POST", raw=json.dumps({"note": f"see {text} here"}).encode())
        yield Evasion(f"secret {name} in query", path="/x?q=" + urllib.parse.quote(text))
        if name in _IN_HEADERS:
            yield Evasion(f"secret {name} in header", headers={"x-trace": text})
    for name in ("plain", "base64", "hex", "backwards", "dots"):
        text = FORMS[name](CANARY)
        yield Evasion(f"canary {name} in text", "POST", raw=f"log: {text}".encode())
        yield Evasion(f"canary {name} in path", path="/" + urllib.parse.quote(text, safe=""))
    for name in ("plain", "base64", "hex", "swapped case"):
        yield Evasion(f"placeholder {name}", "POST", raw=FORMS[name](PLACEHOLDER).encode())
    for kind, token in TOKENS.items():
        for name in ("plain", "base64", "percent", "json escapes"):
            yield Evasion(f"{kind} {name} in json", "POST", raw=json.dumps({"v": FORMS[name](token)}).encode())
    yield from _bodies()
    yield from _heads()


def _bodies() -> Iterator[Evasion]:
    token = TOKENS["github"]
    for coding, encode in {
        "gzip": gzip.compress,
        "br": brotli.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "deflate": zlib.compress,
        "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    }.items():
        body = encode(f"key {token}".encode())
        yield Evasion(f"content encoding {coding}", "POST", headers={"content-encoding": coding}, raw=body)
    yield Evasion("an encoding nobody knows", "POST", headers={"content-encoding": "x-own"}, raw=b"abc")
    yield Evasion("an encoding that is a lie", "POST", headers={"content-encoding": "gzip"}, raw=token.encode())
    yield Evasion("gzip without saying so", "POST", raw=gzip.compress(SECRET.encode() * 3))
    yield Evasion("utf-16", "POST", headers={"content-type": "text/plain; charset=utf-16"}, raw=token.encode("utf-16"))
    yield Evasion(
        "form", "POST", headers={"content-type": "application/x-www-form-urlencoded"}, raw=f"a={token}".encode()
    )
    for name, head, body in (
        ("field", 'form-data; name="f"', token),
        ("file name", f'form-data; name="f"; filename="{token}"', "x"),
        ("field name", f'form-data; name="{token}"', "x"),
    ):
        part = f"--b\r\ncontent-disposition: {head}\r\n\r\n{body}\r\n--b--\r\n".encode()
        yield Evasion(
            f"multipart {name}", "POST", headers={"content-type": "multipart/form-data; boundary=b"}, raw=part
        )
    coded = f"--b\r\ncontent-transfer-encoding: base64\r\n\r\n{_b64(token)}\r\n--b--\r\n".encode()
    yield Evasion("multipart base64", "POST", headers={"content-type": "multipart/mixed; boundary=b"}, raw=coded)
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
    yield Evasion("behind an image", "PUT", headers={"content-type": "image/png"}, raw=image + token.encode())
    data = base64.b64encode(image + SECRET.encode() + image).decode()
    yield Evasion("inside a data URL", "POST", raw=json.dumps({"image": f"data:image/png;base64,{data}"}).encode())
    yield Evasion("a json key", "POST", raw=json.dumps({token: 1}).encode())
    yield Evasion("a duplicate key", "POST", raw=f'{{"a":"{token}","a":"b"}}'.encode())
    yield Evasion("broken json", "POST", raw=f'{{"a":"{token}'.encode())
    yield Evasion("numbers", "POST", raw=json.dumps({"bytes": list(SECRET.encode())}).encode())
    yield Evasion("html comment", "POST", raw=f"<!-- {html.escape(token)} -->".encode())
    yield Evasion("a patch", "PATCH", raw=f"+TOKEN={token}\n".encode())
    yield Evasion("far down", "POST", raw=b"lorem ipsum dolor " * 40_000 + token.encode())
    yield Evasion("an assignment", "POST", raw=b'password = "Tr0ub4dor-Zx81-Qm"\n')


def _heads() -> Iterator[Evasion]:
    token = TOKENS["github"]
    yield Evasion("own authorization", headers={"authorization": f"Bearer {token}"})
    yield Evasion("basic authorization", headers={"authorization": "Basic " + _b64(f"me:{token}")})
    yield Evasion("api key header", headers={"x-api-key": TOKENS["aws"] + SECRET})
    yield Evasion("cookie", headers={"cookie": f"theme=dark; s={token}"})
    yield Evasion("user agent", headers={"user-agent": f"curl/8 {token}"})
    yield Evasion("referer", headers={"referer": f"https://x.example/?t={token}"})
    yield Evasion("header name", headers={"x-" + SECRET.lower(): "1"})
    yield Evasion("two headers", headers={"x-a": SECRET[:14], "x-b": SECRET[14:]})
    yield Evasion("fragment", path=f"/x%23{token}")
    yield Evasion("path segments", path="/" + "/".join(SECRET))
    yield Evasion("matrix parameter", path=f"/x;jsessionid={token}")
    yield Evasion("path and query", path=f"/{SECRET[:15]}?b={SECRET[15:]}")
    yield Evasion("method", method=SECRET.upper())
    for name, value in {
        "encoded": "%0d%0aX-Evil:%201",
        "twice": "%250d%250aX-Evil: 1",
        "bare": "%0aSet-Cookie: a",
    }.items():
        yield Evasion(f"line break {name}", path=f"/x?u={urllib.parse.quote(value, safe='%')}")
    yield Evasion("git push", path="/r/info/refs?service=git-receive-pack")
    yield Evasion("trace", method="TRACE")


ALL = tuple(_everything())

INTEGRITY = "v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg=="
BENIGN: tuple[tuple[str, str, dict[str, str], Any], ...] = (
    ("GET", "/lodash/-/lodash-4.17.21.tgz", {}, None),
    ("GET", "/simple/requests/?format=json", {"accept": "application/vnd.pypi.simple.v1+json"}, None),
    ("GET", "/repos/me/project/commits/5f2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d", {}, None),
    (
        "GET",
        "/v2/library/alpine/manifests/sha256:" + "c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b",
        {},
        None,
    ),
    ("GET", "/search?q=how+to+rotate+an+api+key&page=2", {}, None),
    (
        "GET",
        "/items/3fa85f64-5717-4562-b3fc-2c963f66afa6",
        {"if-none-match": '"33a64df551425fcc55e4d42a148795d9f25f89d4"'},
        None,
    ),
    (
        "POST",
        "/graphql",
        {"content-type": "application/json"},
        b'{"query":"{ viewer { login repositories(first: 10) { nodes { name } } } }"}',
    ),
    ("POST", "/lock", {}, f'"integrity": "sha512-{INTEGRITY}"'.encode()),
    ("POST", "/env", {}, b"API_KEY=<your-key>\nTOKEN=xxxxxxxxxxxxxxxx\nSECRET=changeme\n"),
    (
        "POST",
        "/code",
        {},
        b"def login(password: str) -> bool:\n    return check(password, os.environ['DB_PASSWORD'])\n",
    ),
    ("POST", "/log", {}, b"2026-01-02T03:04:05Z INFO request 8f14e45fceea167a5a36dedd4bea2543 took 12 ms\n" * 50),
    ("POST", "/csv", {"content-type": "text/csv"}, b"id,name,amount\n1001,Ada,12.50\n1002,Grace,99.00\n" * 30),
    (
        "POST",
        "/form",
        {"content-type": "application/x-www-form-urlencoded"},
        b"name=Ada+Lovelace&city=London&note=it%27s+fine",
    ),
    ("POST", "/img", {"content-type": "image/png"}, b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40),
    (
        "POST",
        "/chat",
        {"content-type": "application/json"},
        json.dumps({"messages": [{"role": "user", "content": "Explain JWT headers, please."}]}).encode(),
    ),
    ("POST", "/gz", {"content-encoding": "gzip"}, gzip.compress(b"plain words in a compressed body " * 20)),
    ("PUT", "/doc.md", {"content-type": "text/markdown"}, b"# Setup\n\nSet `GITHUB_TOKEN` in your environment.\n" * 20),
    ("PATCH", "/issue/7", {"content-type": "application/json"}, b'{"state":"closed","labels":["bug","security"]}'),
    ("DELETE", "/cache/objects/1f/8a7c", {}, None),
    ("GET", "/a/b/c?from=2026-01-01&to=2026-12-31&tz=Europe%2FBerlin", {"accept-language": "de, en;q=0.8"}, None),
)
