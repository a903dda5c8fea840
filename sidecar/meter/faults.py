"""What an LLM API's error means (hardening.md): its class, when to try again, and the sentence the user sees. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import Window, text_of
from sidecar.meter.windows import duration, moment, number

FaultKind = Literal["rate_limit", "auth", "quota", "overloaded", "network", "too_long", "unknown"]

MOST_WAIT = 31 * 24 * 3600.0
"""A month's quota is the longest wait a provider can mean."""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: FaultKind
    status: int | None
    code: str
    """The provider's own name for it."""
    detail: str
    """The provider's own words, printable and bounded. Text from outside: never markup."""
    retry_after: float | None
    """Seconds that the provider asks to wait."""
    retryable: bool

    @property
    def message(self) -> str:
        """What the user sees."""
        sentence = _SENTENCES[self.kind]
        if self.retry_after:
            sentence += f" It asks to wait {wait_text(self.retry_after)}."
        return f"{sentence} ({self.detail})" if self.detail else sentence


_SENTENCES: dict[FaultKind, str] = {
    "rate_limit": "The provider limits requests for now; an agent tries again by itself for a while.",
    "auth": "The provider refused the credential: check the secret that this bottle's route uses.",
    "quota": "The account's quota or credit is used up.",
    "overloaded": "The provider is overloaded; an agent tries again by itself for a while.",
    "network": "The provider could not be reached or broke the connection.",
    "too_long": "The agent sent more than the model takes at once: let it compact its conversation, or begin anew.",
    "unknown": "The provider answered with an error.",
}

_RETRYABLE: frozenset[FaultKind] = frozenset(("rate_limit", "overloaded", "network"))

_QUOTA = re.compile(
    r"insufficient_quota|insufficient_credits|billing|usage_limit_reached|usage_not_included|credit balance|"
    r"quota_exceeded|exceeded your current quota|spend(?:ing)?.?(?:limit|cap)|out of credits|PerDay|"
    r"workspace_owner_.*depleted|rate_limit_reached_type.*credits",
    re.IGNORECASE,
)
_OVERLOADED = re.compile(r"overloaded|slow_down|capacity|UNAVAILABLE|server_is_overloaded", re.IGNORECASE)
_AUTH = re.compile(
    r"authentication_error|permission_error|invalid_api_key|invalid_authentication|UNAUTHENTICATED|"
    r"PERMISSION_DENIED|API_KEY_INVALID|token_expired|account_deactivated|OAuth",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"rate_limit|too_many_requests|RESOURCE_EXHAUSTED|tokens_exceeded", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context_length_exceeded|request_too_large|prompt is too long|input is too long|exceeds? the context window|"
    r"exceeds? (?:the )?context limit|maximum context length|available context size|"
    r"input token count\b.{0,40} exceeds|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
_NETWORK = frozenset((408, 499, 502, 504, *range(520, 528)))
"""Timeouts and gateways; 520 to 527 are Cloudflare's, in front of several providers."""

_TRY_AGAIN = re.compile(r"(?:try|retry) (?:again )?in ((?:\d+(?:\.\d+)?(?:ms|[dhms]))+)")


def classify(
    status: int | None,
    headers: Mapping[str, str],
    body: Tree,
    *,
    now: float,
    windows: tuple[Window, ...] = (),
) -> Fault:
    """The fault of an answer with this status (None: it came inside a stream), header names in lower case."""
    error = _error(body)
    status = status or _status_inside(body, error)
    code = next((text_of(error.get(name), 80) for name in ("code", "type", "status") if text_of(error.get(name))), "")
    detail = text_of(error.get("message"), 300)
    told = " ".join(text_of(error.get(name), 300) for name in ("code", "type", "status", "message")) + _quotas(error)
    kind = _kind(status, told, headers)
    retry_after = _wait(headers, error, detail, now)
    if retry_after is None and kind in ("rate_limit", "quota"):
        spent = [w.resets_at - now for w in windows if w.resets_at is not None and (w.used_fraction or 0) >= 1]
        retry_after = max(spent, default=None)
    if retry_after is not None:
        retry_after = min(max(0.0, retry_after), MOST_WAIT)
    again = kind in _RETRYABLE or (kind == "unknown" and status is not None and status >= 500)
    return Fault(kind, status, code, detail, retry_after, again)


def network_fault(detail: str) -> Fault:
    """No answer came, or it broke off."""
    return Fault("network", None, "", text_of(detail, 300), None, True)


def _kind(status: int | None, told: str, headers: Mapping[str, str]) -> FaultKind:
    if status == 402 or _QUOTA.search(told):
        return "quota"
    if status in (401, 403) or (status in (None, 400) and _AUTH.search(told)):
        return "auth"
    if status == 429:
        rejected = headers.get("anthropic-ratelimit-unified-status") == "rejected"
        return "quota" if rejected else "rate_limit"
    if status in (None, 200, 400, 413) and (status == 413 or _TOO_LONG.search(told)):
        return "too_long"
    if status in (503, 529) or (status in (None, 500, 200) and _OVERLOADED.search(told)):
        return "overloaded"
    if status in _NETWORK:
        return "network"
    return "rate_limit" if status in (None, 200) and _LIMIT.search(told) else "unknown"


def _error(body: Tree) -> Tree:
    """The object that says what went wrong, wherever this provider puts it."""
    for holder in (body, tree(body.get("body")), tree(body.get("response"))):
        error = holder.get("error")
        if tree(error):
            return tree(error)
        if isinstance(error, str):
            return {"message": error}
    return body if "message" in body or "code" in body else {"message": body.get("detail")}


def _status_inside(body: Tree, error: Tree) -> int | None:
    """A status told in the event itself (Codex's WebSocket, OpenRouter's code, Google's code)."""
    for value in (body.get("status"), body.get("status_code"), error.get("code"), error.get("status")):
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return value
    return None


def _quotas(error: Tree) -> str:
    """Google names the quota that was hit in the details: one for a day is not one for a minute."""
    found: list[str] = []
    for detail in map(tree, items(error.get("details"))[:20]):
        found += [text_of(tree(violation).get("quotaId"), 100) for violation in items(detail.get("violations"))[:20]]
        found.append(text_of(detail.get("reason"), 100))
    return " " + " ".join(found)


def _wait(headers: Mapping[str, str], error: Tree, detail: str, now: float) -> float | None:
    millis = number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    told = headers.get("retry-after")
    if told is not None:
        seconds = number(told)
        return seconds if seconds is not None else _until(told, now)
    inside = number(error.get("resets_in_seconds"))
    if inside is not None:
        return inside
    at = moment(error.get("resets_at"))
    if at is not None:
        return at - now
    delays = (duration(tree(item).get("retryDelay")) for item in items(error.get("details"))[:20])
    delay = next((found for found in delays if found is not None), None)
    match = _TRY_AGAIN.search(detail)
    return delay if delay is not None else duration(match.group(1)) if match else None


def _until(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date[:64]).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def wait_text(seconds: float) -> str:
    """A wait as a person says it."""
    whole = max(1, round(seconds))
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{round(whole / size)} {name}"
    return f"{whole} s"
