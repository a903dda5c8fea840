"""What the tools say: texts for models, and the same as data. Pure."""

from dataclasses import dataclass, field
from typing import Any

from sidecar.supervise.desk import Ticket

STOP = "Other ways out are closed as well: do not look for one. Do without it, or end with what is missing."


@dataclass(frozen=True)
class Answer:
    """One tool's result."""

    text: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    failed: bool = False


def of_ticket(ticket: Ticket) -> Answer:
    """Where this question stands."""
    outcome = ticket.outcome
    if outcome is None:
        text = (
            f"Pending: the operator has not decided yet. Go on with other work and ask again with check-proposal "
            f'{{"proposal_id": "{ticket.id}"}}. Do not propose the same once more.'
        )
        return Answer(text, {"proposal_id": ticket.id, "state": "pending"})
    data = {"proposal_id": ticket.id, "state": outcome.state, "reason": outcome.reason, "scope": outcome.scope}
    said = f" The operator says: {outcome.reason}" if outcome.reason else ""
    match outcome.state:
        case "approved":
            limit = _limit(outcome.scope)
            return Answer(f"Approved{limit}: the routes are in force, send the request again now.{said}", data)
        case "modified":
            limit = _limit(outcome.scope)
            text = f"Approved with changes{limit}, in force now: list-egress-routes shows what is allowed.{said}"
            return Answer(text, data)
        case "rejected":
            return Answer(f"Rejected by the operator.{said} {STOP}", data)
        case "expired":
            return Answer(f"Nobody decided in time, so nothing has changed. {STOP}", data)
        case "withdrawn":
            return Answer(f"Withdrawn: nothing has changed.{said}", data)


def _limit(scope: str) -> str:
    return {"once": " for this once", "15m": " for 15 minutes", "session": " for this session"}.get(scope, "")


def fault(text: str) -> Answer:
    """The caller's: it can be mended by calling otherwise."""
    return Answer(text, {"error": "invalid_call", "message": text}, failed=True)


def failure() -> Answer:
    """Ours: told without its cause, which is logged."""
    text = "The sidecar failed and nothing was proposed or changed. Tell the operator; do not repeat the call at once."
    return Answer(text, {"error": "internal_error", "message": text}, failed=True)
