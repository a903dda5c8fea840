"""Whose tokens the hosts of LLM vendors cost."""

import pytest

from app.core.schema import Manifest
from app.providers.metered import metered
from app.providers.registry import provider
from sidecar.egress.metered import MeteredHosts


@pytest.mark.parametrize(
    ("name", "host", "whose"),
    [
        ("codex", "api.openai.com", "codex"),
        ("codex", "eu.api.openai.com", "codex"),
        ("claude", "us.api.openai.com", "openai"),
        ("claude", "eu-west-1.api.x.ai", "xai"),
        ("claude", "api.anthropic.com", "claude"),
        ("claude", "openai.com", None),
        ("claude", "notapi.openai.com", None),
    ],
)
def test_a_vendor_s_regions_are_metered_as_it_is(name: str, host: str, whose: str | None) -> None:
    hosts = MeteredHosts.compile(metered(provider(name), Manifest(), {}))
    assert hosts.provider_of(host, "/v1/responses") == whose


@pytest.mark.parametrize(
    ("name", "variable", "whose"),
    [
        ("claude", "ANTHROPIC_BASE_URL", "claude"),
        ("claude", "ANTHROPIC_BEDROCK_BASE_URL", "claude"),
        ("codex", "OPENAI_BASE_URL", "codex"),
        ("gemini", "GOOGLE_GEMINI_BASE_URL", "gemini"),
        ("shell", "OPENAI_API_BASE", "openai"),
        ("shell", "UNRELATED_BASE_URL", None),
    ],
)
def test_an_address_to_which_a_variable_leads_is_metered(name: str, variable: str, whose: str | None) -> None:
    env = {variable: "https://LLM.company.example:8443/v1", "GOOGLE_VERTEX_BASE_URL": "no address"}
    hosts = MeteredHosts.compile(metered(provider(name), Manifest(), env))
    assert hosts.provider_of("llm.company.example", "/v1/messages") == whose
