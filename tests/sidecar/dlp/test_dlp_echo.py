"""Real credentials in answers: taken out in every encoding and however the answer is cut; all else passes untouched."""

import base64
import binascii
import gzip
import json
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.dlp.echo import MOST_EVENT, EchoFailed, EchoRedactor, FrameRedactor
from sidecar.dlp.echo_seek import mask
from sidecar.dlp.engine import Engine
from sidecar.dlp.escapes import percent, unescape
from tests.sidecar.dlp.dlp_kit import ENCODERS, INJECTED, PLACEMENTS, PROSE, engine_for, make_secrets, scan

SECRETS = tuple(make_secrets(20))
CANARY = "Zm9ydHktdHdvIGNhbmFyaWVzIHNpbmcgaW4gdGhlIGNvYWw="
ALL = {**ENCODERS, **INJECTED}
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LINES = "application/x-ndjson"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(SECRETS, CANARY)


def known(engine: Engine, data: bytes) -> list[str]:
    return [finding.kind for finding in scan(engine, data, detectors=frozenset({"known_secrets"})).findings]


def through(redactor: EchoRedactor, chunks: list[bytes]) -> bytes:
    return b"".join([*map(redactor.feed, chunks), redactor.finish()])


def cut(data: bytes, rng: random.Random, most: int) -> list[bytes]:
    chunks: list[bytes] = []
    at = 0
    while at < len(data):
        size = rng.randint(1, most)
        chunks.append(data[at : at + size])
        at += size
    return chunks


# --- bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", sorted(ALL))
def test_every_encoding_everywhere_however_it_is_cut(engine: Engine, encoding: str) -> None:
    rng = random.Random(encoding)
    for place in rng.sample(sorted(PLACEMENTS), 3):
        put = PLACEMENTS[place]
        for most in (20, 10_000):
            secret = rng.choice(SECRETS)
            data = put(ALL[encoding](secret.encode(), rng), rng)
            redactor = EchoRedactor(engine, "application/json")
            out = through(redactor, cut(data, rng, most))
            assert len(out) == len(data)
            assert not known(engine, out), (place, most)
            assert redactor.names, (place, most)
            if "json" in place or place == "key":
                json.loads(out)


def test_what_is_beside_the_secret_stays(engine: Engine) -> None:
    for value in (SECRETS[0], "".join(f"%{byte:02x}" for byte in SECRETS[0].encode())):
        data = PROSE + b' {"key": "' + value.encode() + b'", "n": [1, true, null]} ' + PROSE
        out = through(EchoRedactor(engine), [data[:300], data[300:]])
        assert out.startswith(PROSE + b' {"key": "[redacted]*')
        assert out.endswith(b'", "n": [1, true, null]} ' + PROSE)


def test_numbers_and_strings_stay_json(engine: Engine) -> None:
    document = {
        "bytes": list(SECRETS[0].encode()),
        "text": SECRETS[3],
        "escaped": "\u0301".join(SECRETS[1]),
        SECRETS[2]: True,
        "halves": [SECRETS[4][:30], SECRETS[4][30:]],
    }
    data = json.dumps(document).encode()
    out = through(EchoRedactor(engine, "application/json"), [data])
    assert len(json.loads(out)) == len(document)
    assert not known(engine, out)


@SLOW
@given(chunks=st.lists(st.binary(max_size=600), max_size=8), kind=st.sampled_from(["", "text/event-stream", LINES]))
def test_answers_without_a_secret_pass_byte_for_byte(chunks: list[bytes], kind: str) -> None:
    assert through(EchoRedactor(engine_for(SECRETS, CANARY), kind), chunks) == b"".join(chunks)


def test_bytes_without_a_secret_are_not_held_back(engine: Engine) -> None:
    redactor = EchoRedactor(engine)
    for chunk in (b"READY", b'{"a": "parser"}', b"\x00\xff" * 50, PROSE):
        assert redactor.feed(chunk) == chunk


def test_only_what_may_begin_a_secret_waits_and_not_for_ever(engine: Engine) -> None:
    redactor = EchoRedactor(engine)
    assert redactor.feed(b"token " + SECRETS[0][:9].encode()) == b"token "
    assert redactor.feed(b" and no more") == SECRETS[0][:9].encode() + b" and no more"
    assert redactor.feed(b"token " + SECRETS[0][:9].encode()) == b"token "
    assert redactor.finish() == SECRETS[0][:9].encode()


def test_the_canary_is_the_agents_own(engine: Engine) -> None:
    data = b"CANARY=" + CANARY.encode()
    assert through(EchoRedactor(engine), [data]) == data


def test_short_secrets_as_they_are() -> None:
    engine = engine_for(("pAss-w0rd",))
    for chunks in ([b"x pAss-w0rd y"], [b"x pAss-", b"w0rd y"], [b"x pAss-w0", b"rd", b" y"]):
        assert through(EchoRedactor(engine), chunks) == b"x ********* y"


def test_what_cannot_be_examined_ends_the_answer(engine: Engine) -> None:
    with pytest.raises(EchoFailed):
        through(EchoRedactor(engine), [base64.b64encode(gzip.compress(b"\0" * 60_000_000, 9))])


def test_a_mask_is_as_long_and_keeps_the_structure() -> None:
    for piece in (b"abc", b"0123456789abc", b"1, 22, 3", b'ab","cd', b"\\u0073\\n[", 'ä\u0301b"'.encode()):
        assert len(mask(piece)) == len(piece)
    assert mask(b'a\\u0062","c9') == b'1\\u1111","11'
    assert mask(b"115, 107") == b"111, 111"


# --- event streams ------------------------------------------------------------------------------------------------


def anthropic(text: str) -> bytes:
    body = {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + json.dumps(body).encode() + b"\n\n"


def tool_input(text: str) -> bytes:
    body = {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": text}}
    return b"event: content_block_delta\ndata: " + json.dumps(body).encode() + b"\n\n"


def responses(text: str) -> bytes:
    body = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": text}
    return b"event: response.output_text.delta\r\ndata: " + json.dumps(body).encode() + b"\r\n\r\n"


def chat(text: str) -> bytes:
    body = {
        "id": "chatcmpl-9",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def gemini(text: str) -> bytes:
    body = {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}], "modelVersion": "g"}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\r\n\r\n"


def plain(text: str) -> bytes:
    return b"data: " + text.encode() + b"\n\n"


SHAPES = {each.__name__: each for each in (anthropic, tool_input, responses, chat, gemini)}


def said(stream: bytes) -> str:
    """The text that a client puts together."""
    found: list[str] = []
    for line in stream.splitlines():
        if line.startswith(b"data: "):
            found += _texts(json.loads(line[6:]))
    return "".join(found)


def _texts(node: object) -> list[str]:
    if isinstance(node, list):
        return [text for each in node for text in _texts(each)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("text", "partial_json", "content", "delta") if isinstance(node.get(key), str)]
    return own + [text for each in node.values() for text in _texts(each)]


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize(
    "encoding", ["raw", "base64 at 1", "hex", "url all", "base32", "reversed", "dashes", "url some"]
)
def test_a_secret_over_many_deltas(engine: Engine, shape: str, encoding: str) -> None:
    rng = random.Random(shape + encoding)
    for step in (1, 4, 30):
        secret = rng.choice(SECRETS)
        text = "The key is " + ALL[encoding](secret.encode(), rng).decode() + " as you asked. Then more of it"
        stream = [SHAPES[shape](text[at : at + step]) for at in range(0, len(text), step)]
        redactor = EchoRedactor(engine, "text/event-stream; charset=utf-8")
        out = through(redactor, stream if step != 4 else cut(b"".join(stream), rng, 50))
        assert out.count(b"data: ") == len(stream)
        whole = said(out)
        assert not known(engine, whole.encode()), whole
        assert whole.startswith("The key is ")
        assert whole.endswith("you asked. Then more of it")
        assert "[redacted]" in whole or shape == "tool_input"  # it may be a number there
        assert redactor.names == {f"SECRET_{SECRETS.index(secret)}"}


def test_at_most_five_letters_of_a_secret_go_on(engine: Engine) -> None:
    for step in (1, 2, 3, 5):
        stream = [anthropic(SECRETS[0][at : at + step]) for at in range(0, len(SECRETS[0]), step)]
        whole = said(through(EchoRedactor(engine, "text/event-stream"), stream))
        assert whole == SECRETS[0][: (5 // step) * step] + "[redacted]"


def shared(text: bytes, other: bytes) -> bytes:
    """What both begin with."""
    return next((text[:at] for at, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), text)


def _unpacked(text: bytes) -> bytes:
    return zlib.decompressobj(47).decompress(binascii.a2b_base64(text[: len(text) // 4 * 4]))


UNDER: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "percent twice": (lambda raw: b"".join(b"%%25%02x" % code for code in raw), lambda text: percent(percent(text))),
    "escapes under percent": (
        lambda raw: b"".join(b"%%5Cu%04x" % code for code in raw),
        lambda text: unescape(percent(text)),
    ),
    "some escaped": (
        lambda raw: b"".join(b"\\u%04x" % code if at % 3 else bytes([code]) for at, code in enumerate(raw)),
        unescape,
    ),
    "base64 twice": (
        lambda raw: base64.b64encode(base64.b64encode(raw)),
        lambda text: _plain(_plain(text)),
    ),
    "base64 of hex": (lambda raw: base64.b64encode(raw.hex().encode()), lambda text: _unhexed(_plain(text))),
    "hex of base64": (lambda raw: base64.b64encode(raw).hex().encode(), lambda text: _plain(_unhexed(text))),
    "base32 of base64": (
        lambda raw: base64.b32encode(base64.b64encode(raw)),
        lambda text: _plain(base64.b32decode(text[: len(text) // 8 * 8])),
    ),
    "gzip": (lambda raw: base64.b64encode(gzip.compress(b"before it " + raw, 9)), lambda text: _unpacked(text)[10:]),
    "zlib": (lambda raw: base64.b64encode(zlib.compress(b"before it " + raw)), lambda text: _unpacked(text)[10:]),
}


def _plain(text: bytes) -> bytes:
    return binascii.a2b_base64(text[: len(text) // 4 * 4])


def _unhexed(text: bytes) -> bytes:
    return bytes.fromhex(text[: len(text) // 2 * 2].decode())


@pytest.mark.parametrize("name", UNDER)
def test_nor_do_more_of_one_that_is_encoded_twice_in_part_or_compressed(engine: Engine, name: str) -> None:
    encode, decode = UNDER[name]
    secret = SECRETS[0].encode()
    text = encode(secret).decode()
    for step in (1, 3, 6):
        stream = [anthropic(text[at : at + step]) for at in range(0, len(text), step)]
        whole = said(through(EchoRedactor(engine, "text/event-stream"), stream)).encode()
        told = decode(shared(whole, text.encode()))
        assert len(shared(told, secret)) <= 5, (step, whole)
        assert whole != text.encode()
        chunks = [text[at : at + step].encode() for at in range(0, len(text), step)]
        plain = through(EchoRedactor(engine, "text/plain"), [b"it is: ", *chunks])
        told = decode(shared(plain[7:], text.encode()))
        assert len(shared(told, secret)) <= 5, (step, plain)


def test_text_that_is_full_of_escapes_or_encoded_is_not_held_back(engine: Engine) -> None:
    """Nothing in it is a secret's, whatever its layers."""
    rng = random.Random(3)
    code = 'if x == "\\n" and y % 3: return &items[1]  # C:\\\\temp %20 &amp; 100%'
    encoded = base64.b64encode(base64.b64encode(PROSE)) + b" " + base64.b64encode(gzip.compress(rng.randbytes(300)))
    for text in (code, encoded.decode(), rng.randbytes(300).hex(), base64.b32encode(PROSE).decode()):
        redactor = EchoRedactor(engine, "text/event-stream")
        events = [anthropic(text[at : at + 4]) for at in range(0, len(text), 4)]
        passed = [redactor.feed(event) for event in events]
        assert b"".join([*passed, redactor.finish()]) == b"".join(events)
        assert sum(not piece for piece in passed) <= 2  # six letters are met by chance


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_events_without_a_secret_go_on_at_once(engine: Engine, shape: str) -> None:
    redactor = EchoRedactor(engine, "text/event-stream")
    words = (PROSE * 3).decode().split(" ")
    for word in words:
        event = SHAPES[shape](" " + word)
        assert redactor.feed(event) == event
    for event in (b": keep-alive\n\n", b'event: ping\ndata: {"type": "ping"}\n\n', b"data: [DONE]\n\n"):
        assert redactor.feed(event) == event


def test_an_event_waits_only_for_the_next_one(engine: Engine) -> None:
    redactor = EchoRedactor(engine, "text/event-stream")
    partial = anthropic("it begins with " + SECRETS[0][:9])
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    assert redactor.feed(partial) == b""
    assert redactor.feed(ping) == b""
    assert redactor.feed(anthropic(" and that is all")) == partial + ping + anthropic(" and that is all")
    assert redactor.feed(partial) == b""
    other = tool_input('{"a": 1}')
    assert redactor.feed(other) == partial + other  # that text does not go on
    assert redactor.feed(partial) == b""
    assert redactor.finish() == partial


def numbered(number: int, text: str) -> bytes:
    return json.dumps({"id": f"chunk_{number}", "delta": text}).encode()


FRAMED: dict[str, tuple[str, Callable[[int, str], bytes]]] = {
    "an id for each event": ("text/event-stream", lambda number, text: b"data: " + numbered(number, text) + b"\n\n"),
    "blanks before": ("text/event-stream", lambda _, text: b"data:   " + numbered(1, text) + b"\n\n"),
    "half a character": (
        "text/event-stream",
        lambda _, text: b"data: " + numbered(1, text)[:-1] + b', "face": "\\ud83d"}\n\n',
    ),
    "a number that is long": (
        "text/event-stream",
        lambda _, text: b"data: " + numbered(1, text)[:-1] + b', "at": ' + b"1" * 5000 + b"}\n\n",
    ),
    "sequence": ("application/json-seq", lambda _, text: b"\x1e" + numbered(1, text) + b"\n"),
    "ndjson": ("application/ndjson; charset=utf-8", lambda _, text: numbered(1, text) + b"\n"),
    "jsonlines": ("application/jsonlines", lambda _, text: numbered(1, text) + b"\n"),
}


@pytest.mark.parametrize("name", FRAMED)
def test_deltas_are_put_together_however_their_events_are_written(engine: Engine, name: str) -> None:
    kind, event = FRAMED[name]
    pieces = [SECRETS[0][at : at + 4] for at in range(0, len(SECRETS[0]), 4)]
    stream = [event(number, text) for number, text in enumerate(["so ", *pieces, " it is"])]
    out = through(EchoRedactor(engine, kind), stream)
    lines = [
        json.loads(line.strip(b"\x1e").removeprefix(b"data:"), parse_int=float) for line in out.splitlines() if line
    ]
    assert "".join(line["delta"] for line in lines) == "so " + SECRETS[0][:4] + "[redacted] it is"
    assert out.count(b"\x1e") == (len(stream) if name == "sequence" else 0)
    assert out.count(b"ud83d") == (len(stream) if name == "half a character" else 0)


def test_texts_of_two_blocks_are_two_texts(engine: Engine) -> None:
    half = len(SECRETS[0]) // 2
    redactor = EchoRedactor(engine, "text/event-stream")
    out = [redactor.feed(anthropic(SECRETS[0][at : at + 4]) + tool_input("no, ")) for at in range(0, half, 4)]
    whole = b"".join([*out, redactor.finish()])
    assert not known(engine, said(whole.replace(b"no, ", b"")).encode())


def test_fields_beside_the_data_and_plain_data(engine: Engine) -> None:
    secret = SECRETS[0].encode()
    for event in (
        b": " + secret + b"\n\n",
        b"id: " + secret + b"\ndata: {}\n\n",
        b"data: a\ndata: " + secret + b"\n\n",
    ):
        out = through(EchoRedactor(engine, "text/event-stream"), [event + b"\n\n"])
        assert b"[redacted]" in out
        assert not known(engine, out)
    stream = [plain(SECRETS[0][at : at + 8]) for at in range(0, len(SECRETS[0]), 8)]
    out = through(EchoRedactor(engine), stream)  # no header says that it is an event stream
    assert not known(engine, out.replace(b"\n\ndata: ", b""))


def test_an_event_beyond_the_bound_streams_and_is_redacted(engine: Engine) -> None:
    redactor = EchoRedactor(engine, "text/event-stream")
    filler = PROSE * (MOST_EVENT // len(PROSE))
    event = b'data: {"image": "' + filler + filler + SECRETS[0].encode() + b'"}\n\n'
    first = redactor.feed(event[: MOST_EVENT + 5000])
    assert first == event[: MOST_EVENT + 5000]
    out = first + redactor.feed(event[MOST_EVENT + 5000 :]) + redactor.feed(anthropic("fine"))
    assert out.endswith(b'*"}\n\n' + anthropic("fine"))
    assert not known(engine, out)


@SLOW
@given(
    seed=st.integers(0, 2**32),
    index=st.integers(0, len(SECRETS) - 1),
    encoding=st.sampled_from(sorted(ALL)),
    shape=st.sampled_from(sorted(SHAPES)),
    step=st.integers(1, 60),
    most=st.integers(1, 400),
)
def test_a_stream_never_gives_a_secret_away(
    seed: int, index: int, encoding: str, shape: str, step: int, most: int
) -> None:
    rng, engine = random.Random(seed), engine_for(SECRETS, CANARY)
    value = ALL[encoding](SECRETS[index].encode(), rng).decode()
    if encoding == "json":
        value = json.loads(f'"{value}"')
    text = f"before {value} after"
    stream = b"".join(SHAPES[shape](text[at : at + step]) for at in range(0, len(text), step))
    out = through(EchoRedactor(engine, "text/event-stream"), cut(stream, rng, most))
    assert not known(engine, said(out).encode())
    assert not known(engine, out)


# --- frames -------------------------------------------------------------------------------------------------------


def test_frames_of_a_websocket(engine: Engine) -> None:
    def frame(text: str) -> bytes:
        return json.dumps({"type": "response.output_text.delta", "item_id": "m", "delta": text}).encode()

    redactor = FrameRedactor(engine)
    assert redactor.message(frame("hello"), "text") == [(frame("hello"), "text")]
    sent = [redactor.message(frame(SECRETS[1][at : at + 6]), at) for at in range(0, len(SECRETS[1]), 6)]
    sent.append(redactor.finish())
    flat = [each for some in sent for each in some]
    assert "".join(json.loads(data)["delta"] for data, _ in flat) == "[redacted]"
    assert [tag for _, tag in flat] == list(range(0, len(SECRETS[1]), 6))
    assert redactor.message(b"plain " + SECRETS[2].encode())[0][0].startswith(b"plain [redacted]")
    assert redactor.names == {"SECRET_1", "SECRET_2"}


def test_lines_of_json(engine: Engine) -> None:
    redactor = EchoRedactor(engine, "application/x-ndjson")
    lines = [
        json.dumps({"response": SECRETS[5][at : at + 5], "done": False}).encode() + b"\n" for at in range(0, 40, 5)
    ]
    out = through(redactor, lines)
    assert "".join(json.loads(line)["response"] for line in out.splitlines()) == SECRETS[5][:5] + "[redacted]"
