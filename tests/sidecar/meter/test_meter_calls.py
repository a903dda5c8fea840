"""How many tools an answer asks for, in each API, streamed and whole."""

import json
from typing import Any

import pytest

from app.demo.pretend import anthropic, chat, gemini, openai
from app.demo.pretend.script import Call, Say, Turn
from sidecar.meter.meter import Meter
from sidecar.meter.request import RequestFacts

TURN = Turn((Say("look"), Call("Bash", {"command": "ls"}), Call("Read", {"path": "x"})))
TOOLS: dict[str, Any] = {"model": "m", "tools": [{"type": "function", "name": "Bash"}], "input": []}
CHAT: dict[str, Any] = {"model": "m", "messages": [], "tools": [{"type": "function", "function": {"name": "Bash"}}]}


def calls(path: str, kind: str, body: bytes) -> int:
    meter = Meter.for_response(path, 200, {"content-type": kind}, RequestFacts(model="m"), now=0.0)
    assert meter is not None
    meter.feed(body)
    return meter.finish(True).tool_calls


def anthropic_of(stream: bool) -> bytes:
    talk = anthropic.read({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}]})
    return b"".join(anthropic.events(talk, TURN)) if stream else json.dumps(anthropic.message(talk, TURN)).encode()


def responses_of(stream: bool) -> bytes:
    body = {**TOOLS, "stream": stream}
    events = b"".join(map(openai.sse, openai.events(body, TURN)))
    return events if stream else json.dumps(openai.response(body, TURN)).encode()


def chat_of(stream: bool) -> bytes:
    body = {**CHAT, "stream": stream}
    return b"".join(chat.chunks(body, TURN)) if stream else json.dumps(chat.completion(body, TURN)).encode()


def gemini_of(stream: bool) -> bytes:
    talk = gemini.read({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}, "m", stream=stream)
    return b"".join(gemini.chunks(talk, TURN)) if stream else json.dumps(gemini.answer(talk, TURN)).encode()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/v1/messages", anthropic_of),
        ("/v1/responses", responses_of),
        ("/v1/chat/completions", chat_of),
        ("/v1beta/models/m:generateContent", gemini_of),
    ],
    ids=["anthropic", "responses", "chat", "gemini"],
)
def test_tool_calls_are_counted(path: str, made: Any, stream: bool):
    kind = "text/event-stream" if stream else "application/json"
    assert calls(path, kind, made(stream)) == 2
