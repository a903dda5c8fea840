"""What tokens cost, from a maintained table inside a package (genai-prices): offline, never fetched at run time.

An unknown model or host has no price, and no price is None: "price unknown" on screens, never 0. Importing the
table takes a third of a second: it is loaded by the first question, which the controller asks off its loop.
"""

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sidecar.meter.usage import Usage

SAME_PRICES = {"chatgpt.com": "api.openai.com"}
"""A subscription's host is priced as the API: what its tokens would have cost."""

_TIERS = frozenset(("default", "fast", "flex", "priority"))


def price(usage: Usage, host: str, at: datetime | None = None) -> Decimal | None:
    """US dollars for one usage (without `usage.also`, whose models differ), or None where the price is unknown.

    `host` says who charges: a model of the same name served elsewhere, or by this machine itself, costs something
    else. What the provider itself says that it charged goes before the table. `at` is when, for prices that changed.
    """
    if not usage.billable:
        return Decimal(0)
    if usage.cost_usd is not None:
        return usage.cost_usd
    if usage.total == 0 or not usage.model:
        return None if usage.unmetered or not usage.model else Decimal(0)
    return _from_table(usage, host.lower(), at)


@lru_cache(256)
def priced_as(host: str) -> str:
    """The host by which the table knows who charges: for a region (`eu.api.openai.com`) that of all of them."""
    from genai_prices.data_snapshot import get_snapshot

    same = SAME_PRICES.get(host, host)
    for candidate in (same, same.partition(".")[2]):
        try:
            get_snapshot().find_provider(None, None, f"https://{candidate}/")
        except LookupError:
            continue
        return candidate
    return same


def _from_table(usage: Usage, host: str, at: datetime | None) -> Decimal | None:
    from genai_prices import calc_price

    host = priced_as(host)
    tier = {"service_tier": usage.service_tier} if usage.service_tier in _TIERS else None
    try:
        found = calc_price(
            _tokens(usage),
            usage.model,
            provider_api_url=f"https://{host}/",
            genai_request_timestamp=at,
            price_context=tier,
        )
    except (LookupError, ValueError):
        return None
    rates = found.model_price
    if (usage.context and rates.input_mtok is None) or (usage.output and rates.output_mtok is None):
        return None  # known by name, not by price
    return found.total_price


def _tokens(usage: Usage) -> Any:
    """The package counts what was cached into the input, and a cache's lifetimes into its writes."""
    from genai_prices import Usage as Tokens

    parts: dict[str, int] = {
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "web_searches": usage.web_searches,
        "storage_searches": usage.file_searches,
    }
    said = {name: number for name, number in parts.items() if number}
    return Tokens(input_tokens=usage.context, output_tokens=usage.output, **said)
