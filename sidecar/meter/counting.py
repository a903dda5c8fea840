"""The provider's own count of a request's tokens: which question to ask for which request, what an answer says.
Pure. Asked are the endpoints that the vendors document: Anthropic's `count_tokens`, Gemini's `countTokens`, OpenAI's
`responses/input_tokens`. They take a part of the request's own body, and refuse members that they do not know.
"""

import re
from dataclasses import dataclass

import orjson

from sidecar.meter.loads import Tree, Unreadable, loads, tree
from sidecar.meter.usage import count

_ANTHROPIC = (
    "model", "messages", "system", "tools", "tool_choice", "thinking", "mcp_servers", "context_management",
    "output_config",
)  # fmt: skip
_OPENAI = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "previous_response_id",
    "conversation", "reasoning", "text", "truncation",
)  # fmt: skip
_GEMINI = re.compile(r"(?P<head>.*/)models/(?P<model>[^/:]+):(?:streamGenerateContent|generateContent)$")


@dataclass(frozen=True)
class CountQuestion:
    """A POST to the same host."""

    target: str
    body: bytes
    whole: bool = True
    """False: an answer leaves out the conversation that the request goes on with."""


def question(path: str, body: bytes) -> CountQuestion | None:
    """What to ask about a request with this path and decoded body; None where its API has no such endpoint."""
    path = path.partition("?")[0].rstrip("/")
    if path.endswith("/v1/messages"):
        return _part(f"{path}/count_tokens", body, _ANTHROPIC, beside="thread")
    if path.endswith("/v1/responses"):
        return _part(f"{path}/input_tokens", body, _OPENAI)
    found = _GEMINI.fullmatch(path)
    if found is None or (whole := _object(body)) is None:
        return None
    asked = {"generateContentRequest": {**whole, "model": f"models/{found['model']}"}}
    return CountQuestion(f"{found['head']}models/{found['model']}:countTokens", orjson.dumps(asked))


def answered(body: bytes) -> int | None:
    """The number of tokens that an answer says; None where it says none."""
    found = tree(loads(body))
    said = count(found.get("input_tokens"))
    return said if said is not None else count(found.get("totalTokens"))


def _part(target: str, body: bytes, names: tuple[str, ...], beside: str = "") -> CountQuestion | None:
    """`beside`: a member that the endpoint does not take, by which the model reads more than the body holds."""
    whole = _object(body)
    if whole is None:
        return None
    asked = orjson.dumps({name: whole[name] for name in names if name in whole})
    return CountQuestion(target, asked, beside not in whole)


def _object(body: bytes) -> Tree | None:
    value = loads(body)
    return tree(value) or None if value is not Unreadable else None
