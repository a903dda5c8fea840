"""Anthropic's Messages API on the wire: requests read, turns written as one JSON object or as server-sent events.

Pure. Field names and event order follow the public API reference (Messages, Streaming, Count tokens, Models);
nothing here calls or imitates a model.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from app.demo.pretend.script import Call, Conversation, Say, Turn

HOST = "api.anthropic.com"
MODELS = ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")


def read(body: dict[str, Any]) -> Conversation:
    """The conversation that a `POST /v1/messages` body holds. Missing parts become empty ones."""
    messages: list[dict[str, Any]] = body.get("messages") or []
    user, results, step = "", list[str](), 0
    for message in messages:
        if message.get("role") != "user":
            continue
        texts, found = _parts(message.get("content"))
        # beside results, clients put notes of their own; anything else is somebody who speaks again
        said = [text for text in texts if not (found and text.lstrip().startswith("<system-reminder>"))]
        if said:
            user, step, results = "\n".join(said), 0, []
        elif found:
            step += 1
            results.extend(found)
    return Conversation(
        model=str(body.get("model", "")),
        system="\n".join(_parts(body.get("system"))[0]),
        user=user,
        step=step,
        tools=frozenset(str(tool.get("name", "")) for tool in body.get("tools") or []),
        stream=bool(body.get("stream")),
        results=tuple(results),
    )


def _parts(content: Any) -> tuple[list[str], list[str]]:
    """Texts and tool results of a message's content, which may be a string or a list of blocks."""
    if isinstance(content, str):
        return [content], []
    texts, results = list[str](), list[str]()
    for block in content or []:
        if block.get("type") == "text":
            texts.append(str(block.get("text", "")))
        elif block.get("type") == "tool_result":
            results.append("\n".join(_parts(block.get("content"))[0]))
    return texts, results


def message(conversation: Conversation, turn: Turn) -> dict[str, Any]:
    """The whole answer, as it is sent when no stream was asked for."""
    return {
        **_head(conversation, turn),
        "content": [_block(conversation, index, block) for index, block in enumerate(turn.blocks)],
        "stop_reason": "tool_use" if turn.calls_tools else "end_turn",
        "usage": {**_input_usage(turn), "output_tokens": turn.usage.output},
    }


def events(conversation: Conversation, turn: Turn) -> Iterator[bytes]:
    """The same answer as server-sent events, one `bytes` each."""
    head = {**_head(conversation, turn), "usage": {**_input_usage(turn), "output_tokens": 1}}
    yield _event("message_start", {"message": head})
    yield _event("ping", {})
    for index, block in enumerate(turn.blocks):
        full = _block(conversation, index, block)
        empty = {**full, "text": ""} if isinstance(block, Say) else {**full, "input": {}}
        yield _event("content_block_start", {"index": index, "content_block": empty})
        for delta in _deltas(block):
            yield _event("content_block_delta", {"index": index, "delta": delta})
        yield _event("content_block_stop", {"index": index})
    stop = {"stop_reason": "tool_use" if turn.calls_tools else "end_turn", "stop_sequence": None}
    yield _event("message_delta", {"delta": stop, "usage": {**_input_usage(turn), "output_tokens": turn.usage.output}})
    yield _event("message_stop", {})


def _head(conversation: Conversation, turn: Turn) -> dict[str, Any]:
    return {
        "id": f"msg_{_digest(conversation, repr(turn))}",
        "type": "message",
        "role": "assistant",
        "model": conversation.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _block(conversation: Conversation, index: int, block: Say | Call) -> dict[str, Any]:
    if isinstance(block, Say):
        return {"type": "text", "text": block.text}
    tool_id = f"toolu_{_digest(conversation, f'{index} {block.name}')}"
    return {"type": "tool_use", "id": tool_id, "name": block.name, "input": block.arguments}


def _deltas(block: Say | Call) -> Iterator[dict[str, str]]:
    if isinstance(block, Say):
        words = block.text.split(" ")
        for index, word in enumerate(words):
            yield {"type": "text_delta", "text": word if index == 0 else f" {word}"}
        return
    text = json.dumps(block.arguments)
    for start in range(0, len(text), 24):
        yield {"type": "input_json_delta", "partial_json": text[start : start + 24]}


def _input_usage(turn: Turn) -> dict[str, int]:
    usage = turn.usage
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def _digest(conversation: Conversation, extra: str) -> str:
    """An id that is the same for the same place of the same conversation."""
    text = f"{conversation.user}\0{conversation.step}\0{extra}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def count(body: dict[str, Any]) -> dict[str, int]:
    """Answer of `POST /v1/messages/count_tokens`: about four bytes a token, as a rule of thumb."""
    return {"input_tokens": max(1, len(json.dumps(body)) // 4)}


def models() -> dict[str, Any]:
    """Answer of `GET /v1/models`."""
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"} for name in MODELS
    ]
    return {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}


def error(kind: str, text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text}}
