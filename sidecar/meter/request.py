"""What metering must know of a request before its answer comes: read from a copy of the body. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from sidecar.meter.estimate import json_units
from sidecar.meter.loads import Tree, Unreadable, loads, tree
from sidecar.meter.media import media
from sidecar.meter.sieve import Sieve
from sidecar.meter.spoken import NOTHING, Brought, brought
from sidecar.meter.usage import text_of

MOST_PARSED = 16 * 1024 * 1024
"""Bytes of a body that is parsed whole (4 ms for each MB, bench `meter`); of a larger one only members are read."""

_PARTIAL = frozenset({"fields", "callback", "httpheaders"})
_MASK = "x-goog-fieldmask"
"""What Google's APIs leave members of an answer out for, or write it as a script for; `$httpHeaders` may hold any
header (cloud.google.com/apis/docs/system-parameters, Closure's `goog.net.rpc.HttpCors`)."""
_ALT = re.compile(r"(?:json(?:;enum-encoding=int)?|sse)?", re.IGNORECASE)
"""The parameter is of Google's own libraries over REST."""

_MODEL_IN_PATH = re.compile(r"/models/([^/:?]+)[:/]")


@dataclass(frozen=True, slots=True)
class RequestFacts:
    method: str = "POST"
    model: str = ""
    stream: bool = False
    usage_asked: bool = True
    """False for a Chat Completions stream without `stream_options.include_usage`: its usage never comes."""
    background: bool = False
    """Accepted now, worked on later (Responses; xAI's `deferred`)."""
    previous: str | None = None
    """The id of the answer that it goes on with: the model reads more than the body holds."""
    brought: Brought = NOTHING
    """What in it the model had not read before."""
    input_units: float = 0.0
    """The body in `estimate.units`, for an answer that breaks before it says what the model read."""


def request_facts(method: str, path: str, body: bytes) -> RequestFacts:
    """Facts of a request by its decoded body. Never raises; what is not JSON has no facts but its size."""
    found = members(body)
    options = tree(found.get("stream_options"))
    in_path = _MODEL_IN_PATH.search(path)
    chat = path.partition("?")[0].rstrip("/").endswith("/completions")
    stream = found.get("stream") is True or "streamGenerateContent" in path
    return RequestFacts(
        method=method.upper(),
        model=text_of(found.get("model")) or (in_path.group(1)[:200] if in_path else ""),
        stream=stream,
        usage_asked=not (chat and stream) or options.get("include_usage") is True,
        background=found.get("background") is True or found.get("deferred") is True,
        previous=_previous(found),
        brought=brought(found),
        input_units=_units(found, body),
    )


def _units(found: Tree, body: bytes) -> float:
    return json_units(body, media(found) if len(body) <= MOST_PARSED else None)


def hides_usage(query: str, headers: Iterable[str]) -> bool:
    """Whether the answer is asked for in a form in which what it used is not told. `headers`: names in lower case."""
    asked = [(name.lower().removeprefix("$"), value) for name, value in parse_qsl(query, keep_blank_values=True)]
    odd = any(name in _PARTIAL or (name == "alt" and not _ALT.fullmatch(value)) for name, value in asked)
    return odd or _MASK in headers


def _previous(found: Tree) -> str | None:
    """Responses and Gemini's interactions name the earlier answer's id, Anthropic does in a thread that goes on."""
    for name in ("previous_response_id", "previous_interaction_id"):
        if isinstance(found.get(name), str):
            return text_of(found[name])
    thread = tree(found.get("thread"))
    return text_of(thread.get("previous_message_id")) if thread.get("type") == "continue" else None


def members(body: bytes) -> Tree:
    """Of the object that it is, all of them; of a large one those that count."""
    if len(body) > MOST_PARSED:
        sieve = Sieve()
        sieve.feed(body)
        return sieve.result()
    value = loads(body) if body else Unreadable
    return tree(value) if value is not Unreadable else {}


def message_facts(message: Tree, raw: bytes) -> RequestFacts:
    """The same of a `response.create` message, which is a body with a type (Responses over WebSocket)."""
    inner = message if "model" in message or "input" in message else tree(message.get("response"))
    return RequestFacts(
        method="WEBSOCKET",
        model=text_of(inner.get("model")),
        stream=True,
        background=inner.get("background") is True,
        previous=_previous(inner),
        brought=brought(inner),
        input_units=_units(inner, raw),
    )
