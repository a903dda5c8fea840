"""The question that a provider is asked about a request, and what its answer says."""

from typing import Any

import orjson
import pytest

from sidecar.meter.counting import answered, question

BODY = {
    "model": "m", "messages": [1], "input": "x", "max_tokens": 9, "stream": True, "metadata": {}, "system": "s",
    "instructions": "i", "store": False, "contents": [2],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "target", "asked"),
    [
        ("/v1/messages", "/v1/messages/count_tokens", {"model": "m", "messages": [1], "system": "s"}),
        ("/v1/messages?beta=true", "/v1/messages/count_tokens", {"model": "m", "messages": [1], "system": "s"}),
        ("/v1/responses", "/v1/responses/input_tokens", {"model": "m", "input": "x", "instructions": "i"}),
        (
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "/v1beta/models/gemini-2.5-pro:countTokens",
            {"generateContentRequest": {**BODY, "model": "models/gemini-2.5-pro"}},
        ),
    ],
)
def test_each_api_has_its_question(path: str, target: str, asked: dict[str, Any]) -> None:
    made = question(path, orjson.dumps(BODY))
    assert made is not None
    assert (made.target, orjson.loads(made.body)) == (target, asked)


def test_only_of_a_thread_the_answer_leaves_out_what_was_before() -> None:
    """`count_tokens` has no such member; OpenAI's endpoint takes the earlier response's id."""
    going_on = BODY | {"thread": {"type": "continue", "previous_message_id": "msg_1"}, "previous_response_id": "resp_1"}
    messages = question("/v1/messages", orjson.dumps(going_on))
    responses = question("/v1/responses", orjson.dumps(going_on))
    assert messages is not None
    assert responses is not None
    assert (messages.whole, responses.whole) == (False, True)
    assert "thread" not in orjson.loads(messages.body)
    assert orjson.loads(responses.body)["previous_response_id"] == "resp_1"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/backend-api/codex/responses", "/v1/messages/batches"])
def test_where_there_is_no_endpoint_nothing_is_asked(path: str) -> None:
    assert question(path, orjson.dumps(BODY)) is None


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"null"])
def test_what_is_no_request_is_not_asked_about(body: bytes) -> None:
    assert question("/v1/messages", body) is None


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b'{"input_tokens": 14}', 14),
        (b'{"totalTokens": 31, "cachedContentTokenCount": 3}', 31),
        (b'{"object": "response.input_tokens", "input_tokens": 0}', 0),
        (b'{"input_tokens": -1}', None),
        (b'{"input_tokens": true}', None),
        (b'{"error": {}}', None),
        (b"<html>", None),
    ],
)
def test_an_answer_is_a_number_or_nothing(body: bytes, number: int | None) -> None:
    assert answered(body) == number
