"""Errors of LLM APIs: class, waiting time, and the sentence the user sees."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.meter.faults import classify, wait_text
from tests.sidecar.meter.meter_forms import anthropic_sse, chat_sse, gemini_json, responses_sse
from tests.sidecar.meter.meter_kit import NOW, Answer, meter_of, sse

MANY_TOKENS = {
    "error": {
        "code": 400,
        "status": "INVALID_ARGUMENT",
        "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    }
}
PER_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}


def google(code: int, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": "no", "details": list(details)}}


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "wait", "again"),
    [
        (429, {"retry-after": "12"}, {"error": {"type": "rate_limit_error"}}, "rate_limit", 12, True),
        (429, {"retry-after-ms": "250"}, {}, "rate_limit", 0.25, True),
        (429, {"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT"}, {}, "rate_limit", 60, True),
        (429, {}, {"error": {"code": "insufficient_quota", "message": "You exceeded"}}, "quota", None, False),
        (429, {}, {"error": {"type": "usage_limit_reached", "resets_in_seconds": 7200}}, "quota", 7200, False),
        (429, {}, {"error": {"message": "Rate limit reached. Please try again in 1.5s."}}, "rate_limit", 1.5, True),
        (429, {"anthropic-ratelimit-unified-status": "rejected"}, {}, "quota", None, False),
        (429, {}, google(429, "RESOURCE_EXHAUSTED", {"retryDelay": "37s"}), "rate_limit", 37, True),
        (429, {}, google(429, "RESOURCE_EXHAUSTED", PER_DAY), "quota", None, False),
        (401, {}, {"error": {"type": "authentication_error", "message": "invalid x-api-key"}}, "auth", None, False),
        (403, {}, {"error": {"type": "permission_error"}}, "auth", None, False),
        (400, {}, google(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), "auth", None, False),
        (400, {}, {"error": {"message": "Your credit balance is too low to access the API"}}, "quota", None, False),
        (402, {}, {"error": {"message": "pay", "code": 402}}, "quota", None, False),
        (529, {}, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded", None, True),
        (503, {"retry-after": "5"}, google(503, "UNAVAILABLE"), "overloaded", 5, True),
        (502, {}, {}, "network", None, True),
        (504, {}, {}, "network", None, True),
        (524, {}, {}, "network", None, True),
        (500, {}, {"error": {"type": "api_error"}}, "unknown", None, True),
        (400, {}, {"error": {"type": "invalid_request_error", "message": "too long"}}, "unknown", None, False),
        (400, {}, {"error": {"message": "prompt is too long: 210000 tokens > 200000"}}, "too_long", None, False),
        (400, {}, {"error": {"code": "context_length_exceeded", "message": "Your input"}}, "too_long", None, False),
        (None, {}, {"response": {"error": {"code": "context_length_exceeded"}}}, "too_long", None, False),
        (400, {}, MANY_TOKENS, "too_long", None, False),
        (400, {}, {"error": {"message": "This endpoint's maximum context length is 8192"}}, "too_long", None, False),
        (413, {}, {"error": {"type": "request_too_large"}}, "too_long", None, False),
        (404, {}, {"error": "model not found"}, "unknown", None, False),
        (None, {}, {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded", None, True),
        (None, {}, {"type": "error", "error": {"type": "rate_limit_error"}}, "rate_limit", None, True),
        (None, {}, {"type": "error", "status": 429, "error": {"type": "usage_limit_reached"}}, "quota", None, False),
        (None, {}, {"error": {"code": 502, "message": "Provider disconnected"}}, "network", None, True),
        (None, {}, {"detail": "something"}, "unknown", None, False),
    ],
)  # fmt: skip
def test_classes(
    status: int | None, headers: dict[str, str], body: dict[str, Any], kind: str, wait: float | None, again: bool
) -> None:
    fault = classify(status, headers, body, now=NOW)
    assert (fault.kind, fault.retryable) == (kind, again)
    assert fault.retry_after == (None if wait is None else pytest.approx(wait))
    assert fault.message


def test_the_users_sentence_says_what_to_do() -> None:
    fault = classify(429, {"retry-after": "7200"}, {"error": {"message": "slow\x1b[31m down"}}, now=NOW)
    assert fault.message == (
        "The provider limits requests for now; an agent tries again by itself for a while. "
        "It asks to wait 2 h. (slow[31m down)"
    )
    assert [wait_text(seconds) for seconds in (0.2, 90, 300, 7200, 400_000)] == ["1 s", "90 s", "5 min", "2 h", "5 d"]


def faulty(answer: Answer, body: bytes, status: int = 200, **headers: str) -> tuple[Any, Any]:
    meter = meter_of(replace(answer, pieces=(body,)), status=status)
    for at in range(len(body)):
        meter.feed(body[at : at + 1])
    usage = meter.finish(complete=True)
    return usage, meter.fault


def test_refusals_cost_nothing_and_are_no_alarm() -> None:
    body = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}).encode()
    usage, fault = faulty(anthropic_sse(random.Random(1), 3, 3), body, 429)
    assert (usage.billable, usage.unmetered, usage.total) == (False, False, 0)
    assert fault.kind == "rate_limit"
    usage, fault = faulty(
        gemini_json(random.Random(1), 3, 3), b"[" + json.dumps(google(503, "UNAVAILABLE")).encode() + b"]", 503
    )
    assert fault.kind == "overloaded"
    usage, fault = faulty(gemini_json(random.Random(1), 3, 3), b"<html>Bad gateway</html>", 502)
    assert (fault.kind, usage.billable) == ("network", False)


def test_errors_inside_a_stream() -> None:
    rng = random.Random(2)
    answer = anthropic_sse(rng, 100, 100)
    error = sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error")
    usage, fault = faulty(answer, b"".join(answer.pieces[:-4]) + error)
    assert fault.kind == "overloaded"
    assert usage.estimated
    assert usage.input == answer.truth.input
    usage, fault = faulty(answer, error)
    assert (usage.billable, fault.kind) == (False, "overloaded")

    error_object = {"code": "rate_limit_exceeded", "message": "try again in 3s"}
    response = {"id": "r", "status": "failed", "usage": None, "error": error_object}
    failed = {"type": "response.failed", "response": response}
    responses = responses_sse(rng, 50, 50)
    usage, fault = faulty(responses, b"".join(responses.pieces[:-1]) + sse(failed))
    assert (fault.kind, fault.retry_after) == ("rate_limit", 3)
    assert usage.estimated

    chat = chat_sse(rng, 50, 50)
    broke = sse({"id": "x", "choices": [], "error": {"code": 502, "message": "Provider disconnected"}})
    usage, fault = faulty(chat, b"".join(chat.pieces[:-3]) + broke)
    assert (fault.kind, usage.estimated) == ("network", True)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "status", "details", "resets_at", "retryDelay"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
waits = st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=30))


@given(
    st.none() | st.integers(100, 599), waits, st.dictionaries(st.sampled_from(["error", "body", "status"]), anything)
)
def test_any_error(status: int | None, headers: dict[str, str], body: dict[str, Any]) -> None:
    fault = classify(status, headers, body, now=NOW)
    assert fault.retry_after is None or 0 <= fault.retry_after <= 31 * 86_400
    assert len(fault.message) < 600
