"""What a manifest may say already and this version does not act on yet. Pure. Shown before every launch: what cannot be
held is told, not discovered. A capability that lands takes its line away here."""

from app.core.schema import Manifest
from sidecar.contract import RouteDlp

_NOT_YET = (
    "sensitive_env",
    "runtime",
    "limits.disk",
)


def not_acted_on(manifest: Manifest) -> tuple[str, ...]:
    """One warning that names the keys that somebody set, each with who did; nothing where there are none."""
    found = [f"{path} (from {source})" for path, source in manifest.provenance.items() if _later(path)]
    found += [f"dlp of {route.host}" for route in manifest.bottle.egress.routes if route.dlp != RouteDlp()]
    return (f"This version does not act on these yet: {', '.join(sorted(found))}",) if found else ()


def _later(path: str) -> bool:
    return any(path == key or path.startswith((key + ".", key + "[")) for key in _NOT_YET)
