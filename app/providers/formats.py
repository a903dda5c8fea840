"""How Claude Code, Codex, Gemini CLI and Pi write their conversations down. Pure: one JSON record in, entries out.

Seen in the files that the tried versions (docs/providers.md) leave; a record of another kind tells nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.providers.conversation import Entry, Format, Kind, items, moment, short, text, tree

ASKING = frozenset(
    {"AskUserQuestion", "ExitPlanMode", "request_user_input", "question", "plan_exit", "ask_user", "exit_plan_mode"}
)
"""Tools with which an agent asks its user and waits: of Claude Code, of Codex, of OpenCode, of Gemini CLI."""


class ClaudeFormat(Format):
    """`~/.claude/projects/<folder>/<id>.jsonl`. Sub-agents write into folders below; their lines say so, too."""

    place = (".claude", "projects", "*", "*.jsonl")

    def entries(self, record: Mapping[str, Any], name: str) -> Iterator[Entry]:
        kind, message = record.get("type"), tree(record.get("message"))
        if kind not in ("user", "assistant") or record.get("isSidechain") or record.get("isMeta"):
            return
        at, conversation = moment(record.get("timestamp")), short(record.get("sessionId"))
        if kind == "assistant":
            yield from _answered(message, at, conversation)
        else:
            yield from _asked(message, at, conversation)


def _asked(message: Mapping[str, Any], at: float, conversation: str) -> Iterator[Entry]:
    """What a user's message holds: words, or answers of tools."""
    content = message.get("content")
    answers = [part for part in items(content) if part.get("type") == "tool_result"]
    for part in answers:
        answered = short(part.get("tool_use_id"))
        yield Entry("result", text(part.get("content")), at, conversation=conversation, call=answered)
    said = text(content)
    if said.startswith("[Request interrupted"):
        yield Entry("ends", at=at, conversation=conversation)
    elif said and not answers:
        yield Entry("user", said, at, conversation=conversation)


def _answered(message: Mapping[str, Any], at: float, conversation: str) -> Iterator[Entry]:
    model = short(message.get("model"))
    for part in items(message.get("content")):
        if part.get("type") == "text":
            yield Entry("assistant", text(part.get("text")), at, model=model, conversation=conversation)
        elif part.get("type") == "thinking":
            yield Entry("reasoning", text(part.get("thinking")), at, model=model, conversation=conversation)
        elif part.get("type") == "tool_use":
            yield called(part.get("name"), part.get("input"), at, conversation, call=part.get("id"))
    if message.get("stop_reason") in ("end_turn", "stop_sequence", "max_tokens", "refusal"):
        yield Entry("ends", at=at, conversation=conversation)


class CodexFormat(Format):
    """`~/.codex/sessions/<year>/<month>/<day>/rollout-<time>-<id>.jsonl`."""

    place = (".codex", "sessions", "*", "*", "*", "rollout-*.jsonl")

    def entries(self, record: Mapping[str, Any], name: str) -> Iterator[Entry]:
        payload, at = tree(record.get("payload")), moment(record.get("timestamp"))
        conversation = name.removesuffix(".jsonl")[-36:]
        kind = payload.get("type")
        if record.get("type") == "event_msg":
            if kind in ("task_complete", "turn_aborted"):
                yield Entry("ends", at=at, conversation=conversation)
            elif kind == "item_completed" and tree(payload.get("item")).get("type") == "UserMessage":
                # a user's message of the model's input also holds what the CLI tells of the surroundings
                yield Entry("user", text(payload["item"].get("content")), at, conversation=conversation)
        elif record.get("type") == "turn_context":
            yield Entry("about", at=at, model=short(payload.get("model")), conversation=conversation)
        elif record.get("type") == "response_item":
            yield from _codex_item(payload, at, conversation)


def _codex_item(item: Mapping[str, Any], at: float, conversation: str) -> Iterator[Entry]:
    kind = str(item.get("type", ""))
    if kind == "message" and item.get("role") == "assistant":
        yield Entry("assistant", text(item.get("content")), at, conversation=conversation)
    elif kind == "reasoning" and (said := text(item.get("summary"))):
        yield Entry("reasoning", said, at, conversation=conversation)
    elif kind.endswith("_call"):
        given = item.get("arguments") or item.get("input") or item.get("action")
        yield called(item.get("name") or kind, given, at, conversation, call=item.get("call_id"))
    elif kind.endswith("_output"):
        answered = short(item.get("call_id"))
        yield Entry("result", text(item.get("output")), at, conversation=conversation, call=answered)


class GeminiFormat(Format):
    """`~/.gemini/tmp/<project>/chats/session-*.jsonl`. A message is written again when its tools were called."""

    place = (".gemini", "tmp", "*", "chats", "session-*.jsonl")

    def entries(self, record: Mapping[str, Any], name: str) -> Iterator[Entry]:
        at, kind = moment(record.get("timestamp")), record.get("type")
        if "sessionId" in record:
            yield Entry("about", conversation=short(record.get("sessionId")))
        calls, content = items(record.get("toolCalls")), record.get("content")
        if kind == "user":
            answers = [part for part in items(content) if "functionResponse" in part]
            for part in answers:
                answer = tree(part["functionResponse"])
                yield Entry("result", _plain(answer.get("response")), at, call=short(answer.get("id")))
            if not answers and (said := text(content)):
                yield Entry("user", said, at)
        elif kind == "gemini" and calls:
            for call in calls:
                made = called(call.get("name"), call.get("args"), at, call=call.get("id"))
                yield replace(made, key=made.call)
        elif kind == "gemini":
            yield Entry("assistant", text(content), at, model=short(record.get("model")))
            # a message that calls tools comes again with them, right after this one
            yield Entry("ends", at=at)


class PiFormat(Format):
    """`~/.pi/agent/sessions/<folder>/<time>_<id>.jsonl`."""

    place = (".pi", "agent", "sessions", "*", "*.jsonl")

    def entries(self, record: Mapping[str, Any], name: str) -> Iterator[Entry]:
        at, message = moment(record.get("timestamp")), tree(record.get("message"))
        conversation = name.removesuffix(".jsonl").rpartition("_")[2]
        role, content = message.get("role"), message.get("content")
        if record.get("type") != "message":
            return
        if role == "user":
            yield Entry("user", text(content), at, conversation=conversation)
        elif role == "toolResult":
            tool, answered = short(message.get("toolName")), short(message.get("toolCallId"))
            yield Entry("result", text(content), at, tool=tool, conversation=conversation, call=answered)
        elif role == "assistant":
            yield from _pi_answer(message, at, conversation)


def _pi_answer(message: Mapping[str, Any], at: float, conversation: str) -> Iterator[Entry]:
    model = short(message.get("model"))
    for part in items(message.get("content")):
        if part.get("type") == "text":
            yield Entry("assistant", text(part.get("text")), at, model=model, conversation=conversation)
        elif part.get("type") == "thinking":
            yield Entry("reasoning", text(part.get("thinking")), at, model=model, conversation=conversation)
        elif part.get("type") == "toolCall":
            yield called(part.get("name"), part.get("arguments"), at, conversation, call=part.get("id"))
    if message.get("stopReason") != "toolUse":
        yield Entry("ends", at=at, conversation=conversation)


def called(tool: object, given: object, at: float, conversation: str = "", *, call: object) -> Entry:
    """A call of a tool; or a question to the user, where that is what the tool does."""
    named = short(tool)
    kind: Kind = "asks" if named in ASKING else "call"
    return Entry(kind, _plain(given), at, tool=named, conversation=conversation, call=short(call))


def _plain(value: object) -> str:
    """What a tool was given or gave, as a person would read it: the values without their names."""
    if isinstance(value, str):
        return text(value)
    parts: Iterable[object] = tree(value).values()
    return text("\n".join(part for part in parts if isinstance(part, str)))
