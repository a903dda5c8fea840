"""OpenAI's Chat Completions on the wire, as many other vendors speak it too.

Pure. Field names and chunk order follow the public API reference (Chat, Streaming); nothing here calls a model.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from app.demo.pretend.script import Call, Conversation, Say, Turn

DONE = b"data: [DONE]\n\n"


def read(body: dict[str, Any]) -> Conversation:
    """The conversation that a `POST …/chat/completions` body holds. Missing parts become empty ones."""
    system, user, results, step, answered = list[str](), "", list[str](), 0, False
    for message in body.get("messages") or []:
        role, text = message.get("role"), _text(message.get("content"))
        if role == "tool":
            step += not answered
            results.append(text)
        elif role == "user":
            user, step, results = text, 0, []
        elif role in ("system", "developer"):
            system.append(text)
        answered = role == "tool"
    return Conversation(
        model=str(body.get("model", "")),
        system="\n".join(system),
        user=user,
        step=step,
        tools=frozenset(str((tool.get("function") or {}).get("name", "")) for tool in body.get("tools") or []),
        stream=bool(body.get("stream")),
        results=tuple(results),
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [] if isinstance(part, dict))


def completion(body: dict[str, Any], turn: Turn) -> dict[str, Any]:
    """The whole answer, as it is sent when no stream was asked for."""
    talk = read(body)
    message: dict[str, Any] = {"role": "assistant", "content": _said(turn)}
    calls = [{key: value for key, value in call.items() if key != "index"} for call in _calls(talk, turn)]
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": _finish(turn), "logprobs": None}
    return {**_head(talk, "chat.completion"), "choices": [choice], "usage": usage(turn)}


def chunks(body: dict[str, Any], turn: Turn) -> Iterator[bytes]:
    """The same answer as server-sent events; with usage only where the request asks for it."""
    talk = read(body)
    yield _chunk(talk, {"role": "assistant", "content": ""})
    for index, word in enumerate(_said(turn).split(" ")):
        yield _chunk(talk, {"content": word if index == 0 else f" {word}"})
    for call in _calls(talk, turn):
        arguments = call["function"]["arguments"]
        yield _chunk(talk, {"tool_calls": [{**call, "function": {**call["function"], "arguments": ""}}]})
        for start in range(0, len(arguments), 24):
            piece = {"index": call["index"], "function": {"arguments": arguments[start : start + 24]}}
            yield _chunk(talk, {"tool_calls": [piece]})
    yield _chunk(talk, {}, _finish(turn))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _event({**_head(talk, "chat.completion.chunk"), "choices": [], "usage": usage(turn)})
    yield DONE


def _said(turn: Turn) -> str:
    return "\n".join(block.text for block in turn.blocks if isinstance(block, Say))


def _calls(talk: Conversation, turn: Turn) -> list[dict[str, Any]]:
    calls = [block for block in turn.blocks if isinstance(block, Call)]
    return [
        {
            "index": index,
            "id": f"call_{_digest(talk, f'{index} {call!r}')}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for index, call in enumerate(calls)
    ]


def _finish(turn: Turn) -> str:
    return "tool_calls" if turn.calls_tools else "stop"


def _chunk(talk: Conversation, delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return _event({**_head(talk, "chat.completion.chunk"), "choices": [choice]})


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _head(talk: Conversation, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{_digest(talk, '')}", "object": kind, "created": 1_760_000_000, "model": talk.model}


def usage(turn: Turn) -> dict[str, Any]:
    """Here the prompt includes what was cached, and the completion what was reasoned."""
    told = turn.usage
    given = told.input + told.cache_read + told.cache_write
    return {
        "prompt_tokens": given,
        "completion_tokens": told.output,
        "total_tokens": given + told.output,
        "prompt_tokens_details": {"cached_tokens": told.cache_read},
        "completion_tokens_details": {"reasoning_tokens": told.reasoning},
    }


def _digest(talk: Conversation, extra: str) -> str:
    """An id that is the same for the same place of the same conversation."""
    return hashlib.sha256(f"{talk.user}\0{talk.step}\0{extra}".encode()).hexdigest()[:24]
