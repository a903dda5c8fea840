"""The models of each vendor: where its list is, how it is read, and what to offer while it cannot be asked. Pure.

The lists below are what the tried CLIs offer; aliases that a CLI resolves by itself come first: they last longer.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from app.providers.base import ModelSource
from app.providers.conversation import items, short, tree

ANTHROPIC = ("claude-opus-5-5", "claude-sonnet-5", "claude-haiku-4-5", "claude-fable-5-1", "claude-opus-4-8")
CLAUDE = ("opus", "sonnet", "haiku", "fable", *ANTHROPIC)
OPENAI = ("gpt-6-sol", "gpt-6-astra", "gpt-6-luna", "gpt-5.6-sol", "gpt-5.5", "gpt-5.4-mini", "gpt-5.3-codex")
GOOGLE = ("gemini-3.8-flash", "gemini-3.1-pro-preview", "gemini-3.5-flash-lite", "gemini-2.5-pro", "gemini-2.5-flash")
GEMINI = ("auto", "pro", "flash", "flash-lite", *GOOGLE)
BUILT_IN: Mapping[str, tuple[str, ...]] = {"anthropic": ANTHROPIC, "openai": OPENAI, "google": GOOGLE}

MAX_MODELS = 500
ANTHROPIC_VERSION = {"anthropic-version": "2023-06-01"}
_TALKS = re.compile(r"(gpt-|o\d|codex|chatgpt)")
_OTHER = re.compile(r"audio|realtime|image|tts|transcribe|search|embedding|moderation|live")
"""OpenAI's list holds what draws, speaks and listens as well."""


def openai_models(answer: object) -> tuple[str, ...]:
    """`{"data": [{"id": …}]}`: OpenAI and whoever speaks as it does."""
    return _names(one.get("id") for one in items(tree(answer).get("data")))


def openai_own(answer: object) -> tuple[str, ...]:
    """OpenAI's own list, of those that a coding agent can talk to."""
    return tuple(name for name in openai_models(answer) if _TALKS.match(name) and not _OTHER.search(name))


def google_models(answer: object) -> tuple[str, ...]:
    """`{"models": [{"name": "models/…"}]}`, of those that generate text."""
    able = [one for one in items(tree(answer).get("models")) if "generateContent" in _methods(one)]
    return _names(short(one.get("name")).removeprefix("models/") for one in able)


def chatgpt_models(answer: object) -> tuple[str, ...]:
    """`{"models": [{"slug": …}]}`, as Codex asks for it."""
    return _names(one.get("slug") for one in items(tree(answer).get("models")))


def _methods(model: Mapping[str, Any]) -> Collection[object]:
    given = model.get("supportedGenerationMethods")
    return given if isinstance(given, list) else ()


def _names(found: Any) -> tuple[str, ...]:
    """Bounded names in one line each, none twice."""
    names = (short(one) for one in found)
    return tuple(dict.fromkeys(name for name in names if name and name.isprintable() and " " not in name))[:MAX_MODELS]


def anthropic_source(host: str, base: str, port: int = 443) -> ModelSource:
    return ModelSource(host, f"{base}/models?limit=1000", openai_models, ANTHROPIC_VERSION, port)


def openai_source(host: str, base: str, port: int = 443) -> ModelSource:
    return ModelSource(host, f"{base}/models", openai_own if host == "api.openai.com" else openai_models, port=port)


def google_source(host: str) -> ModelSource:
    return ModelSource(host, "/v1beta/models?pageSize=1000", google_models)


def chatgpt_source(host: str, version: str) -> ModelSource:
    return ModelSource(host, f"/backend-api/codex/models?client_version={version}", chatgpt_models)
