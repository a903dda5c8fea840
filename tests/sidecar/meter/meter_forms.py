"""The forms of an answer, one function each: `(random source, token range) -> Answer`."""

import json
import random
from collections.abc import Callable
from typing import Any

from tests.sidecar.meter.meter_kit import Answer, Token, Truth, deltas, draw, running, sse, tokens, with_reasoning

type Maker = Callable[[random.Random, int, int], Answer]

EVENTS, JSON = "text/event-stream; charset=utf-8", "application/json"


def whole(run: list[Token]) -> str:
    return "".join(token.text for token in run)


# --- Anthropic ------------------------------------------------------------------------------------------------------


def _anthropic_usage(truth: Truth, output: int) -> dict[str, Any]:
    return {
        "input_tokens": truth.input,
        "cache_creation_input_tokens": truth.cache_write_5m + truth.cache_write_1h,
        "cache_read_input_tokens": truth.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": truth.cache_write_5m,
            "ephemeral_1h_input_tokens": truth.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
    }


def anthropic_json(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = draw(rng, run, write=True)
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": truth.model,
        "content": [
            {"type": "text", "text": whole(run)},
            # a tool's input with a usage of its own must not be taken for the provider's
            {
                "type": "tool_use",
                "id": "t",
                "name": "Bash",
                "input": {"usage": {"input_tokens": 7, "output_tokens": 9}},
            },
        ],
        "stop_reason": "tool_use",
        "usage": _anthropic_usage(truth, truth.output),
    }
    text = json.dumps(body).encode()
    request = {"model": truth.model, "stream": False}
    return Answer("anthropic json", "api.anthropic.com", "/v1/messages?beta=true", JSON, (text,), truth, request)


def anthropic_sse(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = draw(rng, run, write=True)
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": truth.model, "content": []}
    start = {"type": "message_start", "message": {**head, "usage": _anthropic_usage(truth, rng.randint(1, 8))}}
    found = [(sse(start, "message_start"), 0), (sse({"type": "ping"}, "ping"), 0)]
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    found.append((sse(block, "content_block_start"), 0))
    tool = rng.random() < 0.4
    for part in deltas(run, rng):
        delta = (
            {"type": "input_json_delta", "partial_json": part.text}
            if tool
            else {"type": "text_delta", "text": part.text}
        )
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        found.append((sse(event, "content_block_delta"), part.count))
    found.append((sse({"type": "content_block_stop", "index": 0}, "content_block_stop"), 0))
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": truth.output}}
    if rng.random() < 0.5:  # newer servers repeat everything but the lifetimes
        end["usage"] = {k: v for k, v in _anthropic_usage(truth, truth.output).items() if k != "cache_creation"}
    found.append((sse(end, "message_delta"), 0))
    found.append((sse({"type": "message_stop"}, "message_stop"), 0))
    pieces, made = running(found)
    request = {"model": truth.model, "stream": True}
    return Answer("anthropic sse", "api.anthropic.com", "/v1/messages", EVENTS, pieces, truth, request, made)


# --- OpenAI Responses -----------------------------------------------------------------------------------------------


def _responses_object(truth: Truth, text: str, status: str = "completed") -> dict[str, Any]:
    whole_input = truth.input + truth.cache_read
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": truth.model,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": 'say {"usage": {"input_tokens": 1}}',
        "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
        "error": None,
        "usage": {
            "input_tokens": whole_input,
            "input_tokens_details": {"cached_tokens": truth.cache_read},
            "output_tokens": truth.output,
            "output_tokens_details": {"reasoning_tokens": truth.reasoning},
            "total_tokens": whole_input + truth.output,
        },
    }


def responses_json(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = with_reasoning(draw(rng, run, reasons=True))
    body = json.dumps(_responses_object(truth, whole(run)), indent=2).encode()
    return Answer(
        "responses json", "api.openai.com", "/v1/responses", JSON, (body,), truth, {"model": truth.model, "input": "hi"}
    )


def responses_events(rng: random.Random, least: int, most: int) -> tuple[list[tuple[dict[str, Any], int]], Truth]:
    run = tokens(rng, least, most)
    truth = with_reasoning(draw(rng, run, reasons=True))
    created = {"id": "resp_1", "object": "response", "status": "in_progress", "model": truth.model, "usage": None}
    found: list[tuple[dict[str, Any], int]] = [
        ({"type": "response.created", "sequence_number": 0, "response": created}, 0),
        ({"type": "response.in_progress", "sequence_number": 1, "response": created}, 0),
    ]
    kind = rng.choice(("response.output_text.delta", "response.function_call_arguments.delta"))
    for number, part in enumerate(deltas(run, rng)):
        event = {"type": kind, "sequence_number": number + 2, "item_id": "i", "output_index": 0, "delta": part.text}
        found.append((event, part.count))
    done = {"type": "response.output_text.done", "item_id": "i", "text": whole(run)}
    found.append((done, 0))
    last = rng.choice(("completed", "completed", "completed", "incomplete"))
    found.append(({"type": f"response.{last}", "response": _responses_object(truth, whole(run), last)}, 0))
    return found, truth


def responses_sse(rng: random.Random, least: int, most: int) -> Answer:
    found, truth = responses_events(rng, least, most)
    pieces, made = running([(sse(event, event["type"]), count) for event, count in found])
    request = {"model": truth.model, "stream": True, "input": "hi"}
    return Answer("responses sse", "chatgpt.com", "/backend-api/codex/responses", EVENTS, pieces, truth, request, made)


# --- Chat Completions and compatible --------------------------------------------------------------------------------


def _chat_usage(truth: Truth, **more: Any) -> dict[str, Any]:
    whole_input = truth.input + truth.cache_read
    return {
        "prompt_tokens": whole_input,
        "completion_tokens": truth.output,
        "total_tokens": whole_input + truth.output,
        "prompt_tokens_details": {"cached_tokens": truth.cache_read},
        "completion_tokens_details": {"reasoning_tokens": truth.reasoning},
        **more,
    }


def chat_json(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = with_reasoning(draw(rng, run, reasons=True))
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": truth.model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": whole(run)}, "finish_reason": "stop"}],
        "usage": _chat_usage(truth),
    }
    text = json.dumps(body).encode()
    return Answer("chat json", "api.openai.com", "/v1/chat/completions", JSON, (text,), truth, {"model": truth.model})


def chat_sse(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = with_reasoning(draw(rng, run, reasons=True))
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": truth.model}
    found: list[tuple[bytes, int]] = [(b": keep-alive\n\n", 0)]
    tool = rng.random() < 0.3
    for part in deltas(run, rng):
        delta: dict[str, Any] = (
            {"tool_calls": [{"index": 0, "function": {"arguments": part.text}}]} if tool else {"content": part.text}
        )
        chunk = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}
        found.append((sse(chunk), part.count))
    found.append((sse({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}), 0))
    found.append((sse({**head, "choices": [], "usage": _chat_usage(truth)}), 0))
    found.append((sse("[DONE]"), 0))
    pieces, made = running(found)
    request = {"model": truth.model, "stream": True, "stream_options": {"include_usage": True}}
    return Answer("chat sse", "127.0.0.1", "/v1/chat/completions", EVENTS, pieces, truth, request, made)


def xai_sse(rng: random.Random, least: int, most: int) -> Answer:
    """Reasoning beside the completion tokens, cumulative usage in every chunk, lines ended by CR LF."""
    run = tokens(rng, least, most)
    truth = with_reasoning(draw(rng, run, reasons=True))
    head = {"id": "x-1", "object": "chat.completion.chunk", "model": truth.model}
    found: list[tuple[bytes, int]] = []
    so_far = 0
    whole_input = truth.input + truth.cache_read
    for part in deltas(run, rng):
        so_far += part.count
        usage = {
            "prompt_tokens": whole_input,
            "completion_tokens": so_far,
            "total_tokens": whole_input + so_far + truth.reasoning,
            "prompt_tokens_details": {"cached_tokens": truth.cache_read},
            "completion_tokens_details": {"reasoning_tokens": truth.reasoning},
        }
        chunk = {**head, "choices": [{"index": 0, "delta": {"content": part.text}}], "usage": usage}
        found.append((sse(chunk, end="\r\n"), part.count))
    found.append((sse("[DONE]", end="\r\n"), 0))
    pieces, made = running(found)
    request = {"model": truth.model, "stream": True, "stream_options": {"include_usage": True}}
    return Answer("xai sse", "api.x.ai", "/v1/chat/completions", EVENTS, pieces, truth, request, made)


# --- Gemini ---------------------------------------------------------------------------------------------------------


def _gemini_pieces(rng: random.Random, least: int, most: int) -> tuple[list[tuple[dict[str, Any], int]], Truth]:
    run = tokens(rng, least, most)
    truth = with_reasoning(draw(rng, run, reasons=True))
    tools = rng.choice((0, rng.randint(1, min(500, truth.input))))
    parts = list(deltas(run, rng))
    found: list[tuple[dict[str, Any], int]] = []
    so_far = 0
    for number, part in enumerate(parts):
        so_far += part.count
        last = number == len(parts) - 1
        prompt = truth.input - tools + truth.cache_read
        usage = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": so_far,
            "thoughtsTokenCount": truth.reasoning,
            "cachedContentTokenCount": truth.cache_read,
            "toolUsePromptTokenCount": tools,
            "totalTokenCount": prompt + tools + so_far + truth.reasoning,
        }
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": part.text}]}, "index": 0}
        if last:
            candidate["finishReason"] = "STOP"
        piece = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": truth.model, "responseId": "r"}
        found.append((piece, part.count))
    return found, truth


_GEMINI = "generativelanguage.googleapis.com"


def gemini_json(rng: random.Random, least: int, most: int) -> Answer:
    found, truth = _gemini_pieces(rng, least, most)
    body = json.dumps(found[-1][0]).encode()
    return Answer("gemini json", _GEMINI, f"/v1beta/models/{truth.model}:generateContent", JSON, (body,), truth)


def gemini_sse(rng: random.Random, least: int, most: int) -> Answer:
    found, truth = _gemini_pieces(rng, least, most)
    pieces, made = running([(sse(piece, end="\r\n"), count) for piece, count in found])
    path = f"/v1beta/models/{truth.model}:streamGenerateContent?alt=sse"
    return Answer("gemini sse", _GEMINI, path, EVENTS, pieces, truth, {}, made)


def gemini_array(rng: random.Random, least: int, most: int) -> Answer:
    found, truth = _gemini_pieces(rng, least, most)
    texts = [
        (("[" if at == 0 else "\n,\r\n") + json.dumps(piece, indent=1)).encode() for at, (piece, _) in enumerate(found)
    ]
    pieces, made = running([*zip(texts, (count for _, count in found), strict=True), (b"\n]\n", 0)])
    path = f"/v1beta/models/{truth.model}:streamGenerateContent"
    return Answer("gemini array", _GEMINI, path, JSON, pieces, truth, {}, made)


def code_assist_sse(rng: random.Random, least: int, most: int) -> Answer:
    found, truth = _gemini_pieces(rng, least, most)
    pieces, made = running([(sse({"response": piece, "traceId": "t"}), count) for piece, count in found])
    path = "/v1internal:streamGenerateContent?alt=sse"
    return Answer("code assist sse", "cloudcode-pa.googleapis.com", path, EVENTS, pieces, truth, {}, made)


# --- Ollama ---------------------------------------------------------------------------------------------------------


def ollama_lines(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = Truth("llama", input=rng.randint(1, 9000), output=sum(token.count for token in run))
    head = {"model": truth.model, "created_at": "2026-01-01T00:00:00Z"}
    found: list[tuple[bytes, int]] = []
    for part in deltas(run, rng):
        line = {**head, "message": {"role": "assistant", "content": part.text}, "done": False}
        found.append((json.dumps(line).encode() + b"\n", part.count))
    counts = {"prompt_eval_count": truth.input, "eval_count": truth.output}
    end = {**head, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", **counts}
    found.append((json.dumps(end).encode() + b"\n", 0))
    pieces, made = running(found)
    return Answer("ollama lines", "127.0.0.1", "/api/chat", "application/x-ndjson", pieces, truth, {}, made)


def ollama_json(rng: random.Random, least: int, most: int) -> Answer:
    run = tokens(rng, least, most)
    truth = Truth("llama", input=rng.randint(1, 9000), output=sum(token.count for token in run))
    body = {
        "model": truth.model,
        "response": whole(run),
        "done": True,
        "prompt_eval_count": truth.input,
        "eval_count": truth.output,
    }
    return Answer("ollama json", "127.0.0.1", "/api/generate", JSON, (json.dumps(body).encode(),), truth)


STREAMS: tuple[Maker, ...] = (
    anthropic_sse,
    responses_sse,
    chat_sse,
    xai_sse,
    gemini_sse,
    gemini_array,
    code_assist_sse,
    ollama_lines,
)
WHOLE: tuple[Maker, ...] = (anthropic_json, responses_json, chat_json, gemini_json, ollama_json)
FORMS: tuple[Maker, ...] = STREAMS + WHOLE
