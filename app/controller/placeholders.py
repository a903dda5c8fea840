"""What stands in a bottle where a credential would be, and the fake secret that gives an exfiltration away.

Pure but for the system's random source. Values here are fakes: they may lie on disk and in the bottle.
"""

import re
import secrets
from collections.abc import Mapping

from sidecar.contract import Placeholder
from sidecar.secret import Secret

RANDOM_BYTES = 16
"""Enough that no two placeholders are ever alike, and none is guessed."""
_WORDS = (
    "AMBER", "ANCHOR", "ATLAS", "AURORA", "BEACON", "BILLING", "CEDAR", "COBALT", "COPPER", "DELTA", "EMBER", "FALCON",
    "GARNET", "HARBOR", "HERALD", "INDIGO", "JUNIPER", "KEYSTONE", "LANTERN", "LEDGER", "MERIDIAN", "NIMBUS", "ONYX",
    "ORBIT", "PAYROLL", "PRISM", "QUARTZ", "RELAY", "SENTRY", "SIGNAL", "SUMMIT", "TALON", "VECTOR", "VERTEX", "WILLOW",
    "ZENITH",
)  # fmt: skip


def placeholder(slug: str, token_ref: str, shape: str = "") -> Placeholder:
    """A value shaped like the credential (`shape` is the prefix its tool expects) that names its bottle when it turns
    up somewhere."""
    bottle = re.sub(r"[^a-z0-9]", "", slug)[:24]
    return Placeholder(token_ref=token_ref, value=f"{shape}carboy-{bottle}-{secrets.token_hex(RANDOM_BYTES)}")


def placeholders(slug: str, shapes: Mapping[str, str]) -> dict[str, Placeholder]:
    """One for each token name; `shapes` maps it to its prefix."""
    return {token_ref: placeholder(slug, token_ref, shape) for token_ref, shape in shapes.items()}


def canary() -> tuple[str, Secret]:
    """Name and value of the fake secret (egress.md, Canary): WORD_WORD_SECRET and 32 random bytes."""
    first = secrets.choice(_WORDS)
    second = secrets.choice([word for word in _WORDS if word != first])
    return f"{first}_{second}_SECRET", Secret(secrets.token_hex(32))
