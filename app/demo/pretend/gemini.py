"""Google's Gemini API on the wire: requests read, turns written as one JSON object or as server-sent events.

Pure. Field names follow the public API reference (generateContent, streamGenerateContent, countTokens, models);
nothing here calls or imitates a model.
"""

import json
from collections.abc import Iterator
from typing import Any

from app.demo.pretend.script import Call, Conversation, Say, Turn

HOST = "generativelanguage.googleapis.com"
MODELS = ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite")


def read(body: dict[str, Any], model: str, *, stream: bool) -> Conversation:
    """The conversation that a request holds; the model and the kind of answer are in its path."""
    user, results, step = "", list[str](), 0
    for content in body.get("contents") or []:
        if content.get("role") == "model":
            continue
        parts: list[dict[str, Any]] = content.get("parts") or []
        found = [json.dumps(part["functionResponse"].get("response")) for part in parts if "functionResponse" in part]
        texts = [str(part["text"]) for part in parts if "text" in part]
        if found:
            step += 1
            results.extend(found)
        elif texts:
            user, step, results = "\n".join(texts), 0, []
    declared = [one for tool in body.get("tools") or [] for one in tool.get("functionDeclarations") or []]
    system = (body.get("systemInstruction") or {}).get("parts") or []
    return Conversation(
        model=model,
        system="\n".join(str(part.get("text", "")) for part in system),
        user=user,
        step=step,
        tools=frozenset(str(one.get("name", "")) for one in declared),
        stream=stream,
        results=tuple(results),
    )


def answer(talk: Conversation, turn: Turn) -> dict[str, Any]:
    """The whole answer, as `generateContent` sends it."""
    return _chunk(talk, turn, [_part(block) for block in turn.blocks], finish="STOP")


def chunks(talk: Conversation, turn: Turn) -> Iterator[bytes]:
    """The same answer as `streamGenerateContent?alt=sse` sends it: usage is cumulative, the last one counts."""
    for block in turn.blocks:
        pieces = block.text.split(" ") if isinstance(block, Say) else [""]
        for index, word in enumerate(pieces):
            part = {"text": word if index == 0 else f" {word}"} if isinstance(block, Say) else _part(block)
            yield _event(_chunk(talk, turn, [part]))
    yield _event(_chunk(talk, turn, [{"text": ""}], finish="STOP"))


def _part(block: Say | Call) -> dict[str, Any]:
    if isinstance(block, Say):
        return {"text": block.text}
    return {"functionCall": {"name": block.name, "args": block.arguments}}


def _chunk(talk: Conversation, turn: Turn, parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": usage(turn, finished=finish is not None),
        "modelVersion": talk.model,
        "responseId": "pretend",
    }


def usage(turn: Turn, *, finished: bool = True) -> dict[str, Any]:
    """Here the prompt includes what was cached, and candidates leave out what was reasoned."""
    told = turn.usage
    given = told.input + told.cache_read + told.cache_write
    answered = told.output - told.reasoning if finished else 0
    reasoned = told.reasoning if finished else 0
    return {
        "promptTokenCount": given,
        "cachedContentTokenCount": told.cache_read,
        "candidatesTokenCount": answered,
        "thoughtsTokenCount": reasoned,
        "totalTokenCount": given + answered + reasoned,
    }


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\r\n\r\n".encode()


def count(body: dict[str, Any]) -> dict[str, int]:
    """Answer of `countTokens`: about four bytes a token, as a rule of thumb."""
    return {"totalTokens": max(1, len(json.dumps(body)) // 4)}


def models() -> dict[str, Any]:
    """Answer of `GET /v1beta/models`."""
    methods = ["generateContent", "countTokens"]
    return {"models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in MODELS]}


def error(code: int, status: str, text: str) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": text}}
