"""Used up budgets that wait for the operator, as cards beside the proposals: one list of what waits, on every face.
What answers them is an `AnswerOrder`, not an approval. Pure."""

from collections.abc import Iterable

from app.core.approvals import ProposalView
from app.core.budget import NANO, words
from app.core.model import BottleView, BudgetAsk, BudgetView
from app.core.scopes import shown

KIND = "budget-ask"
_PREFIX = "budget:"


def cards(views: Iterable[BottleView]) -> list[ProposalView]:
    """What waits in these bottles."""
    return [_card(view, ask) for view in views for ask in view.asks]


def waiting(proposals: Iterable[ProposalView], views: Iterable[BottleView]) -> tuple[ProposalView, ...]:
    """Proposals and asks, the oldest first."""
    return tuple(sorted([*proposals, *cards(views)], key=lambda item: item.created_at))


def named(identity: str) -> tuple[str, str] | None:
    """The bottle and provider of a card's id; None for a proposal's."""
    if not identity.startswith(_PREFIX):
        return None
    slug, _, provider = identity.removeprefix(_PREFIX).partition(":")
    return slug, provider


def used_up(view: BottleView, provider: str) -> BudgetView | None:
    """The budget of this provider that holds the bottle's requests."""
    return next((one for one in view.budgets if one.provider == provider and one.percent >= 100), None)


def suggested(held: BudgetView) -> str:
    """A raise by a quarter, as people write it: to be taken with one key, or typed over."""
    part = held.limit // 4
    if held.unit == "usd":
        return f"${max(0.01, part / NANO):.2f}"
    return f"{part // 100_000 / 10:g}M" if part >= 1_000_000 else f"{max(1, part // 1000)}k"


def _card(view: BottleView, ask: BudgetAsk) -> ProposalView:
    held = used_up(view, ask.provider)
    name = shown(ask.scope, view.slug)
    return ProposalView(
        id=f"{_PREFIX}{view.slug}:{ask.provider}",
        slug=view.slug,
        session_id=view.session_id,
        kind=KIND,
        state="pending",
        created_at=ask.at,
        expires_at=ask.until,
        title=f"{ask.provider} is used up" + (f": {words(held.used, held.unit)}" if held is not None else ""),
        justification=f"the budget of {name}" + (f" is {words(held.limit, held.unit)}" if held is not None else ""),
    )
