"""What a manifest may say already and this version does not act on yet. Pure. Shown before every launch: what cannot be
held is told, not discovered. A capability that lands takes its line away here."""

from app.core.schema import Manifest

_NOT_YET = ("egress.log",)


def not_acted_on(manifest: Manifest) -> tuple[str, ...]:
    """One warning that names the keys that somebody set, each with who did; nothing where there are none."""
    found = [f"{path} (from {source})" for path, source in manifest.provenance.items() if _later(path)]
    return (f"This version does not act on these yet: {', '.join(sorted(found))}",) if found else ()


def _later(path: str) -> bool:
    return any(path == key or path.startswith((key + ".", key + "[")) for key in _NOT_YET)
