"""Hostile bytes: nothing raises, nothing grows, nothing takes long, and large events keep their usage."""

import gzip
import json
import random
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.meter.decode import MOST_DECODED
from sidecar.meter.frames import MOST_EVENT
from sidecar.meter.request import request_facts
from tests.sidecar.meter.meter_forms import FORMS, anthropic_sse, gemini_sse, responses_json, responses_sse
from tests.sidecar.meter.meter_kit import ENCODERS, Answer, meter_of, metered, parts, split

MEGABYTE = 1024 * 1024
BOMB = 100 * MEGABYTE
SQUARE = 300_000
"""Lines, values and the like whose square is too much: each takes a call, not a byte's time."""


def large(answer: Answer, megabytes: int) -> bytes:
    """The last event of a Responses stream with an image in it: more than a meter reads whole."""
    event = json.loads(answer.pieces[-1].split(b"data: ", 1)[1])
    image = {"type": "image_generation_call", "result": "iVBOR/" * (megabytes * MEGABYTE // 6)}
    event["response"]["output"] = [image, *event["response"]["output"], {"usage": {"input_tokens": 1}}]
    return b"data: " + json.dumps(event).encode() + b"\n\n"


@pytest.mark.parametrize("encoding", ["", "gzip", "br", "zstd"])
def test_usage_of_an_event_of_megabytes_is_exact_in_bounded_memory(encoding: str) -> None:
    answer = responses_sse(random.Random(1), 20, 20)
    body = ENCODERS[encoding](b"".join(answer.pieces[:-1]) + large(answer, 12))
    meter = meter_of(answer, encoding)
    tracemalloc.start()
    for at in range(0, len(body), 16_384):
        meter.feed(body[at : at + 16_384])
    usage = meter.finish(complete=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert parts(usage) == answer.truth.parts
    assert usage.flags == ("oversized_event",)
    assert peak < 8 * MEGABYTE


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_of_a_piece_that_holds_much_no_more_is_read_at_once_than_was_said(encoding: str) -> None:
    answer = anthropic_sse(random.Random(4), 40, 40)
    pings = b'event: ping\ndata: {"type": "ping"}\n\n' * 40_000
    body = ENCODERS[encoding](answer.pieces[0] + pings + b"".join(answer.pieces[1:]))
    assert len(body) < 64 * 1024
    meter, turns = meter_of(answer, encoding), 1
    meter.feed(body, 256 * 1024)
    while meter.packed:
        meter.read_on(256 * 1024)
        turns += 1
    assert turns >= len(pings) // (512 * 1024)
    assert parts(meter.finish(complete=True)) == answer.truth.parts

    hung_up = meter_of(answer, encoding)
    hung_up.feed(body, 1)
    assert parts(hung_up.finish(complete=False)) == answer.truth.parts


def test_large_bodies_and_pieces_of_other_forms() -> None:
    answer = responses_json(random.Random(2), 20, 20)
    body = json.loads(answer.body)
    body["output"] = [{"type": "function_call", "arguments": '{"usage": {"input_tokens": 1}}' * 200_000}]
    usage = metered(replace(answer, pieces=(json.dumps(body).encode(),)))
    assert parts(usage) == answer.truth.parts
    assert usage.flags == ("oversized_event",)

    gemini = gemini_sse(random.Random(3), 20, 20)
    last = json.loads(gemini.pieces[-1].split(b"data: ", 1)[1])
    last["candidates"][0]["content"]["parts"].append({"inlineData": {"data": "A" * 3 * MEGABYTE}})
    pieces = (*gemini.pieces[:-1], b"data: " + json.dumps(last).encode() + b"\r\n\r\n")
    assert parts(metered(replace(gemini, pieces=pieces))) == gemini.truth.parts


def test_large_events_are_read_alike_however_they_are_split() -> None:
    answer = responses_sse(random.Random(4), 6, 6)
    quoted = b'say \\"usage\\": {\\"input_tokens\\": 1} and \\\\ '
    body = large(answer, 2).replace(b'"instructions": "', b'"instructions": "' + quoted * 8)
    tail = len(body) - 1500
    expected = metered(answer, "", [body])
    assert parts(expected) == answer.truth.parts
    assert metered(answer, "", [bytes([byte]) for byte in body]) == expected
    for at in [*range(0, 400, 9), *range(MOST_EVENT - 4, MOST_EVENT + 80, 3), *range(tail, len(body), 17)]:
        assert metered(answer, "", [body[:at], body[at:]]) == expected, at


def bomb_of(encoding: str) -> bytes:
    """More zeros than are decoded, compressed piece by piece."""
    if encoding == "br":
        packer = brotli.Compressor(quality=1)
        return b"".join([packer.process(bytes(MEGABYTE)) for _ in range(BOMB // MEGABYTE)]) + packer.finish()
    if encoding == "zstd":
        writer = zstandard.ZstdCompressor().compressobj()
        return b"".join([writer.compress(bytes(MEGABYTE)) for _ in range(BOMB // MEGABYTE)]) + writer.flush()
    maker = zlib.compressobj(wbits=31)
    once = b"".join([maker.compress(bytes(MEGABYTE)) for _ in range(BOMB // MEGABYTE)]) + maker.flush()
    return gzip.compress(once) if "," in encoding else once


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip"])
def test_bombs_are_put_down(encoding: str) -> None:
    bomb = bomb_of(encoding)
    answer = responses_sse(random.Random(5), 5, 5)
    meter = meter_of(answer, encoding)
    tracemalloc.start()
    for at in range(0, len(bomb), 65_536):
        meter.feed(bomb[at : at + 65_536])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    usage = meter.finish(complete=True)
    assert usage.unmetered
    assert "bad_encoding" in usage.flags
    assert peak < 24 * MEGABYTE
    assert MOST_DECODED < BOMB


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 3 * MEGABYTE,
        b'{"a":' * MEGABYTE,
        b"{" * 3 * MEGABYTE,
        b'{"a":"' + b"\\" * 3 * MEGABYTE,
        b"data: " + b"[" * 3 * MEGABYTE + b"\n\n",
        b"data:" * SQUARE,
        b"data:\n" * SQUARE,
        b"\r" * 3 * MEGABYTE,
        b"\n" * 3 * MEGABYTE,
        b" " * 3 * MEGABYTE,
        b"{}" * SQUARE,
        b'"' * 3 * MEGABYTE,
        b'data: {"type": "message_start", "message": ' + b'{"a":' * 100_000 + b"\n\n",
        b'[{"usage":' * 300_000,
    ],
    ids=range(14),
)
def test_what_is_made_to_be_slow_is_not(body: bytes) -> None:
    """A square of three megabytes does not end before the test's time does; a clock of our own would be too strict."""
    for form in (FORMS[0], responses_json):
        meter = meter_of(form(random.Random(1), 3, 3))
        for at in range(0, len(body), 1024):
            meter.feed(body[at : at + 1024])
        assert meter.finish(complete=False).estimated


forms = st.sampled_from(FORMS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
# fmt: off
NAMES = [
    "type", "usage", "message", "response", "delta", "choices", "candidates", "usageMetadata", "error",
    "input_tokens", "output_tokens", "iterations", "cache_creation", "content", "parts", "tool_calls",
    "total_tokens", "prompt_tokens_details", "finish_reason", "done", "eval_count", "status",
]
# fmt: on
shaped = st.recursive(
    json_values | st.sampled_from(["message_start", "message_delta", "response.completed", "message", "compaction"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=30,
)


def check(answer: Answer, body: bytes, seed: int, encoding: str = "", status: int = 200) -> None:
    results: list[Any] = []
    for pieces in ([body], split(body, random.Random(seed))):
        meter = meter_of(answer, encoding, status=status)
        for piece in pieces:
            meter.feed(piece)
        results.append((meter.finish(complete=seed % 2 == 0), meter.fault))
    usage = results[0][0]
    assert all(number >= 0 for number in parts(usage))
    assert results[0] == results[1]


@settings(max_examples=100, deadline=None)
@given(
    forms, st.binary(max_size=600), st.integers(0, 99), st.sampled_from(sorted(ENCODERS)), st.sampled_from([200, 429])
)
def test_any_bytes(maker: Any, body: bytes, seed: int, encoding: str, status: int) -> None:
    check(maker(random.Random(1), 2, 2), body, seed, encoding, status)


@settings(max_examples=100, deadline=None)
@given(forms, st.lists(shaped, max_size=4), st.booleans(), st.integers(0, 99), st.sampled_from([200, 429]))
def test_any_json(maker: Any, values: list[Any], events: bool, seed: int, status: int) -> None:
    texts = [json.dumps(value) for value in values]
    body = "".join(f"data: {text}\n\n" for text in texts) if events else "\n".join(texts)
    check(maker(random.Random(1), 2, 2), body.encode(), seed, status=status)


@settings(max_examples=100, deadline=None)
@given(forms, st.integers(0, 10_000), st.integers(0, 40), st.binary(max_size=12))
def test_any_damage(maker: Any, where: int, gone: int, instead: bytes) -> None:
    answer = maker(random.Random(where), 4, 20)
    at = where % len(answer.body)
    check(answer, answer.body[:at] + instead + answer.body[at + gone :], where)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | shaped.map(lambda value: json.dumps(value).encode()), st.text(max_size=40))
def test_any_request(body: bytes, path: str) -> None:
    facts = request_facts("POST", path, body)
    assert facts.input_units >= 0
    assert len(facts.model) <= 200


def test_numbers_that_are_none() -> None:
    for number in (-1, True, 1.5, "12", 1e300, float("nan"), 10**30, None, [], {}):
        usage = {"input_tokens": number, "output_tokens": number, "cache_read_input_tokens": number}
        body = {"type": "message", "id": "m", "model": "m", "stop_reason": "end_turn", "content": [], "usage": usage}
        answer = replace(FORMS[8](random.Random(1), 3, 3), pieces=(json.dumps(body).encode(),))
        found = metered(answer)
        assert found.unmetered, number
        assert max(parts(found)) < 1000
