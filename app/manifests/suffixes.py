"""Which domains have subdomains of many owners: public suffixes and shared hosting. Reads the list that is installed
with the `publicsuffixlist` package, on first need; it must never ask the network."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

_OBJECT_STORES = frozenset(
    {
        # Hosts where anyone gets a name or a bucket and that the public suffix list does not carry.
        "storage.googleapis.com",
        "r2.cloudflarestorage.com",
        "digitaloceanspaces.com",
        "backblazeb2.com",
        "wasabisys.com",
        "supabase.co",
        "ngrok.io",
        "trycloudflare.com",
        "hf.space",
        "sharepoint.com",
        "slack.com",
        "zendesk.com",
        "oast.fun",
        "oast.pro",
        "oastify.com",
        "requestcatcher.com",
        "webhook.site",
        "pipedream.net",
    }
)


@dataclass(frozen=True)
class _Suffixes:
    exact: frozenset[str]
    any_below: frozenset[str]
    """Domains each of whose direct subdomains is a suffix (`*.ck`)."""
    exceptions: frozenset[str]
    above: frozenset[str]
    """Domains that have a suffix below them (amazonaws.com, for s3.amazonaws.com)."""


def shared_domain(domain: str) -> str | None:
    """Why `*.domain` would cover names of many owners; None where the domain has one owner."""
    known = _load()
    parent = domain.partition(".")[2]
    if domain in known.exact or domain in known.any_below or "." not in domain:
        return f"{domain} is a public suffix"
    if parent in known.any_below and domain not in known.exceptions:
        return f"{domain} is a public suffix"
    if domain in _OBJECT_STORES:
        return f"{domain} is a shared host"
    if domain in known.above:
        return f"there are public suffixes below {domain}"
    if any(store.endswith(f".{domain}") for store in _OBJECT_STORES):
        return f"there are shared hosts below {domain}"
    return None


@cache
def _load() -> _Suffixes:
    text = (resources.files("publicsuffixlist") / "public_suffix_list.dat").read_text("utf-8")
    rules = {
        _ascii(line.split()[0].lower()) for line in text.splitlines() if line.strip() and not line.startswith("//")
    }
    below = frozenset(rule[2:] for rule in rules if rule.startswith("*."))
    exceptions = frozenset(rule[1:] for rule in rules if rule.startswith("!"))
    exact = frozenset(rule for rule in rules if rule[0] not in "*!")
    return _Suffixes(exact, below, exceptions, _parents(exact | below))


def _parents(rules: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for rule in rules:
        labels = rule.split(".")
        found.update(".".join(labels[start:]) for start in range(1, len(labels)))
    return frozenset(found)


def _ascii(rule: str) -> str:
    return rule if rule.isascii() else rule.encode("idna").decode()
