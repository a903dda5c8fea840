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
        ("POST", "/v1beta/interactions", "call", "interactions"),
        ("GET", "/v1beta/interactions/v1_a", "free", None),
        ("POST", "/v1beta/models/veo-3:predictLongRunning", "deferred", None),
        ("POST", "/v1/batch/jobs", "deferred", None),
        ("POST", "/v1/projects/p/locations/l/batchPredictionJobs", "deferred", None),
        ("POST", "/v1/fine_tuning/jobs", "deferred", None),
        ("POST", "/v1/videos", "deferred", None),
        ("POST", "/v1/videos/generations", "deferred", None),
        ("POST", "/v1/sessions", "deferred", None),
        ("POST", "/v1/sessions/sesn_1/events", "deferred", None),
        ("GET", "/v1/sessions/sesn_1/events/stream", "free", None),
        ("POST", "/v1/threads/thread_1/runs", "deferred", None),
        ("POST", "/v1/evals/eval_1/runs", "deferred", None),
        ("POST", "/v1/realtime/client_secrets", "deferred", None),
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part", ["/videos", "/videos/", "/sessions/a", "/threads", "/evals", "/batch", "/realtime", "/"]
)
def test_a_path_that_repeats_a_page_is_looked_at_once(part: str) -> None:
    assert purpose("POST", part * (1_000_000 // len(part)) + ".") == "unknown"


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


ANSWERED = "words of a model that says what nobody here knows how to read " * 50
READ = {"total_input_tokens": 900, "total_cached_tokens": 300, "total_output_tokens": 20, "total_thought_tokens": 50}
STEPS = [
    {"event_type": "interaction.created", "interaction": {"id": "v1_a", "status": "in_progress", "model": "gemini-9"}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": ANSWERED}},
    {"event_type": "interaction.completed", "interaction": {"id": "v1_a", "status": "completed", "usage": READ}},
]


def _stream(events: list[dict[str, object]]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def test_an_interaction_is_counted_as_one_object_and_as_a_stream() -> None:
    whole = {"id": "v1_a", "object": "interaction", "status": "completed", "model": "gemini-9", "usage": READ}
    for path in ("/v1beta/interactions", "/gateway/ask"):
        one = read(path, json.dumps(whole).encode())
        many = read(path, _stream(STEPS), kind="text/event-stream")
        for usage in (one, many):
            assert (usage.input, usage.cache_read, usage.output, usage.reasoning) == (600, 300, 70, 50)
            assert (usage.model, usage.complete, usage.estimated) == ("gemini-9", True, False)
    broken = read("/v1beta/interactions", _stream(STEPS[:2]), kind="text/event-stream")
    assert broken.estimated
    assert 500 < broken.output < 1000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/event-stream", _stream([{"kind": "piece", "piece": ANSWERED}])),
        ("application/json", json.dumps({"said": ANSWERED, "usage": {"billed_units": {"output_tokens": 5}}}).encode()),
    ],
    ids=["stream", "numbers nobody knows"],
)
def test_an_answer_of_an_unknown_api_is_not_for_nothing(kind: str, body: bytes) -> None:
    usage = read("/v9/ask", body, kind=kind)
    assert (usage.billable, usage.unmetered) == (True, True)
    assert usage.output == len(body) // 4


def test_what_is_only_accepted_is_an_alarm_whatever_it_is_called() -> None:
    for path, more in (("/v1/chat/completions", {"deferred": True}), ("/v1beta/interactions", {"background": True})):
        facts = request_facts("POST", path, json.dumps(more).encode())
        meter = Meter.for_response(path, 200, {"content-type": "application/json"}, facts, now=NOW)
        assert meter is not None
        meter.feed(b'{"request_id": "1", "id": "1", "object": "interaction", "status": "in_progress"}')
        assert "deferred" in meter.finish(complete=True).flags


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
