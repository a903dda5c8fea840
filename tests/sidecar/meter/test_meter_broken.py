"""Answers that break off, and answers without usage: marked, and close to what was really made."""

import base64
import json
import random
from dataclasses import replace

import pytest

from sidecar.meter.estimate import FILE_BYTES, PICTURE, json_units
from sidecar.meter.learned import Calibration
from sidecar.meter.media import LEAST, Media
from sidecar.meter.meter import Meter
from sidecar.meter.request import request_facts
from sidecar.meter.usage import Usage
from sidecar.meter.websocket import request_of
from tests.sidecar.meter.meter_forms import (
    FORMS,
    STREAMS,
    Maker,
    anthropic_json,
    anthropic_sse,
    chat_sse,
    ollama_lines,
    responses_sse,
)
from tests.sidecar.meter.meter_kit import NOW, Answer, flushed, meter_of, metered, parts, samples, split, sse, tokens

stream_ids = [maker.__name__ for maker in STREAMS]


def broken_at(answer: Answer, piece: int, learned: Calibration | None = None) -> tuple[Usage, int]:
    """The usage when the connection breaks in the middle of a piece, and the tokens that had arrived before it."""
    body = b"".join(answer.pieces[:piece]) + answer.pieces[piece][: len(answer.pieces[piece]) // 2]
    meter = meter_of(answer, "", learned)
    for chunk in split(body, random.Random(piece)):
        meter.feed(chunk)
    assert meter.fault is None
    usage = meter.finish(complete=False)
    assert meter.fault is not None
    assert meter.fault.kind == "network"
    return usage, answer.made[piece - 1]


@pytest.mark.parametrize("maker", STREAMS, ids=stream_ids)
def test_broken_streams_are_marked_and_within_ten_percent_in_total(maker: Maker) -> None:
    rng = random.Random(11)
    ours = theirs = 0
    for _ in range(25):
        answer = maker(rng, 300, 900)
        usage, made = broken_at(answer, rng.randrange(len(answer.pieces) // 3, len(answer.pieces) - 4))
        assert usage.estimated
        assert not usage.complete
        assert not usage.unmetered
        reasoning = answer.truth.reasoning if usage.reasoning else 0  # told as it goes by some, at the end by others
        ours += usage.output
        theirs += made + reasoning
    assert abs(ours / theirs - 1) < 0.10


@pytest.mark.parametrize("maker", STREAMS, ids=stream_ids)
def test_each_broken_stream_of_a_model_never_seen_is_within_ten_percent(maker: Maker) -> None:
    off: list[float] = []
    for seed in range(40):
        rng = random.Random(seed)
        answer = maker(rng, 900, 1200)
        if answer.truth.reasoning:
            continue
        usage, made = broken_at(answer, rng.randrange(len(answer.pieces) // 2, len(answer.pieces) - 4))
        off.append(usage.output / made - 1)
    assert len(off) >= 3
    assert max(map(abs, off)) < 0.10


def test_a_model_never_seen_is_like_the_others_of_its_family() -> None:
    learned = Calibration()
    for _ in range(4):
        learned.learn("output", "claude-haiku-4-5", 1000, 1500)
    assert learned.streamed("anthropic/claude-opus-9", 1000, 0) == pytest.approx(1500, rel=0.06)
    assert learned.streamed("gpt-9", 1000, 0) == Calibration().streamed("gpt-9", 1000, 0)


def test_what_a_model_made_of_the_request_says_what_it_makes_of_its_answer() -> None:
    learned = Calibration()
    alone = learned.streamed("new", 1000, 0)
    assert alone < learned.streamed("new", 1000, 0, (5000, 7500)) < 1500
    absurd = learned.streamed("new", 1000, 0, (5000, 12_400))
    assert absurd == pytest.approx(alone * 1.5**0.5, rel=0.01)
    assert learned.streamed("new", 1000, 0, (50, 75)) == alone  # too little to say anything
    for _ in range(9):
        learned.learn("output", "new", 1000, 1000)
    assert learned.streamed("new", 1000, 0, (5000, 12_400)) == pytest.approx(1000, rel=0.02)


def test_letters_that_a_client_escapes_are_letters() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "当输入为空时，程序不再崩溃。" * 50}]}
    raw, escaped = (json.dumps(body, ensure_ascii=ascii).encode() for ascii in (False, True))
    by = [request_facts("POST", "/v1/messages", one).input_units for one in (raw, escaped)]
    assert by[1] == pytest.approx(by[0], rel=0.05)


@pytest.mark.parametrize("name", sorted(samples()))
def test_each_kind_of_text_is_estimated_closely(name: str) -> None:
    run = samples()[name]
    pieces = tuple(
        sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": token.text}}) for token in run
    )
    start = sse(
        {"type": "message_start", "message": {"model": "gpt", "usage": {"input_tokens": 3, "output_tokens": 1}}}
    )
    answer = replace(anthropic_sse(random.Random(0), 2, 2), pieces=(start, *pieces))
    usage = metered(answer, complete=False)
    assert usage.estimated
    assert usage.input == 3
    assert usage.output == pytest.approx(sum(token.count for token in run), rel=0.12)


def test_estimates_learn_from_whole_answers() -> None:
    """A model whose tokenizer makes half as many again: after some whole answers a broken one is estimated closely."""
    rng, learned = random.Random(5), Calibration()

    def answer() -> Answer:
        made = anthropic_sse(rng, 400, 700)
        more = round(made.truth.output * 1.5)
        pieces = [
            piece.replace(f'"output_tokens": {made.truth.output}'.encode(), f'"output_tokens": {more}'.encode())
            for piece in made.pieces
        ]
        return replace(made, pieces=tuple(pieces), made=tuple(round(so_far * 1.5) for so_far in made.made))

    def off() -> float:
        one = replace(answer())
        usage, made = broken_at(one, len(one.pieces) - 6, learned)
        return usage.output / made - 1

    assert off() < -0.2
    for _ in range(40):
        one = answer()
        meter = meter_of(one, "", learned)
        meter.feed(one.body)
        assert not meter.finish(complete=True).estimated
    assert abs(off()) < 0.08


def test_a_request_is_estimated_by_the_alias_that_it_names() -> None:
    rng, learned = random.Random(3), Calibration()
    answer = anthropic_sse(rng, 400, 500)
    body = json.dumps({"model": "alias", "stream": True, "messages": [{"role": "user", "content": "word " * 2000}]})
    facts = request_facts("POST", answer.path, body.encode())
    before = learned.tokens("input", "alias", facts.input_units)
    for _ in range(3):
        start = {
            "type": "message_start",
            "message": {"model": "dated", "usage": {"input_tokens": 4200, "output_tokens": 1}},
        }
        meter = Meter.for_response(answer.path, 200, {}, facts, now=NOW, learned=learned)
        assert meter is not None
        meter.feed(b"".join([sse(start), *answer.pieces[1:]]))
        assert meter.finish(complete=True).model == "dated"
    assert abs(learned.tokens("input", "alias", facts.input_units) - 4200) < abs(before - 4200)
    assert learned.tokens("input", "alias", facts.input_units) == learned.tokens("input", "dated", facts.input_units)


def test_what_a_broken_answer_read_is_estimated_from_the_request() -> None:
    rng = random.Random(6)
    for size in (400, 4_000, 60_000):
        run = tokens(rng, size, size)
        text = "".join(token.text for token in run)
        image = {"type": "input_image", "image_url": "data:image/png;base64," + "iVBORw0KGgo" * 20_000}
        request = {"model": "m", "stream": True, "input": [{"role": "user", "content": text}, image]}
        answer = replace(responses_sse(rng, 40, 40), request=request)
        usage, _ = broken_at(answer, len(answer.pieces) - 3)
        assert usage.input == pytest.approx(PICTURE + sum(token.count for token in run), rel=0.25), size


WORDS = "alpha_beta_gamma_delta_" * 20_000
PICTURE_URL = "data:image/png;base64," + "iVBORw0KGgo" * 20_000
LEAST_OF_WORDS = 60_000
CLEARINGS = "".join(" " * 2048 + WORDS[: 460_000 // 16 - 2048] for _ in range(16))
"""Cheap text where a large one was looked at, at places that anybody could tell."""


@pytest.mark.parametrize(
    "body",
    [
        {"input": "base64 " + WORDS},
        {"input": CLEARINGS},
        {"input": [{"content": [{"type": "input_text", "text": "data:image/png;base64," + WORDS}]}]},
        {"messages": [{"content": [{"type": "tool_use", "input": {"type": "base64", "data": WORDS}}]}]},
        {"contents": [{"parts": [{"functionCall": {"args": {"inlineData": {"data": WORDS}}}}]}]},
        {"input": "a", "tools": [{"parameters": {"input": [{"type": "input_image", "image_url": WORDS}]}}]},
        {"input": [PICTURE_URL + "base64 " + WORDS, {"type": "input_image", "image_url": PICTURE_URL}]},
    ],
    ids=["marked", "clearings", "like a picture", "a tool's", "an argument", "a schema", "a picture's letters as text"],
)
def test_no_text_of_a_request_is_taken_for_a_picture(body: dict[str, object]) -> None:
    facts = request_facts("POST", "/v1/responses", json.dumps(body).encode())
    assert facts.input_units > LEAST_OF_WORDS
    message = request_of(json.dumps({"type": "response.create", "model": "m", **body}))
    assert message is not None
    assert message.input_units > LEAST_OF_WORDS


DATA = "iVBORw0KGgo" * 20_000
SOURCE = {"type": "base64", "media_type": "image/png", "data": DATA}


@pytest.mark.parametrize(
    "body",
    [
        {"input": [{"type": "input_image", "image_url": PICTURE_URL}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE_URL}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": PICTURE_URL}]}]},
        {
            "input": [
                {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": PICTURE_URL}}
            ]
        },
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": PICTURE_URL}}]}]},
        {"messages": [{"content": [{"type": "image", "source": SOURCE}]}]},
        {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "image", "source": SOURCE}]}]}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": DATA}}]}]},
        {"request": {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": DATA}}]}]}},
    ],
)
def test_a_picture_is_no_text_wherever_an_api_takes_one(body: dict[str, object]) -> None:
    facts = request_facts("POST", "/v1/responses", json.dumps(body).encode())
    assert facts.input_units == pytest.approx(PICTURE, rel=0.1)


def test_pictures_that_are_written_in_another_way_are_not_looked_for_without_end() -> None:
    """Each that is not there costs a look through the rest of the body: 8,000 of them in 2 MB took twenty seconds."""
    pictures = iter([Media("A" * LEAST, picture=True)] * 1000)
    json_units(b"B" * 10_000, pictures)
    assert len(list(pictures)) > 900


def test_a_file_of_text_counts_as_the_text_that_it_is() -> None:
    """OpenAI and Google give such to the model as text."""
    told = request_facts("POST", "/v1/responses", json.dumps({"input": WORDS}).encode()).input_units
    data = base64.b64encode(WORDS.encode()).decode()
    odd = data.replace("/", "_").replace("+", "-").rstrip("=")
    for part in (
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64," + data},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:image/png;base64," + data},
        {"type": "input_file", "filename": "a.txt", "file_data": data},
        {"inlineData": {"mimeType": "text/plain", "data": data}},
        {"inlineData": {"mimeType": "application/pdf", "data": odd}},
    ):
        body = json.dumps({"input": [{"content": [part]}]}).encode()
        assert request_facts("POST", "/v1/responses", body).input_units == pytest.approx(told, rel=0.1), part.keys()


@pytest.mark.parametrize("before", ["AA==", "data:x"])
def test_what_is_no_base64_is_no_file(before: str) -> None:
    body = json.dumps({"input": [{"type": "input_file", "file_data": before + WORDS}]}).encode()
    assert request_facts("POST", "/v1/responses", body).input_units > LEAST_OF_WORDS


def test_a_document_counts_by_its_size() -> None:
    for part in (
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64," + DATA},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64," + DATA}},
        {"type": "document", "source": {**SOURCE, "media_type": "application/pdf"}},
    ):
        facts = request_facts("POST", "/v1/responses", json.dumps({"messages": [{"content": [part]}]}).encode())
        assert facts.input_units == pytest.approx(len(DATA) / FILE_BYTES, rel=0.05)


def test_a_json_body_cut_anywhere_counts_the_text_that_came() -> None:
    answer = anthropic_json(random.Random(8), 500, 500)
    whole = answer.body
    outputs = [metered(answer, "", [whole[:cut]], complete=False) for cut in range(0, len(whole), 53)]
    assert all(usage.estimated for usage in outputs[1:])
    counts = [usage.output for usage in outputs]
    assert counts == sorted(counts)
    text_alone = metered(answer, "", [whole[: whole.index(b'"tool_use"')]], complete=False)
    assert text_alone.output == pytest.approx(answer.truth.output, rel=0.10)


def test_a_compressed_stream_that_breaks_is_read_as_far_as_it_came() -> None:
    answer = chat_sse(random.Random(9), 600, 600)
    cut = len(answer.pieces) // 2
    for encoding in ("gzip", "deflate", "zstd", "br"):
        sent = flushed(answer, encoding)
        assert parts(metered(answer, encoding, sent)) == answer.truth.parts
        usage = metered(answer, encoding, [*sent[:cut], sent[cut][:3]], complete=False)
        assert usage.estimated
        assert usage.output == pytest.approx(answer.made[cut - 1], rel=0.10), encoding


def test_chat_streams_without_include_usage_are_estimates_and_no_alarm() -> None:
    answer = chat_sse(random.Random(10), 500, 500)
    pieces = tuple(piece for piece in answer.pieces if b'"usage": {' not in piece)
    silent = replace(answer, pieces=pieces, request={"model": "m", "stream": True})
    usage = metered(silent)
    assert (usage.estimated, usage.unmetered, usage.complete) == (True, False, True)
    assert usage.output == pytest.approx(answer.made[-1], rel=0.10)


SAID = "all that the model was asked for stands in a member that is none of the usual ones " * 50
ELSEWHERE: dict[str, dict[str, object]] = {
    "custom tool": {"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "say", "input": SAID}}]},
    "function": {"function_call": {"name": "say", "arguments": SAID}},
    "parts": {"content": [{"type": "text", "text": SAID}]},
    "thoughts": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": SAID}]}]},
    "details": {"reasoning_details": [{"type": "reasoning.text", "text": SAID}]},
    "twice": {"reasoning": SAID, "reasoning_details": [{"type": "reasoning.text", "text": SAID}]},
    "speech": {"audio": {"id": "a", "transcript": SAID}},
}


@pytest.mark.parametrize("delta", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_chat_stream_without_usage_is_not_for_nothing_wherever_it_says_something(delta: dict[str, object]) -> None:
    """The agent chooses to be answered so, and not to ask for the usage, or to leave before it comes."""
    events = [{"choices": [{"index": 0, "delta": delta}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    request = {"model": "m", "stream": True}
    answer = replace(chat_sse(random.Random(10), 5, 5), pieces=tuple(map(sse, events)), request=request)
    for complete in (True, False):
        assert 700 < metered(answer, complete=complete).output < 1000


@pytest.mark.parametrize("maker", STREAMS, ids=stream_ids)
def test_an_ended_answer_without_usage_is_unmetered_never_zero(maker: Maker) -> None:
    answer = maker(random.Random(12), 300, 300)
    kept = tuple(
        piece.replace(b"usage", b"xsage").replace(b"Usage", b"Xsage").replace(b"eval_count", b"eval_xount")
        for piece in answer.pieces
    )
    usage = metered(replace(answer, pieces=kept))
    assert usage.estimated
    assert usage.unmetered
    assert usage.output > 200


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", b"<html>a login page</html>"),
        ("", b""),
        ("", b'{"hello": "world"}'),
        ("dcb", b"compressed with a dictionary that nobody gave us"),
        ("gzip", b"this is not gzip"),
        ("zstd", b"nor zstd"),
        ("br", b"\xff\xff\xffnor brotli"),
    ],
)
def test_what_cannot_be_read_is_unmetered(encoding: str, body: bytes) -> None:
    usage = metered(anthropic_json(random.Random(1), 5, 5), encoding, [body])
    assert usage.unmetered
    assert usage.billable


def test_an_answer_whose_usage_came_before_the_break_is_exact() -> None:
    """Agents hang up as soon as they have read the last event."""
    answer = anthropic_sse(random.Random(13), 100, 100)
    usage = metered(answer, "", [b"".join(answer.pieces[:-1])], complete=False)
    assert parts(usage) == answer.truth.parts
    assert not usage.estimated
    halfway = metered(answer, "", [answer.body[:-15]], complete=False)
    assert parts(halfway) == answer.truth.parts
    assert not halfway.estimated
    unended = answer.body.rstrip(b"\n")
    assert parts(metered(answer, "", [unended])) == answer.truth.parts


def test_a_broken_answer_that_went_on_with_another_has_read_that_as_well() -> None:
    learned = Calibration()
    before = responses_sse(random.Random(15), 300, 300)
    first = meter_of(before, learned=learned)
    first.feed(before.body)
    told = first.finish(complete=True)
    broken = responses_sse(random.Random(16), 300, 300)
    asked = {"model": told.model, "stream": True, "previous_response_id": told.response_id, "input": "One word more."}
    second = meter_of(replace(broken, request=asked), learned=learned)
    second.feed(b"".join(broken.pieces[:50]))
    usage = second.finish(complete=False)
    assert usage.estimated
    assert usage.context == pytest.approx(told.total, abs=100)


def test_compaction_and_advice_inside_an_answer_are_counted() -> None:
    usage = {
        "input_tokens": 23_000,
        "output_tokens": 1_000,
        "iterations": [
            {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
            {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
            {"type": "advisor_message", "model": "big-1", "input_tokens": 50, "output_tokens": 60},
        ],
    }
    body = {"type": "message", "id": "m", "model": "small-1", "stop_reason": "end_turn", "content": [], "usage": usage}
    answer = replace(anthropic_json(random.Random(1), 5, 5), pieces=(json.dumps(body).encode(),))
    found = metered(answer)
    assert (found.input, found.output) == (203_000, 4_500)
    assert [(one.model, one.input, one.output) for one in found.also] == [("big-1", 50, 60)]


def test_a_stream_that_ends_politely_but_early_is_broken_all_the_same() -> None:
    """A server that fails closes its chunks in order: HTTP calls that complete."""
    answer = anthropic_sse(random.Random(14), 300, 300)
    usage = metered(answer, "", [b"".join(answer.pieces[:-3])], complete=True)
    assert (usage.estimated, usage.complete, usage.unmetered) == (True, False, False)
    assert usage.output == pytest.approx(answer.truth.output, rel=0.10)
    assert usage.input == answer.truth.input


def test_text_after_the_last_usage_is_added() -> None:
    """A server that tells its usage as it goes, and leaves out the last one."""
    answer = chat_sse(random.Random(15), 400, 400)
    half = len(answer.pieces) // 2
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": answer.made[half - 1],
        "total_tokens": 10 + answer.made[half - 1],
    }
    told = sse({"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": usage})
    rest = [piece for piece in answer.pieces[half:] if b'"usage": {' not in piece]
    found = metered(answer, "", [*answer.pieces[:half], told, *rest])
    assert (found.estimated, found.input) == (True, 10)
    assert found.output == pytest.approx(answer.made[-1], rel=0.10)


@pytest.mark.parametrize("maker", FORMS, ids=[maker.__name__ for maker in FORMS])
def test_an_answer_that_the_model_did_not_end_is_a_fault_though_its_framing_is_whole(maker: Maker) -> None:
    answer = maker(random.Random(5), 300, 300)
    whole = meter_of(answer)
    whole.feed(answer.body)
    whole.finish(complete=True)
    assert (whole.unfinished, whole.fault) == (False, None)
    if len(answer.pieces) < 3 or not answer.request.get("stream", maker is not ollama_lines):
        return
    cut = meter_of(answer)
    for piece in answer.pieces[: len(answer.pieces) // 2]:
        cut.feed(piece)
    usage = cut.finish(complete=True)
    assert (cut.unfinished, usage.billable) == (True, True)
    assert cut.fault is not None
    assert cut.fault.kind == "network"


@pytest.mark.parametrize(
    ("path", "kind", "body", "unfinished"),
    [
        ("/v1/messages", "application/json", b"", True),
        ("/v1/messages", "text/event-stream", b"", True),
        ("/v1/messages", "text/html", b"<html>Sign in to this network</html>", True),
        ("/v1/messages", "application/json", b"{", True),
        ("/v1/audio/speech", "audio/mpeg", b"ID3", False),
        ("/v1/audio/transcriptions", "text/plain", b"what was said", False),
        ("/v1/embeddings", "application/json", b'{"data": []}', False),
        ("/v1/models/g:generateContent", "application/x-protobuf", b"\x0a\x00", False),
    ],
)
def test_what_is_no_answer_of_a_model_at_all(path: str, kind: str, body: bytes, unfinished: bool) -> None:
    answer = replace(anthropic_json(random.Random(1), 5, 5), path=path, content_type=kind)
    meter = meter_of(answer)
    meter.feed(body)
    meter.finish(complete=True)
    assert (meter.unfinished, meter.fault is not None) == (unfinished, unfinished)
