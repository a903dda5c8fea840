"""The engine's promises: nothing raises or shows what was matched, redaction is clean, backends agree, it is linear."""

import base64
import gzip
import io
import json
import pickle
import random
import string
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sidecar.dlp import engine as engine_module
from sidecar.dlp import money
from sidecar.dlp.derived import Derived
from sidecar.dlp.engine import DEFAULT, Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.needles import Known
from sidecar.dlp.patterns.model import all_types
from sidecar.dlp.patterns.vendors.structure import base62_crc32
from sidecar.dlp.redact import redacted
from sidecar.dlp.view import View
from sidecar.secret import Secret
from tests.sidecar.dlp.dlp_kit import (
    BODY,
    ENCODERS,
    INJECTED,
    PLACEMENTS,
    PROSE,
    engine_for,
    make_secrets,
    names,
    scan,
)

SECRETS = tuple(make_secrets(20))
CANARY = base64.b64encode(random.Random(99).randbytes(32)).decode()
ALL = {**ENCODERS, **INJECTED}
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(SECRETS, CANARY)


@SLOW
@given(
    seed=st.integers(0, 2**32),
    index=st.integers(0, len(SECRETS) - 1),
    encoding=st.sampled_from(sorted(ALL)),
    place=st.sampled_from(sorted(PLACEMENTS)),
    before=st.binary(max_size=300),
    after=st.binary(max_size=300),
)
def test_a_secret_anywhere_is_found(
    seed: int, index: int, encoding: str, place: str, before: bytes, after: bytes
) -> None:
    rng = random.Random(seed)
    value = PLACEMENTS[place](ALL[encoding](SECRETS[index].encode(), rng), rng)
    result = scan(engine_for(SECRETS, CANARY), before + b"\n" + value + b"\n" + after)
    assert result.blocked
    assert f"SECRET_{index}" in names(result)


@SLOW
@given(
    data=st.one_of(st.binary(max_size=4000), st.text(max_size=2000).map(lambda text: text.encode("utf-8", "replace")))
)
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    for part in ("body", "header", "query"):
        engine_for(SECRETS, CANARY).scan(data, where=Location(part), detectors=DEFAULT | {"entropy"})  # type: ignore[arg-type]


@SLOW
@given(document=st.recursive(st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.integers(), st.text()),
                             lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20),
       index=st.integers(0, 19), encoding=st.sampled_from(sorted(ALL)), seed=st.integers(0, 2**32))  # fmt: skip
def test_redaction_leaves_no_finding_and_valid_json(document: object, index: int, encoding: str, seed: int) -> None:
    engine = engine_for(SECRETS, CANARY)
    assume(
        not engine.scan(json.dumps(document).encode(), where=BODY).findings
    )  # a number may be a card's: not redacted
    value = ALL[encoding](SECRETS[index].encode(), random.Random(seed)).decode("utf-8")
    data = json.dumps({"before": document, "text": f"it is {value} there", "list": [value, 1]}).encode()

    clean = redacted(data, lambda text: engine.scan(text, where=BODY))
    assert clean is not None
    after = json.loads(clean)
    assert "[redacted]" in after["text"]
    assert not engine.scan(clean, where=BODY).findings
    assert SECRETS[index].encode() not in clean


@pytest.mark.parametrize("name", ["jwt-long", "jwe-long", "docker-config-auth"])
def test_of_a_value_that_is_longer_than_its_rule_nothing_is_left(engine: Engine, name: str) -> None:
    text = max(next(each.positives for each in all_types() if each.id == name), key=len)
    for data in (b"first " + text.encode() + b" last", json.dumps({"content": f"first {text} last"}).encode()):
        clean = redacted(data, lambda text: engine.scan(text, where=BODY, every=True))
        assert clean is not None
        assert b"first " in clean
        assert b" last" in clean
        assert len(clean) < 150


def _written_keys() -> dict[str, str]:
    """Private keys of 4096 bits and more, as files and tools have them."""
    lines = "\n".join(base64.b64encode(random.Random(number).randbytes(48)).decode() for number in range(110))
    last = "JTG5QrQibgLg5oee8CsOpEejG2uw"
    pem = "-----BEGIN {0}PRIVATE KEY-----\n{2}{1}\n-----END {0}PRIVATE KEY-----\n"
    aes = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n"
    plain = pem.format("", f"{lines}\n{last}", "")
    return {
        "PKCS#8": plain,
        "OpenSSH": pem.format("OPENSSH ", f"{lines}\n{last}", ""),
        "with headers": pem.format("RSA ", f"{lines}\n{last}", aes),
        "PGP": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{lines}\n=ab12\n-----END PGP PRIVATE KEY BLOCK-----\n",
        "PuTTY": "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: k\n"
        f"Public-Lines: 22\n{lines[: 65 * 22 - 1]}\nPrivate-Lines: 56\n{lines[65 * 22 :]}\n",
        "CRLF": plain.replace("\n", "\r\n"),
        "indented": plain.replace("\n", "\n        ").rstrip(" "),
        "in a string": plain.replace("\n", "\\n") + "\n",
        "base64": base64.b64encode(plain.encode()).decode() + "\n",
        "base64 in lines": base64.encodebytes(plain.encode()).decode(),
    }


@pytest.mark.parametrize("name", _written_keys())
def test_of_a_long_private_key_no_line_is_left(engine: Engine, name: str) -> None:
    key = _written_keys()[name]
    for text in (f"first:\n{key}the last line", json.dumps({"content": f"first:\n{key}the last line"})):
        clean = redacted(text.encode(), lambda text: engine.scan(text, where=BODY))
        assert clean is not None
        assert b"first:" in clean
        assert b"the last line" in clean
        assert len(clean) < 300


def test_redaction_keeps_the_rest_of_a_text(engine: Engine) -> None:
    data = PROSE + b" key: " + SECRETS[0].encode() + b" " + PROSE
    clean = redacted(data, lambda text: engine.scan(text, where=BODY))
    assert clean == PROSE + b" key: [redacted] " + PROSE


def test_findings_show_nothing_of_what_was_matched(engine: Engine) -> None:
    data = json.dumps({"a": SECRETS[0], "b": CANARY, "password": "Zk3!kd92Lqpx"}).encode()
    result = scan(engine, data)
    assert {"known_secrets", "canary", "token_patterns"} <= {finding.detector for finding in result.findings}
    shown = repr(result) + repr(engine) + repr(engine._known)
    for secret in (SECRETS[0], CANARY, "Zk3!kd92Lqpx"):
        assert not any(secret[at : at + 6] in shown for at in range(len(secret) - 6))
    value = result.findings[0].value
    assert value is not None
    with pytest.raises(TypeError):
        pickle.dumps(value)
    assert f"{value}" == "Match(***)"


def test_the_canary_is_found_first_and_never_approvable(engine: Engine) -> None:
    finding = scan(engine, f"x {SECRETS[1]} {CANARY}".encode()).findings[0]
    assert (finding.detector, finding.severity, finding.approvable) == ("canary", "block", False)


@pytest.mark.parametrize("size", [1000, 300_000])  # a large text is searched for needles while the rest is decoded
def test_no_number_of_other_findings_hides_the_canary(engine: Engine, size: int) -> None:
    rng = random.Random(3)
    bodies = ["".join(rng.choices(string.ascii_letters, k=30)) for _ in range(engine_module.MAX_FINDINGS + 50)]
    tokens = "\n".join(f"ghp_{body}{base62_crc32(body.encode())}" for body in bodies)
    found = scan(engine, f"{tokens}\n{'the parser reads ' * (size // 17)}\n{CANARY}".encode()).findings
    assert found[0].detector == "canary"
    assert "limits" in {finding.code for finding in found}


def test_the_canary_counts_beside_what_is_too_much_to_decode(engine: Engine) -> None:
    text = b"\x1f\x8b\x08" * 60_000 + CANARY.encode()
    assert {"canary", "limits"} <= {finding.detector for finding in scan(engine, text).findings}


def test_an_approved_value_passes_and_a_second_secret_does_not(engine: Engine) -> None:
    value = base64.b64encode(SECRETS[2].encode())
    data = b"a " + value + b" b"
    found = [finding for finding in scan(engine, data).findings if finding.approvable]
    approved = [finding.value for finding in found if finding.value is not None]
    assert any(each.reveal() in value for each in approved)
    assert not scan(engine, data, allowed=approved).blocked
    assert names(scan(engine, data + SECRETS[3].encode(), allowed=approved)) == {"SECRET_3"}


@pytest.mark.parametrize("number", [3, 11])
def test_short_secrets_are_matched_exactly_only(number: int) -> None:
    secret = "aB3$xY9!kLm"[:number]
    engine = Engine.compile(EngineConfig((Known("PIN", Secret(secret)),)))
    if number < 4:
        assert engine.unprotected == ("PIN",)
        return
    assert names(scan(engine, f"pin={secret};".encode())) == {"PIN"}
    assert not scan(engine, secret.swapcase().encode() + b" " + "-".join(secret).encode()).blocked


def test_a_documents_duplicate_keys_hide_nothing(engine: Engine) -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in SECRETS[4])
    assert names(scan(engine, ('{"a":"' + escaped + '","a":"b"}').encode())) == {"SECRET_4"}
    assert names(scan(engine, ('{"a":"' + escaped + '","b":').encode())) == {"SECRET_4"}  # and no broken document


def test_numbers_in_json_are_scanned(engine: Engine) -> None:
    assert names(scan(engine, b'{"card":4539148803436467}')) == {"card"}
    listed = json.dumps({"bytes": list(SECRETS[0].encode())}, separators=(",", ":")).encode()
    assert names(scan(engine, listed)) == {"SECRET_0"}


def test_benign_text_is_clean(engine: Engine) -> None:
    data = json.dumps(
        {"messages": [{"content": (PROSE * 40).decode(), "id": "toolu_01A09q90qw90lq917835lq9"}]}
    ).encode()
    assert scan(engine, data).clean
    assert scan(engine, b'password = get_password()\ntoken: str = os.environ["TOKEN"]\napi_key="<your-key>"').clean


# --- backends -----------------------------------------------------------------------------------------------------


def test_the_backends_find_the_same() -> None:
    rng = random.Random(21)
    fast, portable = engine_for(SECRETS, CANARY, "hyperscan"), engine_for(SECRETS, CANARY, "portable")
    tokens = [text for each in all_types() for text in each.positives]
    for _ in range(1500):
        name = rng.choice(sorted(ALL))
        value = ALL[name](rng.choice(SECRETS).encode(), rng)
        if rng.random() < 0.5:
            value = rng.choice(tokens).encode()
        data = PLACEMENTS[rng.choice(sorted(PLACEMENTS))](value, rng)
        left, right = scan(fast, data), scan(portable, data)
        assert {(f.kind, f.code, f.start, f.end) for f in left.findings} == {
            (f.kind, f.code, f.start, f.end) for f in right.findings
        }, (name, data[:200])


def test_many_threads_scan_at_once(engine: Engine) -> None:
    failures: list[int] = []

    def work(number: int) -> None:
        for _ in range(30):
            secret = SECRETS[number]
            if names(scan(engine, PROSE * 20 + secret.encode())) != {f"SECRET_{number}"}:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- hostile input ------------------------------------------------------------------------------------------------


def _times(text: bytes, size: int) -> bytes:
    return (text * (size // len(text) + 1))[:size]


HOSTILE = {
    "pieces": lambda n: _times(SECRETS[0][:7].encode() + b" ", n),
    "secret": lambda n: _times(SECRETS[0].encode() + b" ", n),
    "percent": lambda n: _times(b"%41%62 ", n),
    "unicode": lambda n: b'{"a":"' + _times(b"\\u0041", n // 6 * 6) + b'"}',
    "backslashes": lambda n: b'{"a":"' + _times(b"\\\\", n // 2 * 2) + b'"}',
    "marks": lambda n: _times("a\u0301\u0327".encode(), n),
    "entities": lambda n: _times(b"&#65;", n),
    "base64": lambda n: base64.b64encode(_times(PROSE, n * 3 // 4)),
    "base64 thrice": lambda n: base64.b64encode(base64.b64encode(base64.b64encode(_times(PROSE, n * 27 // 64)))),
    "hex": lambda n: _times(PROSE, n // 2).hex().encode(),
    "base32": lambda n: base64.b32encode(_times(PROSE, n * 5 // 8)),
    "gzip starts": lambda n: _times(b"H4sIAAAAAAAAAABBBBBBBBBB ", n),
    "keywords": lambda n: _times(b"aws_secret_access_key ", n),
    "cards": lambda n: _times(b"4111 1111 1111 1112 ", n),
    "words": lambda n: _times(b"abandon ", n),
    "listed words": lambda n: _times(b" ".join(sorted(money.seed_words())) + b" ", n),
    "rows of words": lambda n: _times(b" ".join(sorted(money.seed_words())[:12]) + b"\n zzz  Qqqqqqqqqq ", n),
    "tokens": lambda n: _times(b"AKIAQWERTYUIOPASDFGH ", n),
    "prefixes": lambda n: _times(b"ghp_", n),
    "assignments": lambda n: _times(b'password="aB3xY9kLm" ', n),
    "brackets": lambda n: b"[" * n,
    "jwt": lambda n: _times(b"eyJhbGciOiJIUzI1NiJ9.", n),
    "short runs": lambda n: _times(b"abcdefghijklmnopqrstuvwxyz ", n),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_text_costs_linear_time(engine: Engine, name: str) -> None:
    """Four times the text may cost some ten times the processor time of this thread, never sixteen and more."""
    small, large = HOSTILE[name](60_000), HOSTILE[name](240_000)
    costs: list[float] = []
    for data in (small, large):
        runs: list[float] = []
        for _ in range(3):
            before = time.thread_time()
            scan(engine, data)
            runs.append(time.thread_time() - before)
        costs.append(min(runs))
    assert costs[1] < 10 * costs[0] + 0.05, costs
    assert costs[1] < 2.0, costs


def test_kinds_of_escapes_do_not_multiply_a_text(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer takes all of them off at once: each by itself, in every order, made 23 times such a text."""
    examined: list[int] = []
    plain = engine_module.derived

    def counted(parent: View, parts: Sequence[Derived]) -> View:
        examined.append(sum(len(part.data) for part in parts if not part.turned))
        return plain(parent, parts)

    monkeypatch.setattr(engine_module, "derived", counted)
    text = _times("\\x41ａ&#65;%41=41\\u0041&amp;%2541é".encode(), 60_000)
    assert "limits" not in {finding.code for finding in scan(engine, text).findings}
    assert 0 < sum(examined) < 4 * len(text)


WRITTEN: dict[str, Callable[[str], str]] = {
    "json": lambda text: "".join(
        f"\\u{ord(char):04x}" if at % 2 or char == "\\" else char for at, char in enumerate(text)
    ),
    "url": lambda text: "".join(f"%{ord(char):02x}" if at % 2 or char == "%" else char for at, char in enumerate(text)),
    "entities": lambda text: "".join(
        f"&#{ord(char)};" if at % 2 or char == "&" else char for at, char in enumerate(text)
    ),
}


@pytest.mark.parametrize(
    "value", ["gQ7zRb2%41kW2xT9bMpe", "gQ7zRb&41;kW&lt2xT9b", "gQ7zRb=41kW=42Z9=43bMpe", "gQ7z\\x41kW2xT9bMpeX"]
)
@pytest.mark.parametrize("outer", WRITTEN)
@pytest.mark.parametrize("inner", [None, *WRITTEN])
def test_an_escape_inside_a_secret_hides_nothing(value: str, outer: str, inner: str | None) -> None:
    """Half of it is escaped, beside signs of every kind: what one decoder takes for its own may be the secret's."""
    own = Engine.compile(EngineConfig((Known("OWN", Secret(value)),)))
    for shift in ("", "x"):
        written = WRITTEN[outer](shift + (WRITTEN[inner](value) if inner else value))
        near = " 100%25 &lt;b&gt; =41=42=43 <b>x1</b><i>y2</i> \\u0041 "
        assert names(scan(own, f'{{"text": "{near}{written}{near}"}}'.encode())) == {"OWN"}, written


def test_what_stands_inside_a_tag_is_examined_before_tags_are_taken_off(engine: Engine) -> None:
    row = "<tr><td>1</td><td>2</td> \\u0041\\u00e9 &#65; </tr>"
    tag = f'<input value="{WRITTEN["json"](SECRETS[0])}">'
    assert names(scan(engine, f'{{"page": "{row * 4000}{tag}{row * 4000}"}}'.encode())) == {"SECRET_0"}


@pytest.mark.parametrize("encode", [base64.b64encode, lambda data: data.hex().encode(), base64.b32encode])
def test_a_stream_behind_a_long_name_is_read(engine: Engine, encode: Callable[[bytes], bytes]) -> None:
    """The header of gzip holds the name of the file, of any length: its beginning does not tell what it is."""
    for name in ("a", "a" * 60, "a" * 300, "a" * 3000):
        packed = io.BytesIO()
        with gzip.GzipFile(filename=name, mode="wb", fileobj=packed) as stream:
            stream.write(PROSE * 20 + SECRETS[0].encode() + PROSE * 20)
        body = b'{"file": "' + encode(packed.getvalue()) + b'"}'
        assert "SECRET_0" in names(scan(engine, body)), name


def test_what_stands_behind_a_secret_said_many_times_is_found(engine: Engine) -> None:
    short, other = sorted(range(len(SECRETS)), key=lambda number: len(SECRETS[number]))[:2]
    text = (SECRETS[short].encode() + PROSE[:900]) * 80
    assert names(scan(engine, text + SECRETS[other].encode())) == {f"SECRET_{short}", f"SECRET_{other}"}


def test_a_large_tree_of_sources_is_examined_to_its_end(engine: Engine) -> None:
    """As it is sent to a build, or published: seven times as large as its archive."""
    rng = random.Random(3)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(300)]
    lines = ["    " + " ".join(rng.choices(words, k=rng.randint(2, 9))) + "\n" for _ in range(700)]
    tree = "".join(rng.choices(lines, k=700_000)).encode()
    archive = gzip.compress(tree, 6)
    assert len(tree) > 4 * len(archive) + (8 << 20)
    assert scan(engine, archive).clean
    token = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"  # a made-up value with a right checksum
    assert scan(engine, gzip.compress(tree + token.encode(), 6)).blocked


def test_a_bomb_is_a_finding_not_a_crash(engine: Engine) -> None:
    bomb = base64.b64encode(gzip.compress(b"\0" * 50_000_000, 9))
    assert {finding.code for finding in scan(engine, bomb).findings} == {"limits"}
