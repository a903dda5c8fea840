"""What findings of the outbound scan mean for a request: the on-match policy of egress.md. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sidecar.contract import Policy, Route
from sidecar.dlp.engine import DEFAULT
from sidecar.dlp.finding import Finding, Match, Severity

ALWAYS = frozenset({"known_secrets"})
"""Asked of the engine that knows the canary and the placeholders only, where a route turned known secrets off."""
DRIP = "flow:many small requests"
"""The location of what stands in no single request."""
EDGE = "websocket:two messages"
"""The location of what begins in one message and ends in the next."""
TOGETHER = frozenset({DRIP, EDGE})
"""Nothing of this can be taken out of a message, or approved."""
MAX_EVIDENCE = 10
_RANK = {"canary": 0, "known_secrets": 1, "token_patterns": 2, "financial": 3}


@dataclass(frozen=True)
class Inspection:
    """How the requests of one route are looked at. `own` is the agent's provider's LLM route."""

    detectors: frozenset[str]
    on_match: Literal["supervise", "redact", "block"]
    own: bool = False

    @classmethod
    def of(cls, route: Route, policy: Policy) -> "Inspection":
        """A route's settings, and what the policy as a whole says: without an operator, supervise means block."""
        chosen = route.dlp.outbound_detectors
        detectors: frozenset[str] = frozenset(DEFAULT if chosen is None else chosen or ())
        own = route.host in policy.provider_hosts
        on_match = route.dlp.outbound_on_match
        if own and on_match == "supervise":
            on_match = "redact"
        if on_match == "supervise" and not policy.supervise:
            on_match = "block"
        return cls(detectors, on_match, own)

    @property
    def examples(self) -> Severity:
        """Documented examples stand in half of all conversations about them."""
        return "warn" if self.own else "block"


@dataclass(frozen=True)
class Verdict:
    """`ask` are the findings to approve, one for each value, in order; `alarm` says that the canary is among them."""

    action: Literal["pass", "refuse", "redact", "hold"]
    code: str = ""
    reason: str = ""
    ask: tuple[Finding, ...] = ()
    alarm: bool = False


def judge(findings: Sequence[Finding], inspection: Inspection, stand_ins: frozenset[str]) -> Verdict:
    """`stand_ins` are the names under which placeholders are known."""
    blocking = [finding for finding in findings if finding.severity == "block"]
    if not blocking:
        return Verdict("pass")
    worst = min(blocking, key=rank)
    alarm = worst.detector == "canary"
    if any(finding.detector == "limits" for finding in blocking):
        return Verdict("refuse", "scan_limits", _say(next(f for f in blocking if f.detector == "limits")), alarm=alarm)
    if alarm and not inspection.own:
        return Verdict("refuse", "canary_leaked", _say(worst), alarm=True)
    if alarm or inspection.on_match == "redact":
        return Verdict("redact", alarm=alarm)
    fake = next((finding for finding in blocking if finding.kind in stand_ins), None)
    if fake is not None:
        return Verdict("refuse", "placeholder_misplaced", f"a placeholder stands in {fake.location}")
    code = {"crlf": "crlf_injection", "host_labels": "host_label_data"}.get(worst.detector, "secret_found")
    apart = any(finding.detector in ("host_labels", "crlf") or finding.location in TOGETHER for finding in blocking)
    if inspection.on_match == "block" or apart or not any(map(literal, blocking)):
        return Verdict("refuse", code, _say(worst))
    return Verdict("hold", ask=_values(blocking))


def literal(finding: Finding) -> bool:
    """Its value stands in the request byte for byte, so that exactly it can be approved."""
    return finding.approvable and ">" not in finding.view


def rank(finding: Finding) -> int:
    return _RANK.get(finding.detector, 4)


def _values(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each value, that of the detector that says most."""
    found: list[Finding] = []
    for finding in sorted(filter(literal, findings), key=rank):
        if not any(finding.value == other.value for other in found):
            found.append(finding)
    return tuple(found)


def values_of(findings: Iterable[Finding]) -> list[Match]:
    return [finding.value for finding in findings if finding.value is not None]


def alarm_text(canary: Finding, host: str, what: str) -> str:
    use = "its only use is to show theft"
    return f"The canary {canary.kind} {what} to {host} ({canary.location}): {use}"


def _say(finding: Finding) -> str:
    shown = f" ({finding.snippet})" if finding.snippet else ""
    # nothing of it can be approved, and the next one is refused as well: for how long is what helps
    long = "; those of one minute count together, so wait that long" if finding.location == DRIP else ""
    return f"{finding.title}, in {finding.location}{shown}{long}"


def refusal_reason(finding: Finding, why: str = "") -> str:
    return f"{_say(finding)}{': ' if why else ''}{why}"


def evidence(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as an event carries them, the worst first: nothing of a value beyond its snippet."""
    worst = sorted(findings, key=lambda finding: (finding.severity != "block", rank(finding)))
    return [
        {
            "code": finding.code,
            "detector": finding.detector,
            "kind": finding.kind[:64],
            "severity": finding.severity,
            "title": finding.title[:120],
            "location": finding.location[:120],
            "snippet": finding.snippet[:60],
            **({"example": True} if finding.example else {}),
        }
        for finding in worst[:MAX_EVIDENCE]
    ]
