"""What the agents' CLIs wrote in one short session each, as the tried versions wrote it, cut to what is read of it:
asked for a file, said something, ran a command, saw its output, ended."""

import json
from pathlib import Path
from typing import Any

CLAUDE = [
    {"type": "mode", "mode": "normal", "sessionId": "3093b438-0890-4c3d-93ec-4b05eafef370"},
    {
        "type": "user",
        "isSidechain": False,
        "message": {"role": "user", "content": "write the file please"},
        "timestamp": "2026-11-26T07:10:42.040Z",
        "sessionId": "3093b438-0890-4c3d-93ec-4b05eafef370",
    },
    {"type": "attachment", "isSidechain": False, "attachment": {"type": "date"}, "timestamp": "2026-11-26T07:10:42Z"},
    {
        "type": "assistant",
        "message": {
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [{"type": "text", "text": "I will."}],
            "stop_reason": "tool_use",
        },
        "timestamp": "2026-11-26T07:10:42.350Z",
        "sessionId": "3093b438-0890-4c3d-93ec-4b05eafef370",
    },
    {
        "type": "assistant",
        "message": {
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [{"type": "tool_use", "name": "Bash", "input": {"command": "echo hi", "description": "x"}}],
            "stop_reason": "tool_use",
        },
        "timestamp": "2026-11-26T07:10:42.364Z",
        "sessionId": "3093b438-0890-4c3d-93ec-4b05eafef370",
    },
    {
        "type": "user",
        "message": {"role": "user", "content": [{"type": "tool_result", "content": "hi\n", "is_error": False}]},
        "timestamp": "2026-11-26T07:10:42.560Z",
        "sessionId": "3093b438-0890-4c3d-93ec-4b05eafef370",
    },
    {
        "type": "assistant",
        "message": {
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [{"type": "text", "text": "All done."}],
            "stop_reason": "end_turn",
        },
        "timestamp": "2026-11-26T07:10:42.654Z",
        "sessionId": "3093b438-0890-4c3d-93ec-4b05eafef370",
    },
    {"type": "system", "subtype": "turn_duration", "durationMs": 690, "timestamp": "2026-11-26T07:10:42.680Z"},
]


def _codex(kind: str, payload: dict[str, Any], second: float) -> dict[str, Any]:
    return {"timestamp": f"2026-11-26T07:10:{second:06.3f}Z", "type": kind, "payload": payload}


CODEX = [
    _codex("session_meta", {"id": "01a216b1-565a-78a0-a749-893aeb381507"}, 51.060),
    _codex("event_msg", {"type": "task_started", "turn_id": "1"}, 51.060),
    _codex("response_item", {"type": "message", "role": "developer", "content": [{"text": "Rules"}]}, 51.092),
    _codex("response_item", {"type": "message", "role": "user", "content": [{"text": "<environment>"}]}, 51.092),
    _codex("turn_context", {"model": "gpt-6.1-sol"}, 51.094),
    _codex(
        "event_msg",
        {
            "type": "item_completed",
            "item": {"type": "UserMessage", "content": [{"type": "text", "text": "write the file please"}]},
        },
        51.102,
    ),
    _codex(
        "response_item",
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I will."}]},
        51.129,
    ),
    _codex("response_item", {"type": "custom_tool_call", "name": "exec", "input": "text('echo hi')"}, 51.131),
    _codex("event_msg", {"type": "token_count", "info": {}}, 51.2),
    _codex("response_item", {"type": "custom_tool_call_output", "output": [{"text": "hi\n"}]}, 51.242),
    _codex(
        "response_item",
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "All done."}]},
        51.259,
    ),
    _codex("event_msg", {"type": "task_complete", "last_agent_message": "All done."}, 51.262),
]

GEMINI = [
    {"sessionId": "bd055c07-09ae-4ec6-b4d8-38680085b714", "startTime": "2026-11-26T07:11:01.773Z", "kind": "main"},
    {"$set": {"messages": [{"type": "user", "content": [{"text": "<session_context>"}]}]}},
    {
        "id": "c0",
        "timestamp": "2026-11-26T07:11:02.339Z",
        "type": "user",
        "content": [{"text": "write the file please"}],
    },
    {
        "id": "66",
        "timestamp": "2026-11-26T07:11:02.494Z",
        "type": "gemini",
        "content": "I will.",
        "model": "gemini-3.8-flash",
    },
    {"$set": {"lastUpdated": "2026-11-26T07:11:02.494Z"}},
    {
        "id": "66",
        "timestamp": "2026-11-26T07:11:02.494Z",
        "type": "gemini",
        "content": "I will.",
        "model": "gemini-3.8-flash",
        "toolCalls": [{"id": "run_1", "name": "run_shell_command", "args": {"command": "echo hi"}}],
    },
    {
        "id": "ee",
        "timestamp": "2026-11-26T07:11:03.080Z",
        "type": "user",
        "content": [{"functionResponse": {"id": "run_1", "response": {"output": "hi\n"}}}],
    },
    {
        "id": "86",
        "timestamp": "2026-11-26T07:11:03.325Z",
        "type": "gemini",
        "content": "All done.",
        "model": "gemini-3.8-flash",
    },
]


def _pi(message: dict[str, Any], second: float) -> dict[str, Any]:
    return {"type": "message", "id": "x", "timestamp": f"2026-11-26T07:11:{second:06.3f}Z", "message": message}


PI = [
    {"type": "session", "version": 3, "id": "01a216b1-b638-7383-a75d-79c6fd8e749a"},
    {"type": "model_change", "provider": "anthropic", "modelId": "claude-opus-4-8"},
    _pi({"role": "system", "content": ""}, 16.978),
    _pi({"role": "user", "content": [{"type": "text", "text": "write the file please"}]}, 16.979),
    _pi(
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will."},
                {"type": "toolCall", "id": "t", "name": "bash", "arguments": {"command": "echo hi"}},
            ],
            "model": "claude-opus-4-8",
            "stopReason": "toolUse",
        },
        17.122,
    ),
    _pi({"role": "toolResult", "toolName": "bash", "content": [{"type": "text", "text": "hi\n"}]}, 17.173),
    _pi(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "All done."}],
            "model": "claude-opus-4-8",
            "stopReason": "stop",
        },
        17.245,
    ),
]

PLACES = {
    "claude": ".claude/projects/-work-x/3093b438-0890-4c3d-93ec-4b05eafef370.jsonl",
    "codex": ".codex/sessions/2026/11/26/rollout-2026-11-26T07-10-50-01a216b1-565a-78a0-a749-893aeb381507.jsonl",
    "gemini": ".gemini/tmp/my-project/chats/session-2026-11-26T07-11-bd055c07.jsonl",
    "pi": ".pi/agent/sessions/--work-x--/2026-11-26T07-11-15-001Z_01a216b1-b638-7383-a75d-79c6fd8e749a.jsonl",
}
RECORDS: dict[str, list[dict[str, Any]]] = {"claude": CLAUDE, "codex": CODEX, "gemini": GEMINI, "pi": PI}


def written(home: Path, name: str, upto: int | None = None) -> Path:
    """The session of that agent, below `home`: all of it, or its first records."""
    path = home / PLACES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS[name][:upto]))
    return path
