"""What a proposal may become, and who may ask for what. Pure: states and rules, no routes, no clock, no I/O.

A proposal is decided once. The only way out of `pending` is `after`, and nothing leads out of the other states.
"""

from typing import Literal

from app.errors import CarboyError
from sidecar.contract import SCOPE_SECONDS, Route

Kind = Literal["egress-allow", "egress-block", "egress-token-allow", "gitleaks-allow", "git-push"]
State = Literal["pending", "approved", "modified", "rejected", "expired", "withdrawn"]
Act = Literal["approve", "modify", "reject", "expire", "withdraw"]
Scope = Literal["once", "15m", "session", "save"]

ACCESS: frozenset[str] = frozenset({"egress-allow", "egress-block"})
"""Kinds that ask for routes. They can be edited and saved; the others are reports: approved or rejected as they are,
with a reason, and never saved to a manifest."""

REVIEWS: frozenset[str] = frozenset({"git-push"})
"""Reports that hold no finding: something that the operator asked to see first. No reason is needed."""

TEMPORARY = SCOPE_SECONDS
"""Scopes that end by themselves."""

_AFTER: dict[Act, State] = {
    "approve": "approved",
    "modify": "modified",
    "reject": "rejected",
    "expire": "expired",
    "withdraw": "withdrawn",
}


CARBOY = "carboy"
"""Who decided where nobody did: it ran out, its bottle ended, all of it was allowed already."""


def over(state: str, by: str = "", reason: str = "") -> str:
    """That a decision was made already: who was faster, or why nobody is asked any more."""
    done = "has expired already" if state == "expired" else f"was {state} already"
    if by == CARBOY and reason:
        return f"This proposal {done}: {reason}"
    return f"This proposal {done}{f' by {by}' if by and by != CARBOY else ''}"


def after(state: str, act: Act, *, by: str = "", reason: str = "") -> State:
    """The state that `act` leads to. Raises CarboyError `already_decided` for a proposal that is not pending."""
    if state != "pending":
        raise CarboyError(over(state, by, reason), "A decision is made once", "already_decided")
    return _AFTER[act]


def needs_reason(kind: str) -> bool:
    """Whether an approval must say why."""
    return kind not in ACCESS and kind not in REVIEWS


def check_answer(kind: str, act: Act, *, reason: str, scope: str, edited: bool) -> None:
    """Whether this may be answered so. Raises CarboyError with what is missing."""
    if act not in ("approve", "modify"):
        return
    if kind in ACCESS:
        return
    if edited:
        raise CarboyError("A report cannot be edited", "Approve it with a reason, or reject it", "report_only")
    if not reason.strip() and needs_reason(kind):
        raise CarboyError("Approving a finding needs a reason", "Say why it may pass", "reason_needed")
    if scope == "save":
        raise CarboyError(
            "An approved finding is never saved to a bottle file", "Choose once, 15m or session", "report_only"
        )


AGENTS = frozenset({"host", "matches", "git"})
"""Fields of a route that an agent's proposal may set. `auth`, `dlp`, `allow_private`, `ports`, `shared` and
`max_body` are the operator's alone: what an agent says there is left out."""


def overreach(route: Route, known: Route | None) -> tuple[str, ...]:
    """Fields in which an agent's route says something that only the operator may say."""
    plain = known or Route(host=route.host)
    names = sorted(set(Route.model_fields) - AGENTS)
    default = Route(host=route.host)
    return tuple(
        name
        for name in names
        if getattr(route, name) != getattr(plain, name) and getattr(route, name) != getattr(default, name)
    )
