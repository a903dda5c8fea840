"""What a million tokens of each model cost, and searches of the web, for sidecars that keep a budget in dollars: they
may not load the table themselves. From the same package as `sidecar.meter.prices`, and dearer rather than cheaper where
a price has steps.

A model that is not in the table has no rate, and is refused under such a budget: an unknown price is never 0.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sidecar.allowance import Metered, Rate
from sidecar.meter.prices import priced_as

MOST = 2500
"""Rates of one provider (OpenRouter's models have 1,100 names); a sidecar takes 5,000 in all."""


def load() -> None:
    """Load the table: 0.4 s, beside the loop."""
    _at_host("api.anthropic.com")


def of(provider: str, metered: Iterable[Metered]) -> dict[str, Rate]:
    """By model, all that this provider's hosts serve."""
    found: dict[str, Rate] = {}
    for entry in metered:
        if entry.provider == provider:
            found |= _at_host(entry.host)
    return dict(list(found.items())[:MOST])


@cache
def _at_host(host: str) -> dict[str, Rate]:
    from genai_prices.data_snapshot import get_snapshot

    url = f"https://{priced_as(host)}/"
    try:
        vendor = get_snapshot().find_provider(None, None, url)
    except LookupError:
        return {}
    found: dict[str, Rate] = {}
    for model in vendor.models:
        rate = _rate(model.get_prices(datetime.now(UTC)))
        if rate is not None:
            found |= dict.fromkeys(_names(model), rate)
    return found


def _rate(prices: Any) -> Rate | None:
    read, write = _dearest(prices.input_mtok), _dearest(prices.output_mtok)
    if read is None or write is None:
        return None
    stored = _dearest(prices.cache_write_mtok)
    return Rate(
        input=read,
        output=write,
        cache_read=_or(_dearest(prices.cache_read_mtok), read),
        cache_write_5m=_or(stored, read),
        # two times the input's price, where five minutes cost one and a quarter (Anthropic's prices)
        cache_write_1h=max(2 * read, _or(stored, read)),
        web_searches=1000 * _or(_dearest(prices.web_searches_kcount), 0.0),
        file_searches=1000 * _or(_dearest(prices.storage_searches_kcount), 0.0),
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _dearest(price: Any) -> float | None:
    """A price, or the highest of its steps."""
    if price is None:
        return None
    steps = getattr(price, "tiers", None)
    if steps is None:
        return float(price)
    return float(max([price.base, *(step.price for step in steps)]))


def _names(model: Any) -> list[str]:
    """How requests may name it: the sidecar looks a name up, then the longest of these that it begins with."""
    return [name for name in {model.id, *_said(model.match)} if 0 < len(name) <= 200]


def _said(clause: Any) -> list[str]:
    for field in ("equals", "starts_with", "contains"):
        if isinstance(text := getattr(clause, field, None), str):
            return [text]
    parts = getattr(clause, "or_", None) or ()
    return [name for part in parts for name in _said(part)]
