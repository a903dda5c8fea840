"""Money: the package's table, and what has no price."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sidecar.meter.counts import openai
from sidecar.meter.prices import price
from sidecar.meter.usage import Usage

MILLION = 1_000_000
OPUS = Usage("anthropic", "claude-opus-4-5-20251101")
AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "dollars"),
    [("input", "5"), ("output", "25"), ("cache_read", "0.5"), ("cache_write_5m", "6.25"), ("cache_write_1h", "10")],
)
def test_each_kind_of_token_has_its_price(field: str, dollars: str) -> None:
    """As on Anthropic's price page of that model."""
    assert price(replace(OPUS, **{field: MILLION}), "api.anthropic.com", AT) == Decimal(dollars)


def test_what_is_not_known_has_no_price_and_never_zero() -> None:
    usage = replace(OPUS, input=1000)
    assert price(replace(usage, model="claude-nobody-9"), "api.anthropic.com") is None
    assert price(replace(usage, model=""), "api.anthropic.com") is None
    assert price(usage, "llm.example.com") is None
    assert price(replace(usage, model="llama3:8b"), "127.0.0.1") is None
    assert price(Usage("", unmetered=True), "api.anthropic.com") is None
    assert price(replace(OPUS, unmetered=True), "api.anthropic.com") is None


def test_what_the_provider_says_it_charged_goes_first() -> None:
    usage = Usage("chat", "nobody/knows", input=5, cost_usd=Decimal("0.00123"))
    assert price(usage, "openrouter.ai") == Decimal("0.00123")


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        ({"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 9}}, "0.5"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 1.25}}, "1.25"),
        ({"cost": 0.0625, "is_byok": True, "cost_details": {"upstream_inference_cost": 1.25}}, "1.3125"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
    ],
)
def test_a_key_of_the_users_own_behind_a_reseller_is_paid_too(usage: dict[str, object], dollars: str | None) -> None:
    assert openai({"prompt_tokens": 5, **usage}).cost == (None if dollars is None else Decimal(dollars))


def test_tiers_subscriptions_and_errors() -> None:
    usage = Usage("responses", "gpt-5", input=MILLION, output=MILLION)
    base = price(usage, "api.openai.com", AT)
    assert base is not None
    assert base == Decimal("11.25")
    assert price(usage, "eu.api.openai.com", AT) == base, "a region"
    assert price(replace(usage, service_tier="flex"), "api.openai.com", AT) == base / 2
    assert price(replace(usage, service_tier="surprise"), "api.openai.com", AT) == base
    assert price(usage, "chatgpt.com", AT) == base
    assert price(replace(usage, billable=False), "api.openai.com") == 0
    assert price(replace(usage, web_searches=1000), "api.openai.com", AT) == base + 10
    assert price(replace(usage, file_searches=1000), "api.openai.com", AT) == base + Decimal("2.5")
    grounded = replace(usage, model="gemini-2.5-pro", web_searches=1000)
    google = "generativelanguage.googleapis.com"
    plain = price(replace(grounded, web_searches=0), google, AT)
    assert plain is not None
    assert price(grounded, google, AT) == plain + 35
    other = price(replace(usage, model="claude-sonnet-4-5"), "api.anthropic.com", AT)
    assert other is not None
    assert price(replace(usage, model="claude-sonnet-4-5", file_searches=9), "api.anthropic.com", AT) == other


def test_prices_are_read_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a price was asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert price(replace(OPUS, input=MILLION, output=1), "api.anthropic.com")
