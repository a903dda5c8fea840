"""Which LLM API the settings mean, and what of it a bottle may reach."""

from typing import Any

import pytest

from app.errors import ConfigError
from app.providers.endpoint import endpoint
from app.providers.vendors import VENDORS
from sidecar.contract import Policy
from sidecar.egress.policy import CompiledPolicy, RequestFacts
from tests.providers.contexts import manifest

OWN: dict[str, Any] = {
    "provider": "company",
    "base_url": "https://llm.company.example:8443/ai/v1/",
    "models": ["large"],
}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "anthropic"),
        ({"provider": "groq"}, "groq"),
        ({"model": "openai/gpt-5.2"}, "openai"),
        ({"model": "sonnet"}, "anthropic"),
        ({"provider": "openrouter", "model": "openai/gpt-5.2"}, "openrouter"),
    ],
)
def test_the_vendor_is_named_or_follows_from_the_model(settings: dict[str, Any], name: str) -> None:
    assert endpoint(manifest(**settings)).vendor is VENDORS[name]


def test_an_api_of_ones_own() -> None:
    chosen = endpoint(manifest(**OWN, context_window=200000))
    assert (chosen.base_url, chosen.models, chosen.context_window) == (
        "https://llm.company.example:8443/ai/v1",
        ("large",),
        200000,
    )
    assert chosen.vendor.route.ports == (8443,)
    assert chosen.vendor.credential("LLM_KEY").env == "COMPANY_API_KEY"
    policy = CompiledPolicy.compile(Policy(routes=(chosen.vendor.route,)))

    def allowed(method: str, path: str, port: int = 8443) -> bool:
        return policy.decide(RequestFacts("llm.company.example", port, method, path)).allowed

    assert allowed("POST", "/ai/v1/chat/completions")
    assert allowed("GET", "/ai/v1/models")
    assert not allowed("POST", "/ai/v1/files")
    assert not allowed("POST", "/v1/chat/completions")
    assert not allowed("POST", "/ai/v1/chat/completions", 443)


def test_an_anthropic_api_of_ones_own() -> None:
    chosen = endpoint(manifest(**OWN, api="anthropic-messages"))
    assert chosen.vendor.header == "x-api-key"
    assert chosen.base_url == "https://llm.company.example:8443/ai"  # its clients add the version themselves
    paths = [path.value for match in chosen.vendor.matches for path in match.paths]
    assert paths == ["/ai/v1/messages", "/ai/v1/messages/count_tokens", "/ai/v1/models"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"provider": "Bad Name"}, "provider"),
        ({"provider": 7}, "provider"),
        ({"models": ["x"]}, "models"),
        ({"api": "openai-completions"}, "api"),
        (OWN | {"base_url": "http://llm.company.example"}, "base_url"),
        (OWN | {"base_url": "https://user:pass@llm.company.example"}, "base_url"),
        (OWN | {"base_url": "https://*.company.example"}, "base_url"),
        (OWN | {"base_url": "https://x.example/v1?key=1"}, "base_url"),
        (OWN | {"base_url": "https://x.example:port"}, "base_url"),
        (OWN | {"base_url": 5}, "base_url"),
        (OWN | {"api": "smoke"}, "api"),
        (OWN | {"models": []}, "models"),
        (OWN | {"models": [5]}, "models"),
        (OWN | {"context_window": "big"}, "context_window"),
        (OWN | {"context_window": True}, "context_window"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint(manifest(**settings))
    assert caught.value.key == f"agent_provider.settings.{key}"
    assert caught.value.hint


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=lambda vendor: vendor.name)
def test_a_vendors_route_is_its_models_alone(vendor) -> None:
    policy = CompiledPolicy.compile(Policy(routes=(vendor.route,)))
    assert vendor.route.dlp.outbound_on_match == "redact"
    for method, path in (("POST", "/v1/files"), ("GET", "/v1/files"), ("POST", "/"), ("DELETE", "/v1/models/x")):
        assert not policy.decide(RequestFacts(vendor.host, 443, method, path)).allowed
