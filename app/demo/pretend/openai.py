"""OpenAI's Responses API on the wire: requests read, turns written as one JSON object or as a list of events.

Pure. The same events travel as server-sent events and as text frames of a WebSocket. Field names and event order
follow the public API reference (Responses, Streaming events, Models); nothing here calls or imitates a model.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from app.demo.pretend.script import Call, Conversation, Say, Turn, Usage

HOST = "api.openai.com"
MODELS = ("gpt-5.2-codex", "gpt-5.2", "gpt-5-mini")


def read(body: dict[str, Any]) -> Conversation:
    """The conversation that a request holds: `input` is a string or a list of items. Missing parts become empty."""
    given = body.get("input") or []
    items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    system, user, results, step, answered = [str(body.get("instructions") or "")], "", list[str](), 0, False
    for item in items:
        is_result = str(item.get("type", "")).endswith("_output")
        if is_result:
            step += not answered
            results.append(_text(item.get("output")))
        elif item.get("role") == "user":
            user, step, results = _text(item.get("content")), 0, []
        elif item.get("role") in ("system", "developer"):
            system.append(_text(item.get("content")))
        answered = is_result
    return Conversation(
        model=str(body.get("model", "")),
        system="\n".join(system),
        user=user,
        step=step,
        tools=frozenset(str(tool.get("name") or tool.get("type") or "") for tool in tools(body)),
        stream=bool(body.get("stream")),
        results=tuple(results),
    )


def _text(content: Any) -> str:
    """The text of a message or of a tool's output: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [] if isinstance(part, dict))


def tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """All tools of a request: its own, those that came as an item of the input, and those inside a namespace."""
    given = body.get("input")
    items = given if isinstance(given, list) else []
    waiting = [*(body.get("tools") or []), *(tool for item in items for tool in _added(item))]
    found = list[dict[str, Any]]()
    while waiting:
        tool = waiting.pop()
        found.append(tool)
        waiting.extend(tool.get("tools") or [])
    return found


def _added(item: dict[str, Any]) -> list[dict[str, Any]]:
    return item.get("tools") or [] if item.get("type") == "additional_tools" else []


def freeform(body: dict[str, Any]) -> frozenset[str]:
    """Names of the tools that take a text instead of JSON."""
    return frozenset(str(tool.get("name")) for tool in tools(body) if tool.get("type") == "custom")


def response(body: dict[str, Any], turn: Turn) -> dict[str, Any]:
    """The whole answer, as it is sent when no stream was asked for, and with the last event of one."""
    talk = read(body)
    texts = freeform(body)
    items = [_item(talk, index, block, texts) for index, block in enumerate(turn.blocks)]
    return {**_head(talk, turn), "status": "completed", "output": items, "usage": usage(turn)}


def events(body: dict[str, Any], turn: Turn) -> Iterator[dict[str, Any]]:
    """The same answer as events, in order."""
    for number, event in enumerate(_events(body, turn)):
        yield {**event, "sequence_number": number}


def _events(body: dict[str, Any], turn: Turn) -> Iterator[dict[str, Any]]:
    talk = read(body)
    texts = freeform(body)
    head = {**_head(talk, turn), "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": head}
    yield {"type": "response.in_progress", "response": head}
    for index, block in enumerate(turn.blocks):
        item = _item(talk, index, block, texts)
        at = {"item_id": item["id"], "output_index": index}
        if isinstance(block, Say):
            yield from _said(item, at, block)
        else:
            yield from _called(item, at)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": response(body, turn)}


def warmed(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer to a message that only warms the connection up (`generate: false`): events, and nothing said."""
    nothing = Turn((), Usage(input=0, output=0))
    return list(events(body, nothing))


def _said(item: dict[str, Any], at: dict[str, Any], block: Say) -> Iterator[dict[str, Any]]:
    part = item["content"][0]
    at = {**at, "content_index": 0}
    added = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": at["output_index"], "item": added}
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
    for index, word in enumerate(block.text.split(" ")):
        yield {"type": "response.output_text.delta", **at, "delta": word if index == 0 else f" {word}"}
    yield {"type": "response.output_text.done", **at, "text": block.text}
    yield {"type": "response.content_part.done", **at, "part": part}


def _called(item: dict[str, Any], at: dict[str, Any]) -> Iterator[dict[str, Any]]:
    key, kind = ("input", "custom_tool_call_input") if "input" in item else ("arguments", "function_call_arguments")
    added = {**item, "status": "in_progress", key: ""}
    yield {"type": "response.output_item.added", "output_index": at["output_index"], "item": added}
    for start in range(0, len(item[key]), 24):
        yield {"type": f"response.{kind}.delta", **at, "delta": item[key][start : start + 24]}
    yield {"type": f"response.{kind}.done", **at, key: item[key]}


def _head(talk: Conversation, turn: Turn) -> dict[str, Any]:
    return {
        "id": f"resp_{_digest(talk, repr(turn))}",
        "object": "response",
        "created_at": 1_760_000_000,
        "model": talk.model,
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _item(talk: Conversation, index: int, block: Say | Call, texts: frozenset[str]) -> dict[str, Any]:
    digest = _digest(talk, f"{index} {block!r}")
    if isinstance(block, Say):
        part = {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}
        return {
            "type": "message",
            "id": f"msg_{digest}",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    call = {"call_id": f"call_{digest}", "name": block.name, "status": "completed"}
    if block.name in texts:
        return {"type": "custom_tool_call", "id": f"ctc_{digest}", **call, "input": str(block.arguments["input"])}
    return {"type": "function_call", "id": f"fc_{digest}", **call, "arguments": json.dumps(block.arguments)}


def usage(turn: Turn) -> dict[str, Any]:
    """Here input includes what was cached, and output what was reasoned."""
    told = turn.usage
    given = told.input + told.cache_read + told.cache_write
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": told.cache_read},
        "output_tokens": told.output,
        "output_tokens_details": {"reasoning_tokens": told.reasoning},
        "total_tokens": given + told.output,
    }


def sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _digest(talk: Conversation, extra: str) -> str:
    """An id that is the same for the same place of the same conversation."""
    return hashlib.sha256(f"{talk.user}\0{talk.step}\0{extra}".encode()).hexdigest()[:24]


def models() -> dict[str, Any]:
    """Answer of `GET /v1/models`."""
    data = [{"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "openai"} for name in MODELS]
    return {"object": "list", "data": data}


def error(kind: str, text: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": text, "code": kind, "param": None}}
