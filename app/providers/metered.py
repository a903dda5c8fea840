"""Whose tokens a request costs, by host: a launch's own provider under its template's name, every known LLM vendor
under the vendor's. Pure."""

from app.core.schema import Manifest
from app.providers.base import Provider
from app.providers.registry import names
from app.providers.vendors import VENDORS
from sidecar.allowance import Metered

SUBSCRIPTIONS = {"chatgpt.com": "openai"}
"""Hosts that serve a vendor's models to subscribers."""


def metered(provider: Provider, manifest: Manifest) -> tuple[Metered, ...]:
    """What is metered in a bottle of this provider: its hosts whole, since what costs nothing there says so itself."""
    hosts = {entry.host: provider.name for entry in provider.metered(manifest)}
    vendors = {vendor.host: vendor.name for vendor in VENDORS.values()}
    # a vendor's regions: eu.api.openai.com, eu-west-1.api.x.ai
    known = {f"*.{host}": name for host, name in vendors.items()} | vendors | SUBSCRIPTIONS
    if provider.name == "codex":
        known |= dict.fromkeys(SUBSCRIPTIONS, provider.name)
    hosts = {f"*.{host}": name for host, name in hosts.items() if host in vendors} | hosts
    return tuple(Metered(provider=name, host=host) for host, name in {**known, **hosts}.items())


def countable() -> tuple[str, ...]:
    """All names that anything can be counted under, in any bottle: an agent's, or a vendor's."""
    return tuple(sorted({*names(), *VENDORS} - {"shell"}))
