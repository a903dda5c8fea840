"""Numbers as people write them: `4GiB`, `90m`, `500k`, `$20`. Pure; every fault is a ValueError that says the form."""

import re

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_TIME_PART = re.compile(r"([0-9]+)\s*(d|h|m|s)", re.IGNORECASE)
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([km]?)", re.IGNORECASE)
_USD = re.compile(r"(?:\$\s*([0-9]+(?:\.[0-9]+)?)|([0-9]+(?:\.[0-9]+)?)\s*usd)", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
LARGEST = 2**63 - 1
"""What SQLite and the kernel's limits hold."""


def size(text: str) -> int:
    """Bytes of `4GiB`, `512M` or `1.5g`. Every unit is a power of 1024: nobody who limits memory means less."""
    found = _SIZE.fullmatch(text.strip())
    if len(text) > 40 or not found or (found[3] and not found[2]):
        raise ValueError(f"not a size: {text[:40]!r}; write a number of bytes, or 512MiB, 4GiB")
    return _bounded(float(found[1]) * 1024 ** _POWER[found[2].lower()], text)


def seconds(text: str) -> int:
    """Seconds of `90m`, `1h30m`, `2d` or `45s`."""
    stripped = text.strip()
    parts = _TIME_PART.findall(stripped)
    if len(text) > 40 or not parts or _TIME_PART.sub("", stripped).strip():
        raise ValueError(f"not a length of time: {text[:40]!r}; write a number of seconds, or 45s, 90m, 1h30m, 2d")
    return _bounded(sum(int(number) * _SECONDS[unit.lower()] for number, unit in parts), text)


def tokens(text: str) -> int:
    """Tokens of `500k`, `5M`, `5_000_000` or `250000`."""
    found = _COUNT.fullmatch(text.strip().replace("_", "").replace(",", ""))
    if len(text) > 40 or not found:
        raise ValueError(f"not a number of tokens: {text[:40]!r}; write 250000, 500k or 5M, or usd: 20 for money")
    return _bounded(float(found[1]) * 1000 ** _POWER[found[2].lower()], text)


def budget(text: str) -> dict[str, int | float]:
    """`500k` → `{"tokens": 500000}`, `$20` or `20usd` → `{"usd": 20.0}`."""
    found = _USD.fullmatch(text.strip()) if len(text) <= 40 else None
    return {"usd": float(found[1] or found[2])} if found else {"tokens": tokens(text)}


def _bounded(value: float, text: str) -> int:
    if not 0 < value <= LARGEST:
        raise ValueError(f"out of range: {text[:40]!r}")
    return int(value)
