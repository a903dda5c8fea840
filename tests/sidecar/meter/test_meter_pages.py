"""Which pages of a metered host are metered, and as what."""

import json
import random

import pytest

from sidecar.meter.dialects.choose import by_path, purpose
from sidecar.meter.meter import Meter
from sidecar.meter.request import RequestFacts, request_facts
from sidecar.meter.usage import Usage
from tests.sidecar.meter.meter_forms import FORMS, responses_json
from tests.sidecar.meter.meter_kit import NOW, Answer, parts


@pytest.mark.parametrize(
    ("method", "path", "meant", "dialect"),
    [
        ("POST", "/v1/messages?beta=true", "call", "anthropic"),
        ("POST", "/v1/messages/count_tokens", "free", None),
        ("POST", "/v1/messages/batches", "deferred", None),
        ("POST", "/anthropic/v1/messages", "call", "anthropic"),
        ("POST", "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict", "call", "anthropic"),
        ("POST", "/v1/responses", "call", "responses"),
        ("POST", "/backend-api/codex/responses", "call", "responses"),
        ("POST", "/v1/responses/input_tokens", "free", None),
        ("GET", "/v1/responses/resp_1", "call", "responses"),
        ("DELETE", "/v1/responses/resp_1", "free", None),
        ("POST", "/v1/chat/completions", "call", "chat"),
        ("GET", "/v1/chat/completions", "free", None),
        ("POST", "/openai/deployments/d/chat/completions?api-version=1", "call", "chat"),
        ("POST", "/v1/completions", "call", "chat"),
        ("POST", "/api/v1/chat/completions", "call", "chat"),
        ("POST", "/v1/embeddings", "call", "chat"),
        ("POST", "/v1/images/generations", "call", "chat"),
        ("POST", "/v1/batches", "deferred", None),
        ("POST", "/v1beta/models/gemini-x:generateContent", "call", "gemini"),
        ("POST", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "call", "gemini"),
        ("POST", "/v1beta/models/gemini-x:countTokens", "free", None),
        ("POST", "/v1beta/models/gemini-x:embedContent", "call", "gemini"),
        ("POST", "/v1beta/models/gemini-x:batchGenerateContent", "deferred", None),
        ("GET", "/v1beta/models/gemini-x", "free", None),
        ("POST", "/v1internal:generateContent", "call", "gemini"),
        ("POST", "/api/chat", "call", "ollama"),
        ("POST", "/api/generate", "call", "ollama"),
        ("POST", "/api/event_logging/batch", "unknown", None),
        ("GET", "/v1/models", "free", None),
        ("POST", "/models/chat/completions", "call", "chat"),
        ("POST", "/models/org/name/v1/chat/completions", "call", "chat"),
        ("POST", "/files/v1/messages", "call", "anthropic"),
        ("POST", "/models/org/name", "unknown", None),
        ("POST", "/v1/files", "free", None),
        ("PATCH", "/v1/messages", "call", "anthropic"),
        ("QUERY", "/v1/responses", "call", "responses"),
        ("POST", "/v1/messages/", "call", "anthropic"),
        ("POST", "/V1/MESSAGES", "unknown", None),
        ("POST", "/v1/chat/completions?/v1/models", "call", "chat"),
    ],
)
def test_purposes(method: str, path: str, meant: str, dialect: str | None) -> None:
    assert purpose(method, path) == meant
    if meant == "call":
        found = by_path(path)
        assert found is not None
        assert found.name == dialect


def read(path: str, body: bytes, *, method: str = "POST", status: int = 200, kind: str = "application/json") -> Usage:
    facts = request_facts(method, path, b"{}")
    meter = Meter.for_response(path, status, {"content-type": kind}, facts, now=NOW)
    assert meter is not None
    meter.feed(body)
    usage = meter.finish(complete=True)
    assert meter.finish(complete=False) == usage
    return usage


@pytest.mark.parametrize("maker", FORMS, ids=[maker.__name__ for maker in FORMS])
def test_an_answer_at_an_address_nobody_knows_is_read_by_its_shape(maker: object) -> None:
    answer: Answer = maker(random.Random(1), 9, 9)  # type: ignore[operator]
    usage = read("/gateway/ask", answer.body, kind=answer.content_type)
    assert parts(usage) == answer.truth.parts or answer.form == "code assist sse"
    assert usage.billable


def test_telemetry_is_no_answer_and_no_alarm() -> None:
    usage = read("/api/event_logging/batch", b'{"accepted_count": 3, "rejected_count": 0}')
    assert (usage.billable, usage.unmetered) == (False, False)


def test_streams_that_cannot_be_read_raise_an_alarm_wherever_they_are() -> None:
    usage = read("/model/m/invoke-with-response-stream", b"\0\0\1\2", kind="application/vnd.amazon.eventstream")
    assert (usage.billable, usage.unmetered) == (True, True)


def test_batches_are_an_alarm() -> None:
    usage = read("/v1/messages/batches", b'{"id": "b", "type": "message_batch", "processing_status": "in_progress"}')
    assert (usage.unmetered, usage.flags) == (True, ("deferred",))


def test_a_response_that_is_asked_for_again_is_counted_once() -> None:
    answer = responses_json(random.Random(2), 9, 9)
    assert read("/v1/responses/resp_1", answer.body, method="GET").billable is False
    background = json.dumps({**json.loads(answer.body), "background": True}).encode()
    usage = read("/v1/responses/resp_1", background, method="GET")
    assert parts(usage) == answer.truth.parts
    assert usage.response_id == "resp_1"


def test_a_background_response_that_was_only_accepted_is_an_alarm_until_it_is_asked_for() -> None:
    accepted = {"id": "resp_1", "object": "response", "status": "queued", "background": True, "usage": None}
    usage = read("/v1/responses", json.dumps(accepted).encode())
    assert (usage.billable, usage.unmetered, usage.flags, usage.response_id) == (True, True, ("deferred",), "resp_1")


def test_pages_that_cost_nothing_have_no_meter_but_their_windows() -> None:
    facts = RequestFacts(method="GET")
    assert Meter.for_response("/v1/models", 200, {}, facts, now=NOW) is None
    headers = {"X-RateLimit-Limit-Requests": "10", "X-RateLimit-Remaining-Requests": "4"}
    meter = Meter.for_response("/v1/models", 200, headers, facts, now=NOW)
    assert meter is not None
    assert meter.windows[0].used_fraction == pytest.approx(0.6)
    assert meter.finish(complete=True).billable is False


def test_request_facts() -> None:
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    path = "/v1/chat/completions"
    assert request_facts("post", path, json.dumps(body).encode()).usage_asked
    del body["stream_options"]
    facts = request_facts("POST", path, json.dumps(body).encode())
    assert (facts.method, facts.model, facts.stream, facts.usage_asked) == ("POST", "m", True, False)
    gemini = request_facts("POST", "/v1beta/models/gemini-9:streamGenerateContent?alt=sse", b"")
    assert (gemini.model, gemini.stream) == ("gemini-9", True)
    large = {"input": ["word " * 4_000_000], "model": "last", "previous_response_id": "r", "background": True}
    facts = request_facts("POST", "/v1/responses", json.dumps(large).encode())
    assert (facts.model, facts.previous, facts.background) == ("last", "r", True)
    assert facts.input_units == pytest.approx(4_000_000, rel=0.15)
    digits = b'{"model": "m", "background": true, "previous_response_id": "r", "seed": ' + b"1" * 5000 + b"}"
    facts = request_facts("POST", "/v1/responses", digits)
    assert (facts.model, facts.previous, facts.background) == ("m", "r", True)


@pytest.mark.parametrize("words", [1, 4_000_000], ids=["parsed", "sieved"])
def test_a_thread_of_anthropics_continues_once_it_was_made(words: int) -> None:
    """The body of a request that goes on holds a part of what the model reads: it teaches nothing about the rest."""
    for thread, previous in (
        ({"type": "create"}, None),
        ({"type": "continue", "previous_message_id": "msg_1"}, "msg_1"),
        ({"type": "continue"}, ""),
        ("continue", None),
    ):
        body = {"model": "m", "messages": [{"role": "user", "content": "word " * words}], "thread": thread}
        assert request_facts("POST", "/v1/messages", json.dumps(body).encode()).previous == previous
