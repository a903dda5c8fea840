"""What was said in a call, in numbers and names, whichever the API."""

import json
import random
from typing import Any

import pytest

from sidecar.meter.meter import Meter
from sidecar.meter.request import request_facts
from sidecar.meter.spoken import Brought
from tests.sidecar.meter.meter_forms import STREAMS, WHOLE, Maker
from tests.sidecar.meter.meter_kit import NOW, meter_of

TEXT = "do it"
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": (
        "/v1/messages",
        {
            "messages": [
                {"role": "user", "content": "a first question that was answered"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": "long " * 50, "is_error": True},
                        {"type": "tool_result", "tool_use_id": "u", "content": "x"},
                        {"type": "text", "text": TEXT},
                    ],
                },
            ]
        },
    ),
    "responses": (
        "/v1/responses",
        {
            "input": [
                {"type": "message", "role": "user", "content": "before"},
                {"type": "function_call", "call_id": "a", "name": "shell", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "x"},
                {"type": "function_call_output", "call_id": "b", "output": "y"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]},
                {"type": "message", "role": "developer", "content": "not a user's"},
            ]
        },
    ),
    "chat": (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "system", "content": "you are"},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "tool", "content": "x"},
                {"role": "tool", "content": "y"},
                {"role": "user", "content": TEXT},
            ]
        },
    ),
    "gemini": (
        "/v1beta/models/g:generateContent",
        {
            "contents": [
                {"role": "model", "parts": [{"functionCall": {"name": "ls"}}]},
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "ls", "response": {"error": "no"}}},
                        {"functionResponse": {"name": "ls", "response": {"output": "x"}}},
                        {"text": TEXT},
                    ],
                },
            ]
        },
    ),
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_what_a_request_brings_is_what_stands_behind_the_models_last_words(name: str) -> None:
    path, body = REQUESTS[name]
    failed = 1 if name in ("anthropic", "gemini") else 0  # the others do not say
    assert request_facts("POST", path, json.dumps(body).encode()).brought == Brought(len(TEXT), 2, failed)


def test_hostile_bodies_bring_nothing_and_raise_nothing() -> None:
    bodies: list[Any] = [
        [],
        {},
        {"messages": {}},
        {"messages": [1, None, [[]]]},
        {"input": {"a": 1}},
        {"contents": "x"},
    ]
    bodies += [{"messages": [{"role": ["user"], "content": [{"text": 7}, 8]}]}]
    for body in bodies:
        assert request_facts("POST", "/v1/messages", json.dumps(body).encode()).brought == Brought()


@pytest.mark.parametrize("maker", [*STREAMS, *WHOLE], ids=[maker.__name__ for maker in (*STREAMS, *WHOLE)])
def test_an_answer_s_text_is_counted_in_characters(maker: Maker) -> None:
    for seed in range(40):
        answer = maker(random.Random(seed), 50, 60)
        meter = meter_of(answer)
        meter.feed(answer.body)
        if (usage := meter.finish(complete=True)).speech:
            assert 5 < usage.speech < 1000
            return
    raise AssertionError("no text")


@pytest.mark.parametrize(
    ("path", "events"),
    [
        (
            "/v1/messages",
            [
                {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
                {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "Bash", "input": {}}},
                {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "Read", "input": {}}},
            ],
        ),
        (
            "/v1/responses",
            [
                {"type": "response.output_item.done", "item": {"type": "function_call", "name": "Bash"}},
                {"type": "response.output_item.done", "item": {"type": "function_call", "name": "Read"}},
                {
                    "type": "response.completed",
                    "response": {
                        "id": "r",
                        "usage": {"input_tokens": 1, "output_tokens": 2},
                        "output": [
                            {"type": "function_call", "name": "Bash"},
                            {"type": "function_call", "name": "Read"},
                        ],
                    },
                },
            ],
        ),
        (
            "/v1/chat/completions",
            [
                {"choices": [{"delta": {"tool_calls": [{"function": {"name": "Bash", "arguments": ""}}]}}]},
                {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]},
                {"choices": [{"delta": {"tool_calls": [{"function": {"name": "Read", "arguments": ""}}]}}]},
            ],
        ),
        (
            "/v1beta/models/g:streamGenerateContent",
            [
                {"candidates": [{"content": {"parts": [{"functionCall": {"name": name, "args": {}}}]}}]}
                for name in ("Bash", "Read")
            ],
        ),
    ],
    ids=["anthropic", "responses", "chat", "gemini"],
)
def test_tools_are_told_by_name_each_once(path: str, events: list[dict[str, Any]]) -> None:
    facts = request_facts("POST", path, b"{}")
    meter = Meter.for_response(path, 200, {"content-type": "text/event-stream"}, facts, now=NOW)
    assert meter is not None
    for event in events:
        meter.feed(f"data: {json.dumps(event)}\n\n".encode())
    usage = meter.finish(complete=False)
    assert (usage.tools, usage.tool_calls) == (("Bash", "Read"), 2)


@pytest.mark.parametrize("stream", [True, False])
def test_searches_that_openai_makes_are_counted_each_once(stream: bool) -> None:
    """Each has a price of its own, which no number of tokens holds; opening a page that one found has none."""
    searches = [{"type": "web_search_call", "action": {"type": kind}} for kind in ("search", "open_page", "search")]
    output = [*searches, {"type": "web_search_call", "status": "completed"}, {"type": "file_search_call"}]
    usage = {"input_tokens": 10, "output_tokens": 20}
    whole = {"id": "r", "status": "completed", "model": "gpt-5", "usage": usage, "output": output}
    events: list[dict[str, Any]] = [{"type": "response.output_item.done", "item": item} for item in output]
    events.append({"type": "response.completed", "response": whole})
    kind = "text/event-stream" if stream else "application/json"
    facts = request_facts("POST", "/v1/responses", b"{}")
    for cut in (False, True) if stream else (False,):  # what was searched is paid, also where the answer breaks off
        meter = Meter.for_response("/v1/responses", 200, {"content-type": kind}, facts, now=NOW)
        assert meter is not None
        for event in events[: -1 if cut else None] if stream else [whole]:
            meter.feed(f"data: {json.dumps(event)}\n\n".encode() if stream else json.dumps(event).encode())
        found = meter.finish(complete=not cut)
        assert (found.web_searches, found.file_searches) == (3, 1)


@pytest.mark.parametrize(("model", "searches"), [("gemini-2.5-pro", 1), ("gemini-3-pro-preview", 2)])
def test_what_gemini_searches_the_web_for_is_counted(model: str, searches: int) -> None:
    """The newer ones are charged for each different search, empty ones left out; the older for each answer."""
    path = f"/v1beta/models/{model}:streamGenerateContent"
    facts = request_facts("POST", path, b"{}")
    meter = Meter.for_response(path, 200, {"content-type": "text/event-stream"}, facts, now=NOW)
    assert meter is not None
    for queries in ([], ["a", ""], ["a", "", "b"]):
        grounding = {"groundingMetadata": {"webSearchQueries": queries}} if queries else {}
        candidate = {"content": {"parts": [{"text": "it is"}]}, "finishReason": "STOP", **grounding}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 20}
        event = {"candidates": [candidate], "modelVersion": model, "usageMetadata": usage}
        meter.feed(f"data: {json.dumps(event)}\n\n".encode())
    assert meter.finish(complete=True).web_searches == searches
