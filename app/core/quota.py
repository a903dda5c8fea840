"""How full a bottle's writable layers are, and when to look again. Pure. Sampled: what writes faster than it is looked
at goes over its limit by what it wrote meanwhile."""

from typing import Literal

DEFAULT = 40 * 1024**3
"""Bytes, where a bottle says nothing: hardening.md, Disk."""
WARN, FULL = 0.80, 0.95
_SELDOM, _OFTEN, _CLOSE = 300.0, 30.0, 5.0

type Standing = Literal["room", "warn", "full"]


def standing(used: int, limit: int) -> Standing:
    if used >= limit * FULL:
        return "full"
    return "warn" if used >= limit * WARN else "room"


def next_look(used: int, limit: int, took: float) -> float:
    """Seconds. A limit of some gigabytes is filled in seconds; looking must not cost more than a fiftieth of them."""
    share = used / limit
    wanted = _CLOSE if share >= WARN or limit - used < 4 * 1024**3 else _OFTEN if share >= 0.5 else _SELDOM
    return max(wanted, took * 50)


def raised(used: int, limit: int) -> int:
    """The limit once the operator let a full bottle go on: it is warned of again with a tenth more than what it uses,
    and paused with 30 % more."""
    return max(limit, int(used * 1.1 / WARN))
