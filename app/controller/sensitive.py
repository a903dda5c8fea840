"""Which values of a bottle's own environment count as secrets (`sensitive_env`), and how they are kept for a restarted
sidecar: with the session holder, in memory, never on disk. Pure.
"""

import json
from collections.abc import Mapping

from app.controller.plan import Plan
from sidecar.secret import Secret

SENSITIVE = "sensitive"
"""Under which the session holder keeps them."""
LEAST = 4
"""A shorter value stands in every text."""


def sensitive(plan: Plan) -> dict[str, Secret]:
    """Names and values. `PREFIX_*` covers every variable that begins so."""
    patterns = plan.manifest.bottle.sensitive_env
    return {
        name: Secret(value)
        for name, value in plan.env.items()
        if len(value) >= LEAST and any(covers(pattern, name) for pattern in patterns)
    }


def covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def packed(values: Mapping[str, Secret]) -> Secret:
    return Secret(json.dumps({name: value.reveal() for name, value in values.items()}))


def unpacked(kept: Secret) -> dict[str, Secret]:
    return {str(name): Secret(str(value)) for name, value in json.loads(kept.reveal()).items()}
