"""Rates for budgets in dollars: every model that has a price has one, of every vendor at once."""

from app.controller import rates
from app.providers.vendors import VENDORS
from sidecar.allowance import Allowance, Metered


def test_every_price_of_every_vendor_reaches_the_sidecar() -> None:
    metered = [Metered(provider=vendor.name, host=vendor.host) for vendor in VENDORS.values()]
    found = {entry.provider: rates.of(entry.provider, metered) for entry in metered}
    assert Allowance(rates=found).rates == found
    for entry in metered:
        assert len(found[entry.provider]) == len(rates._at_host(entry.host)) > 0


def test_what_a_search_costs_reaches_it_too() -> None:
    found = rates.of("openai", [Metered(provider="openai", host="api.openai.com")])
    assert found["gpt-4.1"].web_searches == 10_000, "ten dollars a thousand"
    assert found["gpt-4.1"].file_searches == 2_500
    gemini = rates.of("gemini", [Metered(provider="gemini", host="generativelanguage.googleapis.com")])
    assert gemini["gemini-2.5-pro"].web_searches == 35_000
