"""Which requests cost whose tokens, compiled from `Policy.metered`. Pure."""

from dataclasses import dataclass, field

from sidecar.allowance import Metered
from sidecar.egress import paths


@dataclass(frozen=True)
class MeteredHosts:
    """Of the entries for a host the most specific pattern counts, as with routes."""

    _exact: dict[str, tuple[Metered, ...]] = field(default_factory=dict[str, tuple[Metered, ...]])
    _below: dict[str, tuple[Metered, ...]] = field(default_factory=dict[str, tuple[Metered, ...]])

    @classmethod
    def compile(cls, entries: tuple[Metered, ...]) -> "MeteredHosts":
        exact: dict[str, tuple[Metered, ...]] = {}
        below: dict[str, tuple[Metered, ...]] = {}
        for entry in entries:
            table, key = (below, entry.host[2:]) if entry.host.startswith("*.") else (exact, entry.host)
            table[key] = (*table.get(key, ()), entry)
        return cls(exact, below)

    def provider_of(self, host: str, target: str) -> str | None:
        """The provider whose tokens a request costs; None if it costs nobody's."""
        entries = self._exact.get(host) or self._wildcard(host)
        if not entries:
            return None
        path = paths.canonical(paths.split(target)[0])
        for entry in entries:
            if path is None or not entry.paths or any(paths.below(prefix, path) for prefix in entry.paths):
                return entry.provider
        return None

    def _wildcard(self, host: str) -> tuple[Metered, ...]:
        rest = host
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in self._below:
                return self._below[rest]
        return ()
