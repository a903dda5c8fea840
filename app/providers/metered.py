"""Whose tokens a request costs, by host: a launch's own provider under its template's name, every known LLM vendor
under the vendor's. Pure."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from app.core.schema import Manifest
from app.providers.base import Provider
from app.providers.registry import names
from app.providers.vendors import VENDORS
from sidecar.allowance import Metered
from sidecar.contract import host_pattern

SUBSCRIPTIONS = {"chatgpt.com": "openai"}
"""Hosts that serve a vendor's models to subscribers."""


ADDRESSES = {
    "ANTHROPIC_BASE_URL": "anthropic",
    "ANTHROPIC_BEDROCK_BASE_URL": "anthropic",
    "ANTHROPIC_VERTEX_BASE_URL": "anthropic",
    "OPENAI_BASE_URL": "openai",
    "OPENAI_API_BASE": "openai",
    "GOOGLE_GEMINI_BASE_URL": "google",
    "GOOGLE_VERTEX_BASE_URL": "google",
}
"""Variables by which clients of a vendor's API are led to another address: what is asked there costs as well."""


def metered(provider: Provider, manifest: Manifest, env: Mapping[str, str]) -> tuple[Metered, ...]:
    """What is metered in a bottle of this provider: its hosts whole, since what costs nothing there says so itself.

    `env` are the bottle's own variables.
    """
    hosts = {entry.host: provider.name for entry in provider.metered(manifest)}
    vendors = {vendor.host: vendor.name for vendor in VENDORS.values()}
    # a vendor's regions: eu.api.openai.com, eu-west-1.api.x.ai
    known = {f"*.{host}": name for host, name in vendors.items()} | vendors | SUBSCRIPTIONS
    if provider.name == "codex":
        known |= dict.fromkeys(SUBSCRIPTIONS, provider.name)
    hosts = {f"*.{host}": name for host, name in hosts.items() if host in vendors} | hosts
    found = {**known, **hosts}
    led = {host: found[vendors_host] for host, vendors_host in _led(env)}
    return tuple(Metered(provider=name, host=host) for host, name in {**led, **found}.items())


def _led(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Hosts that the variables name, each with that of the vendor whose API is spoken there."""
    for name, vendor in ADDRESSES.items():
        try:
            yield host_pattern(urlsplit(env[name]).hostname or ""), VENDORS[vendor].host
        except (KeyError, ValueError):
            continue


def countable() -> tuple[str, ...]:
    """All names that anything can be counted under, in any bottle: an agent's, or a vendor's."""
    return tuple(sorted({*names(), *VENDORS} - {"shell"}))
