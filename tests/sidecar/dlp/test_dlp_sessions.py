"""What was clean before and is skipped: nothing that begins there and ends behind it may be lost for that."""

import base64
import json
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.dlp import session as session_module
from sidecar.dlp import shape
from sidecar.dlp.engine import DEFAULT, Engine, EngineConfig
from sidecar.dlp.patterns.model import all_types
from sidecar.dlp.rules import _EDGE
from sidecar.dlp.searches import shapes
from sidecar.dlp.session import MARGIN, NEAR, Session
from tests.sidecar.dlp.dlp_kit import BODY, ENCODERS, INJECTED, PROSE, engine_for, make_secrets, names, scan

SECRETS = tuple(make_secrets(20))
TOKENS = [text for each in all_types() for text in each.positives]
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
END = b'"}]}'


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(SECRETS)


def _conversation(turns: int) -> bytes:
    rng = random.Random(5)
    messages = [
        {"role": "user", "content": f"{number} {rng.getrandbits(40)} " + (PROSE * 40).decode()}
        for number in range(turns)
    ]
    return json.dumps({"model": "m", "messages": messages}, separators=(",", ":")).encode()


def test_a_session_finds_what_is_new_and_what_crosses_the_old_end(engine: Engine) -> None:
    session = Session()
    assert scan(engine, _conversation(40), session=session).clean
    longer = _conversation(42)
    assert session.resume(engine, BODY, DEFAULT, longer).alike
    for at in (len(longer) - 40, len(_conversation(40)) - 2, len(_conversation(40)) + 30):
        planted = longer[:at] + base64.b64encode(SECRETS[5].encode()) + longer[at:]
        assert names(scan(engine, planted, session=session)) == {"SECRET_5"}, at
    early = longer[:1000] + SECRETS[6].encode() + longer[1000:]
    assert names(scan(engine, early, session=session)) == {"SECRET_6"}


def test_a_session_carries_pieces_and_forgets_with_the_engine(engine: Engine) -> None:
    session = Session()
    start, middle = SECRETS[0][:7], SECRETS[0][20:27]
    data = _conversation(40)
    first = data[:2000] + start.encode() + b" " + middle.encode() + data[2000:]
    assert scan(engine, first, session=session).clean
    end = first[:-4] + b" " + SECRETS[0][40:47].encode() + first[-4:]
    assert names(scan(engine, end, session=session)) == {"SECRET_0"}
    other = Engine.compile(EngineConfig())
    assert not session.resume(other, BODY, DEFAULT, first).alike
    assert not session.resume(engine, BODY, DEFAULT | {"entropy"}, first).alike


@SLOW
@given(
    size=st.sampled_from([0, 7, 8, 700, session_module._STEP - 3, session_module._STEP + 9, 2 * session_module._STEP]),
    share=st.floats(0, 1),
    more=st.integers(0, 20),
)
def test_how_far_two_bodies_are_alike_is_told_to_eight_bytes(size: int, share: float, more: int) -> None:
    text = random.Random(size).randbytes(size)
    at = int(size * share)
    other = text[:at] + bytes(code ^ 1 for code in text[at : at + 1]) + text[at + 1 :] + bytes(more)
    for alike in (session_module.common_prefix(text, other), session_module.common_prefix(other, text)):
        assert at - 8 < alike <= at


def test_a_blocked_body_is_not_remembered(engine: Engine) -> None:
    session = Session()
    data = _conversation(40) + SECRETS[7].encode()
    assert scan(engine, data, session=session).blocked
    assert not session.resume(engine, BODY, DEFAULT, data).alike


# what gives encodings away all the time, so that the stretches that are decoded run together, and what never does
AROUND = (PROSE, b"caf\xc3\xa9 \\u00e9\\u0041 ", b"a=%41&amp; ", b"YWJj ", b"\xe2\x80\x8b.,;:!? ")
FORMS = {**ENCODERS, **INJECTED}


def _crossing(rng: random.Random) -> tuple[bytes, list[int]]:
    """A text in which something is hidden, and where shorter forms of it end: in the midst of that, too."""
    around = rng.choice(AROUND)
    before = (around * 20_000)[: rng.randint(40_000, 90_000)]
    value = rng.choice(SECRETS if rng.random() < 0.5 else TOKENS).encode()
    for _ in range(rng.randint(0, 2)):
        value = FORMS[rng.choice(sorted(FORMS))](value, rng)
    at = len(before) + rng.randint(-300, len(value) + 300)
    text = before + b" " + value + b" " + around * 20
    return text, sorted({max(40_000, at - rng.randint(0, 9000)), max(40_000, at), len(text)})


@SLOW
@given(seed=st.integers(0, 2**32))
def test_a_session_finds_what_a_scan_without_one_finds(engine: Engine, seed: int) -> None:
    text, ends = _crossing(random.Random(seed))
    session = Session()
    for end in ends:
        body = b'{"messages":[{"content":"' + text[:end] + END
        plain, resumed = scan(engine, body), scan(engine, body, session=session)
        expected = {(each.kind, each.code) for each in plain.findings}
        assert {(each.kind, each.code) for each in resumed.findings} == expected


@pytest.mark.parametrize(
    ("form", "share"), [("\\u{:04x}", 1), ("%{:02x}", 1), ("&#{:d};", 1), ("\\U{:08x}", 0.1), ("\\U{:08x}", 0.02)]
)
def test_a_long_credential_that_goes_on_is_decoded_from_its_beginning(engine: Engine, form: str, share: float) -> None:
    """Under escapes it is longer than what is searched again."""
    rng = random.Random(2)
    claims = {"alg": "HS256", "kid": rng.randbytes(200).hex()}, {"sub": rng.randbytes(740).hex()}
    parts = [json.dumps(each).encode() for each in claims]
    head, claim, signature = (base64.urlsafe_b64encode(each).rstrip(b"=") for each in (*parts, rng.randbytes(64)))

    def hidden(text: bytes) -> bytes:
        return "".join(form.format(byte) if rng.random() < share else chr(byte) for byte in text).encode()

    known = _conversation(30)[: -len(END)] + b" " + hidden(head + b"." + claim)
    session = Session()
    assert scan(engine, known + END, session=session).clean
    body = known + hidden(b"." + signature) + b" " + PROSE + END
    assert session.resume(engine, BODY, DEFAULT, body).alike
    assert names(scan(engine, body, session=session)) == {"jwt"}


def test_what_is_known_reaches_further_back_than_any_match() -> None:
    rules = shapes().rules
    assert max(rule.width for rule in rules) + _EDGE < NEAR
    assert max(shape.max_width(spec.source) for each in shapes().decoders for spec in each.specs) < NEAR
    assert max(rule.width for rule in rules) * 6 < MARGIN


def test_of_a_longer_body_little_is_examined_again(engine: Engine) -> None:
    session = Session()
    first = _conversation(40)
    assert scan(engine, first, session=session).examined >= len(first)
    longer = _conversation(41)
    assert scan(engine, longer, session=session).examined < len(longer) - len(first) + NEAR + 1024


def test_where_the_signs_are_not_known_the_margin_is_searched(engine: Engine) -> None:
    """A conversation that goes on from an earlier place: what is hidden there is decoded from its beginning."""
    session = Session()
    text = _conversation(60)
    at = len(text) - session_module._KEPT - 20_000
    hidden = "".join(f"\\u{byte:04x}" for byte in SECRETS[3].encode()).encode()
    body = text[:at] + hidden[:40] + text[at:]
    assert scan(engine, body, session=session).clean
    known = session.resume(engine, BODY, DEFAULT, body[: at + 40] + hidden[40:] + END)
    assert known.near == known.start > 0
    assert names(scan(engine, body[: at + 40] + hidden[40:] + END, session=session)) == {"SECRET_3"}


def test_letters_far_apart_are_put_together_with_those_that_are_known(engine: Engine) -> None:
    session = Session()
    apart = b" .,;:!?" * 200
    letters = [bytes([letter]) for letter in SECRETS[4].encode()[:14]]
    first = _conversation(30) + apart + apart.join(letters[:9]) + apart
    assert scan(engine, first + END, session=session).clean
    body = first + apart.join(letters[9:]) + END
    assert session.resume(engine, BODY, DEFAULT, body).alike
    assert names(scan(engine, body, session=session)) == {"SECRET_4"}


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "in quotation marks": lambda stream: b'{"a": "' + stream + b'"}',
    "percent": lambda stream: "".join(f"%{code:02x}" for code in stream).encode(),
    "base64": base64.b64encode,
    "hex": lambda stream: stream.hex().encode(),
}


@pytest.mark.parametrize("form", STREAMS)
def test_a_stream_that_goes_on_otherwise_than_before_is_read_from_its_beginning(engine: Engine, form: str) -> None:
    rng, session = random.Random(4), Session()
    begin = bytes(rng.choices(b"abcdefgh ijkl\nmnop", k=100_000))

    def body(end: bytes) -> bytes:
        stream = zlib.compressobj(wbits=31)
        head = stream.compress(begin) + stream.flush(zlib.Z_SYNC_FLUSH)
        return STREAMS[form](head + stream.compress(end) + stream.flush())

    assert engine.scan(body(b"all is well, nothing to see here"), where=BODY, session=session).clean
    known = body(f" the key is {SECRETS[0]} here".encode())
    assert names(engine.scan(known, where=BODY, session=session)) == {"SECRET_0"}
