"""What a launch would find of its budgets, before anything of it is made."""

import time

from app.controller.budgets import Budgets
from app.controller.crossings import DOES, ENDS, policy_of
from app.controller.session import Session
from app.core import budget
from app.core.model import Preflight
from app.core.scopes import session_of, shown
from app.errors import CarboyError


async def used_up(budgets: Budgets, session: Session) -> list[CarboyError]:
    """Each budget that holds for it and has nothing left."""
    now, found = time.time(), list[CarboyError]()
    for held in (one for group in budgets.limits(session, now).values() for one in group):
        if await budgets.used_of(held, now, session) >= held.value:
            name = budget.described(held, shown(held.scope, session.slug))
            scope = session.slug if session_of(held.scope) else held.scope
            hint = f"Raise it: carboy budget raise {scope} {held.provider} AMOUNT"
            found.append(CarboyError(f"{name[0].upper()}{name[1:]} is used up", hint, "budget_used_up"))
    return found


async def refuse(budgets: Budgets, session: Session) -> None:
    """Raises with the reason where a used up budget would end the launch at once."""
    if policy_of(session) in ENDS:
        for problem in await used_up(budgets, session):
            raise problem


async def foreseen(budgets: Budgets, session: Session, preflight: Preflight) -> Preflight:
    """The preflight with what is used up: a problem where it ends the launch, else a warning."""
    found, policy = await used_up(budgets, session), policy_of(session)
    if policy in ENDS:
        return preflight.model_copy(update={"problems": (*preflight.problems, *(one.render() for one in found))})
    said = (f"{one.message}: {DOES[policy]}. {one.hint}" for one in found)
    return preflight.model_copy(update={"warnings": (*preflight.warnings, *said)})
