"""Vendors' lists of models are read as what they are: somebody else's text; and there is always something to offer."""

from typing import Any

import pytest

from app.core.schema import AgentProvider, Bottle, Manifest
from app.errors import ConfigError
from app.providers import models
from app.providers.registry import names, provider
from tests.providers.contexts import context, manifest


def test_openais_list_without_what_no_agent_can_talk_to() -> None:
    listed = ["gpt-6-sol", "gpt-realtime-2.1", "text-embedding-3-large", "o3", "gpt-4o-audio-preview", "dall-e-3"]
    assert models.openai_own({"data": [{"id": name} for name in listed]}) == ("gpt-6-sol", "o3")
    assert models.openai_models({"data": [{"id": name} for name in listed]}) == tuple(listed)


def test_googles_list_of_those_that_generate() -> None:
    answer = {
        "models": [
            {"name": "models/gemini-3.8-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
            {"name": "models/text-embedding-004", "supportedGenerationMethods": ["embedContent"]},
        ]
    }
    assert models.google_models(answer) == ("gemini-3.8-flash",)


def test_codexs_list() -> None:
    assert models.chatgpt_models({"models": [{"slug": "gpt-6-astra"}, {"slug": None}]}) == ("gpt-6-astra",)


@pytest.mark.parametrize("read", [models.openai_models, models.openai_own, models.google_models, models.chatgpt_models])
@pytest.mark.parametrize(
    "answer",
    [None, [], {"data": 3}, {"data": [3, {"id": 7}], "models": [None, {"name": [], "slug": {}}]}, "x",
     {"models": [{"name": "x", "supportedGenerationMethods": 5}]}],
    ids=str,
)  # fmt: skip
def test_rubbish_is_no_list(read: Any, answer: object) -> None:
    assert read(answer) == ()


def test_names_are_bounded_and_harmless() -> None:
    many = [{"id": f"m{number}"} for number in range(2000)]
    assert len(models.openai_models({"data": many})) == models.MAX_MODELS
    bad = [{"id": "a b"}, {"id": "\x1b[31m"}, {"id": "x" * 5000}, {"id": "ok"}, {"id": "ok"}]
    assert models.openai_models({"data": bad}) == ("x" * 100, "ok")


@pytest.mark.parametrize("name", [name for name in names() if name != "shell"])
def test_each_agent_has_a_list_to_ask_for_at_a_host_whose_route_lets_it(name: str) -> None:
    made = provider(name)
    assert made.models(manifest())
    source = made.model_source(manifest())
    assert source is not None
    (route,) = made.routes(manifest())
    assert (source.host, source.port) == (route.host, route.ports[0])
    assert source.host in {one.host for one in made.credentials(manifest())}
    assert made.tested_versions


def test_an_api_of_ones_own_is_asked_itself() -> None:
    own = manifest("LLM_KEY", provider="company", base_url="https://llm.company.example:8443/v1", models=["large"])
    source = provider("pi").model_source(own)
    assert source is not None
    assert (source.host, source.port, source.path) == ("llm.company.example", 8443, "/v1/models")
    assert provider("pi").models(own) == ("large",)


def test_a_login_asks_where_it_is_valid() -> None:
    forwards = Manifest(bottle=Bottle(agent_provider=AgentProvider(forward_host_credentials=True)))
    source = provider("codex").model_source(forwards)
    assert source is not None
    assert source.host == "chatgpt.com"


def test_claude_falls_back_to_another_model() -> None:
    argv = provider("claude").prepare(context(manifest(model="opus", fallback_model=["sonnet", "haiku"]))).command.argv
    assert argv[argv.index("--fallback-model") + 1] == "sonnet,haiku"
    argv = provider("claude").prepare(context(manifest(fallback_model="sonnet"))).command.argv
    assert argv[argv.index("--fallback-model") + 1] == "sonnet"
    for bad in (3, ["-x"], [1]):
        with pytest.raises(ConfigError, match="not a model"):
            provider("claude").check(manifest(fallback_model=bad))
    with pytest.raises(ConfigError, match="knows no setting"):
        provider("codex").check(manifest(fallback_model="x"))


def test_what_costs() -> None:
    costs = {
        name: [(one.provider, one.host, one.paths) for one in provider(name).metered(manifest())] for name in names()
    }
    assert costs["claude"] == [("claude", "api.anthropic.com", ("/v1/messages", "/v1/messages/count_tokens"))]
    assert costs["gemini"] == [("gemini", "generativelanguage.googleapis.com", ())]
    assert costs["shell"] == []
    assert costs["codex"][0][:2] == ("codex", "api.openai.com")


def test_tokens_are_counted_offline() -> None:
    words = b'{"model": "gpt-6-sol", "input": "' + b"the quick brown fox " * 500 + b'"}'
    assert 1500 < provider("codex").count_tokens(words) < 3000
    assert provider("claude").count_tokens(words.replace(b"gpt-6-sol", b"claude-x")) > provider("codex").count_tokens(
        words
    )
    assert provider("pi").count_tokens(b"") == 0
