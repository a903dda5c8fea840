"""Rate-limit windows from an answer's headers, and from Codex's own event. Pure: the clock is an argument."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice

from sidecar.meter.loads import Tree, tree
from sidecar.meter.usage import Window, text_of

MOST_WINDOWS = 32

_UNIFIED = re.compile(r"anthropic-ratelimit-unified-(?P<name>[a-z0-9_]{1,32})-(?P<field>utilization|reset|status)")
_CLASSIC = re.compile(r"anthropic-ratelimit-(?P<name>[a-z-]{1,40})-(?P<field>limit|remaining|reset)")
_OPENAI = re.compile(r"x-ratelimit-(?P<field>limit|remaining|reset)-(?P<name>[a-z0-9_-]{1,40})")
_CODEX = re.compile(
    r"x-codex-(?P<name>(?:[a-z0-9-]{1,40}-)?(?:primary|secondary))-"
    r"(?P<field>used-percent|window-minutes|reset-at|reset-after-seconds)"
)
_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
)
_MINUTES = {300: "5h", 10080: "7d"}
"""Codex names its windows by length; the usual two get the names that Anthropic uses."""


def windows_from_headers(headers: Mapping[str, str], now: float) -> tuple[Window, ...]:
    """All windows that the headers tell of; `headers` have lower-case names."""
    grouped: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in headers.items():
        if "ratelimit" not in name and not name.startswith("x-codex-"):
            continue
        for family, pattern in _FAMILIES:
            match = pattern.fullmatch(name)
            if match:
                grouped.setdefault((family, match["name"]), {})[match["field"]] = value[:64]
                break
    made = (_READERS[family](name, fields, now) for (family, name), fields in islice(grouped.items(), MOST_WINDOWS))
    return tuple(window for window in made if window is not None)


_FAMILIES = (("unified", _UNIFIED), ("classic", _CLASSIC), ("openai", _OPENAI), ("codex", _CODEX))


def _unified(name: str, fields: dict[str, str], now: float) -> Window | None:
    used = number(fields.get("utilization"))
    status = text_of(fields.get("status"), 32)
    if used is None and status == "rejected":
        used = 1.0  # some refusals leave the utilisation out (agents.md)
    resets_at = moment(fields.get("reset"))
    if used is None and resets_at is None:
        return None
    return Window(name, used, resets_at, "subscription", status)


def _counted(name: str, fields: dict[str, str], now: float) -> Window | None:
    limit, remaining = number(fields.get("limit")), number(fields.get("remaining"))
    if limit is None or remaining is None or limit <= 0:
        return None
    reset = fields.get("reset")
    resets_at = moment(reset)
    if resets_at is None or resets_at < 1_000_000_000:  # a plain number here is seconds from now
        lasts = duration(reset)
        resets_at = None if lasts is None else now + lasts
    return Window(name, max(0.0, 1 - remaining / limit), resets_at)


def _codex(name: str, fields: dict[str, str], now: float) -> Window | None:
    percent, minutes = number(fields.get("used-percent")), number(fields.get("window-minutes"))
    return _codex_window(name, percent, minutes, fields.get("reset-at"), fields.get("reset-after-seconds"), now)


def _codex_window(
    name: str, percent: float | None, minutes: float | None, at: object, after: object, now: float
) -> Window | None:
    if percent is None or (not percent and not minutes):  # an unused slot says zero everywhere
        return None
    family, _, _slot = name.rpartition("-")
    length = _MINUTES.get(int(minutes or 0)) or (f"{int(minutes)}min" if minutes else name)
    resets_at = moment(at)
    lasts = number(after)
    if resets_at is None and lasts is not None:
        resets_at = now + lasts
    return Window(f"{family}-{length}" if family else length, percent / 100, resets_at, "subscription")


_READERS = {"unified": _unified, "classic": _counted, "openai": _counted, "codex": _codex}


def windows_from_codex(event: Tree, now: float) -> tuple[Window, ...]:
    """Windows in a `codex.rate_limits` event of the WebSocket or the stream."""
    limits = tree(event.get("rate_limits"))
    found: list[Window] = []
    for slot in ("primary", "secondary"):
        window = tree(limits.get(slot))
        percent, minutes = number(window.get("used_percent")), number(window.get("window_minutes"))
        made = _codex_window(slot, percent, minutes, window.get("reset_at"), window.get("reset_after_seconds"), now)
        if made:
            found.append(made)
    return tuple(found)


def number(value: object) -> float | None:
    """A finite number of zero or more, from a header's text or from JSON."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < 1e15 else None  # false for nan and inf


def moment(value: object) -> float | None:
    """Unix time, from seconds or milliseconds or RFC 3339."""
    found = number(value)
    if found is not None:
        return found / 1000 if found > 1e11 else found
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        parsed = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def duration(value: object) -> float | None:
    """Seconds: `1s`, `6m0s`, `88ms`, `1.5s`, or a plain number."""
    found = number(value)
    if found is not None or not isinstance(value, str):
        return found
    match = _DURATION.fullmatch(value.strip())
    if not match or not value.strip():
        return None
    days, hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + millis / 1000
