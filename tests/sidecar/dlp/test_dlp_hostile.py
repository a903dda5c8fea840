"""Ways by which credentials were carried past the scan, each found since. Both searches."""

import base64
import json
import random
import string
import zlib
from collections.abc import Callable
from functools import cache

import pytest

from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.matcher import Backend
from sidecar.dlp.needles import Known
from sidecar.dlp.redact import redacted
from sidecar.secret import Secret
from tests.sidecar.dlp.dlp_kit import PROSE, names, scan

BACKENDS: tuple[Backend, ...] = ("hyperscan", "portable")
RNG = random.Random(17)
TOKENS = {
    "anthropic-api-key": "sk-ant-" + "api03-" + "".join(RNG.choices(string.ascii_letters + string.digits, k=93)) + "AA",
    "aws-access-key-id": "AK" + "IA" + "".join(RNG.choices(string.ascii_uppercase + "234567", k=16)),
}


def wrap(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


@cache
def engine(backend: Backend) -> Engine:
    return Engine.compile(EngineConfig(backend=backend))


def among_prose(text: str) -> bytes:
    return PROSE + b"\n" + text.encode() + b"\n" + PROSE


@pytest.mark.parametrize(
    "put",
    [
        lambda token: json.dumps("     1→" + token),
        lambda token: json.dumps(f"see “{token}” there"),
        lambda token: json.dumps(json.dumps(f"密钥{token}。")),
        lambda token: f"\x1b[32m{token}\x1b[0m",
        lambda token: json.dumps(f"\x1b[01;31m\x1b[K{token}\x1b[m\x1b[K"),
        lambda token: f"\x1b[38;2;255;100;200m{token}\x1b[0m",
        lambda token: f"printf '\\033[1m{token}\\033[0m'",
        lambda token: f"token=3D{token}=20ok",
        lambda token: f"b'\\x0a{token}'",
        lambda token: f"a\\v{token}\\0{token}",
    ],
    ids=["arrow", "quoted", "nested", "colour", "grep", "true colour", "printf", "mail", "bytes", "c"],
)
@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_escape_before_a_credential_makes_it_part_of_a_word(backend: Backend, kind: str, put) -> None:  # type: ignore[no-untyped-def]
    assert kind in names(scan(engine(backend), among_prose(put(TOKENS[kind]))))


LINES = ["".join(RNG.choices(string.ascii_letters + string.digits, k=64)) for _ in range(20)] + ["ZmFyIGF3YXk="]
KEY = ["-----BEGIN RSA PRIVATE KEY-----", *LINES, "-----END RSA PRIVATE KEY-----"]
MARKED = {
    "numbered": "\n".join(f"{at:6}→{line}" for at, line in enumerate(KEY, 1)),
    "quoted": "> " + "\n> ".join(KEY),
    "found": "\n".join(f"keys/my_key.pem:{at}:{line}" for at, line in enumerate(KEY, 1)),
    "commented": "# " + "\n# ".join(KEY),
    "joined": '"' + '\\n" +\n    "'.join(KEY) + '"',
    "a list": json.dumps(KEY, indent=2),
    "with line ends shown": "$\n".join(KEY),
    "markup": "<br>".join(KEY),
    "as numbers": json.dumps(list("\n".join(KEY).encode())),
}


@pytest.mark.parametrize("form", MARKED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_with_something_before_each_line_is_found(backend: Backend, form: str) -> None:
    for text in (MARKED[form], json.dumps({"content": MARKED[form]}), json.dumps(json.dumps(MARKED[form]))):
        # where an arrow is escaped, all before a line is letters, blanks and backslashes
        found = names(scan(engine(backend), among_prose(text)))
        assert found in ({"private-key-in-marked-lines"}, {"pem-private-key"})


@pytest.mark.parametrize("form", ["numbered", "quoted", "found", "commented", "joined", "markup"])
def test_of_a_key_with_something_before_each_line_no_line_is_left(form: str) -> None:
    cut = MARKED[form][: MARKED[form].index(LINES[15])]
    for marked, end in ((MARKED[form], " the last line"), (cut, "")):
        for text in (f"first {marked}{end}", json.dumps({"content": f"first {marked}{end}"})):
            clean = redacted(text.encode(), lambda data: scan(engine("hyperscan"), data))
            assert clean is not None
            assert b"first" in clean
            assert end.encode() in clean
            assert not any(line.encode() in clean for line in LINES)


@pytest.mark.parametrize("words", ["my-key", "changeme", "your_key"])
def test_no_comment_makes_a_placeholder_of_a_key(words: str) -> None:
    body = "\n".join(LINES[:4])
    pgp = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: {words}\n\n{body}\n-----END PGP PRIVATE KEY BLOCK-----"
    putty = f"PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: {words}\nPublic-Lines: 4\n{body}\n"
    for text in (pgp, putty):
        assert scan(engine("hyperscan"), among_prose(text)).blocked


SECRET = "".join(RNG.choices(string.ascii_letters + string.digits, k=44))
TWO = f"the words before {TOKENS['anthropic-api-key']} and behind"


@cache
def knowing(backend: Backend) -> Engine:
    return Engine.compile(EngineConfig((Known("SECRET", Secret(SECRET)),), backend))


def fourths(escape: Callable[[str], str]) -> str:
    return "".join(escape(char) if at % 5 == 2 else char for at, char in enumerate(SECRET))


@pytest.mark.parametrize(
    "text",
    [
        *(json.dumps(mark.join(SECRET)) for mark in ("•", "\0", "\x0b", "\r\n", "—", "\u00a0", "\0\0\0")),
        json.dumps(json.dumps("\0".join(SECRET))),
        json.dumps("\r\n".join(wrap(SECRET, 5))),
        "&nbsp;".join(SECRET),
        "&shy;".join(SECRET),
        fourths(lambda char: f"\\{ord(char):03o}"),
        fourths(lambda char: f"={ord(char):02X}"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_escaped_marks_between_letters_hide_no_secret(backend: Backend, text: str) -> None:
    assert "SECRET" in names(scan(knowing(backend), among_prose(text)))


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("seed", range(8))
def test_a_zlib_stream_in_base64_is_known_however_it_goes_on(level: int, seed: int) -> None:
    filling = "".join(random.Random(seed).choices(string.printable, k=20 * seed**2))
    packed = base64.b64encode(zlib.compress(f"{filling} {TOKENS['aws-access-key-id']} ".encode(), level)).decode()
    assert "aws-access-key-id" in names(scan(engine("hyperscan"), among_prose(packed)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_zlib_stream_in_a_part_of_a_body_is_opened(end: str) -> None:
    head = end.join(("--b", 'Content-Disposition: form-data; name="f"', "Content-Type: application/zlib", "", ""))
    body = head.encode() + zlib.compress(TOKENS["aws-access-key-id"].encode()) + f"{end}--b--".encode()
    assert "aws-access-key-id" in names(scan(engine("hyperscan"), body))


def in_lines(text: str, width: int) -> str:
    return "\n".join(wrap(text, width))


@pytest.mark.parametrize(
    "text",
    [
        in_lines(TWO.encode().hex(), 60),
        in_lines(TWO.encode().hex(), 60).replace("\n", "\r\n"),
        in_lines(base64.b32encode(TWO.encode()).decode(), 76),
        "data[] = {\n" + ",\n".join("  " + ", ".join(f"0x{ord(c):02x}" for c in row) for row in wrap(TWO, 12)) + "};",
        json.dumps(list(TWO.encode()), indent=2),
        "=\r\n".join(wrap(TWO, 30)),
    ],
    ids=["hex", "hex with carriage returns", "base32", "xxd -i", "codes", "quoted-printable"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_lines_of_an_encoding_are_joined_in_json_too(backend: Backend, text: str) -> None:
    for put in (among_prose(text), json.dumps({"content": text}).encode(), json.dumps(json.dumps(text)).encode()):
        assert "anthropic-api-key" in names(scan(engine(backend), put))


def test_a_credential_in_base64_alone_is_a_body() -> None:
    assert scan(engine("hyperscan"), base64.b64encode(TOKENS["aws-access-key-id"].encode())).blocked


DIGITS = "".join(RNG.choices(string.digits, k=60))
CAPITALS = "".join(RNG.choices(string.ascii_uppercase, k=60))


@pytest.mark.parametrize(
    "value",
    [
        DIGITS + "x!",
        "A" + DIGITS + "x!",
        "Abc" + DIGITS + "x!",
        "A1." * 30 + "x!",
        "abc" + CAPITALS + "1x!",
        "SHA-" * 30 + "x!",
        "base64" + "-AaAa" * 30 + "!1x",
        "urn:ab" + ":abcdefgh" * 20 + "!1X",
    ],
)
def test_no_value_takes_for_ever_to_be_told_from_code(value: str) -> None:
    """Each was divided in more than 2^30 ways before it was known to be no name."""
    engine("portable").scan(f'api_key = "{value}"'.encode(), where=Location("body"))


@pytest.mark.parametrize("line_break", ["%0d%0a", "%0D%0A", "\r\n"])
def test_line_breaks_of_a_url_are_not_divided_in_every_way(line_break: str) -> None:
    many = f"/log?text={line_break * 2000}"
    for end, found in (("!", False), ("Host: a", True)):
        text = (many + end).encode()
        scan = engine("portable").scan(text, where=Location("query"), detectors=frozenset({"crlf"}))
        assert ("crlf_injection" in {each.code for each in scan.findings}) is found
