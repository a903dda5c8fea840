"""How budgets look from outside: a standing as a view, and what of it a bottle shows. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.controller.crossings import policy_of
from app.controller.session import Session
from app.core import budget
from app.core.budget import Standing
from app.core.model import BudgetAsk, BudgetView


def view(standing: Standing, by_hand: Collection[tuple[str, str]], now: float) -> BudgetView:
    """One budget. `by_hand`: scopes and providers whose amount the operator set."""
    held = standing.limit
    return BudgetView(
        scope=held.scope,
        provider=held.provider,
        unit=held.unit,
        used=standing.used,
        limit=held.value,
        period=held.period,
        resets_at=budget.period_end(held.period, now),
        source=held.source,
        hard=held.hard,
        override=(held.scope, held.provider) in by_hand,
    )


def changes(
    session: Session,
    standings: Mapping[str, Sequence[Standing]],
    by_hand: Collection[tuple[str, str]],
    now: float,
    patience: float,
) -> dict[str, Any]:
    """What a bottle's view says: its budgets, why its model is closed to it, and what waits for the operator."""
    asks: list[BudgetAsk] = []
    spent = False
    for provider, held in standings.items():
        used_up = next((one for one in held if one.exhausted), None)
        known = session.record.crossings.get(provider)
        if used_up is not None and known is not None and known.policy == "ask" and not known.answered:
            until = known.at + patience
            asks.append(BudgetAsk(provider=provider, scope=used_up.limit.scope, at=known.at, until=until))
        spent = spent or used_up is not None
    ordered = session.record.cutoff is not None
    return {
        "budgets": tuple(view(one, by_hand, now) for held in standings.values() for one in held),
        "cut": "operator" if ordered else "ask" if asks else "budget" if spent else "",
        "asks": tuple(asks),
        "shutdown": policy_of(session),
    }
