"""What the operator orders about budgets: set, raised, cut off, given back, answered. Each is on record before it is
done, in force when it returns, and never undoes what counts."""

import logging
import time
from typing import Any

from pydantic import ValidationError

from app.controller.audit import Audit
from app.controller.budgets import Budgets
from app.controller.crossings import Desk
from app.controller.record import OrderedCutoff
from app.controller.session import Session
from app.core import budget
from app.core.budget import Layer, Limit
from app.core.model import BottleView
from app.core.schema import Amount
from app.core.scopes import GLOBAL, launch_scope, said, shown
from app.core.spending import AnswerOrder, BudgetOrder, CutoffOrder
from app.core.text import printable
from app.errors import CarboyError
from app.providers.metered import countable
from app.store.base import Store
from app.store.metering import Override

log = logging.getLogger(__name__)


class Orders:
    """One for the controller."""

    def __init__(self, store: Store, audit: Audit, desk: Desk, budgets: Budgets) -> None:
        self._store = store
        self._audit = audit
        self._desk = desk
        self._budgets = budgets

    async def set(self, order: BudgetOrder) -> None:
        """Set, raise or clear one budget. A cutoff that it ends is lifted when this returns."""
        scope, session = self._scope(order.scope)
        name = shown(scope, session.slug if session else "")
        before = self._present(scope, order.provider, session)
        if order.amount is None:
            if not await self._clear(scope, order, name):
                raise CarboyError(f"No budget of {name} for {order.provider} was set by hand", "", "no_override")
            return
        amount, until = amount_of(order.amount, hard=order.hard), None
        if order.more:
            if before is None:
                hint = "Set it first: carboy budget set SCOPE PROVIDER AMOUNT"
                raise CarboyError(f"There is no budget of {name} for {order.provider} to raise", hint, "no_budget")
            amount, until = await self._more(before, amount)
        else:
            _counted(session, order.provider)
        await self._put(scope, order.provider, amount, until, order.by, order.reason, before, session)

    async def answer(self, slug: str, order: AnswerOrder) -> BottleView:
        """The answer where requests wait, or another policy; or more for a session that has ended, to be resumed."""
        session = self._desk.named(slug)
        if order.action == "raise" and not session.live:
            await self._raise(session, order.provider, order)
            return session.view
        session = self._live(slug)
        if order.action == "policy":
            await self._record("budget-policy", session, order.by, order.reason, policy=order.policy)
            _keep(session, shutdown=order.policy)
            await self._budgets.apply(session.id)
            return session.view
        provider = self._spent_provider(session, order.provider)
        if order.action == "raise":
            await self._raise(session, provider, order)
        else:
            await self._record(f"budget-{order.action}", session, order.by, order.reason, provider=provider)
            await self._budgets.crossings.answer_no(session, provider)
            await self._budgets.apply(session.id)
            if order.action == "freeze":
                view = await self._desk.freeze(slug)
                self._budgets.crossings.save_and_stop(session)
                return view
            if order.action == "kill":
                return await self._desk.kill(slug)
        return session.view

    async def cutoff(self, slug: str, order: CutoffOrder) -> BottleView:
        """Close the model's hosts now, whatever the budgets say."""
        session = self._live(slug)
        for provider in order.providers:
            if provider not in (known := _providers(session)):
                text = f"Nothing of {slug} is known to go to {printable(provider, 60)}: nothing was cut off"
                hint = f"Name one of {', '.join(known)}, or close every host with --all"
                raise CarboyError(text, hint, "no_provider")
        facts = {"scope": order.scope, "providers": list(order.providers), "end_streams": order.end_streams}
        await self._record("cutoff", session, order.by, order.reason, may_wait=True, **facts)
        cut = OrderedCutoff(
            at=time.time(),
            by=order.by,
            reason=order.reason[:300],
            scope=order.scope,
            providers=order.providers,
            end_streams=order.end_streams,
        )
        try:
            session.update(cutoff=cut)
        except OSError as error:  # in force all the same: a full disk must keep nothing open
            log.error("the record of %s cannot be saved: %s", slug, error)
        await self._budgets.apply(session.id)
        healthy = session.view.sidecar.state == "healthy"
        if session.supervisor is not None and healthy and not self._budgets.heard(session.id):
            # it does not listen; its successor has the cutoff from its first moment
            log.warning("the sidecar of %s is restarted: it does not take a cutoff", slug)
            await session.supervisor.restart()
        return session.view

    async def restore(self, slug: str, order: CutoffOrder) -> BottleView:
        """Take a cutoff back. One that a budget made is no order: the budget must be raised."""
        session = self._live(slug)
        if session.record.cutoff is None:
            if session.view.cut:
                spent = next(one for one in session.view.budgets if one.percent >= 100)
                hint = f"Raise it: carboy budget raise {slug} {spent.provider} AMOUNT"
                raise CarboyError(
                    f"{slug} is cut off by the budget of {shown(spent.scope, slug)}", hint, "budget_used_up"
                )
            raise CarboyError(f"{slug} is not cut off", "", "wrong_state")
        await self._record("restore-egress", session, order.by, order.reason)
        _keep(session, cutoff=None)
        await self._budgets.apply(session.id)
        return session.view

    # --- inside -----------------------------------------------------------------------------------------------------

    def _scope(self, text: str) -> tuple[str, Session | None]:
        scope = said(text)
        if scope is not None:
            return scope, None
        session = self._desk.named(text)  # one that has ended, too: what is set for it holds on when it is resumed
        return launch_scope(session.id), session

    def _live(self, slug: str) -> Session:
        session = self._desk.named(slug)
        if not session.live:
            raise CarboyError(f"{slug} has ended", "", "wrong_state")
        return session

    def _present(self, scope: str, provider: str, session: Session | None) -> Limit | None:
        """The budget of this scope as it is now, from files or set by hand."""
        now = time.time()
        layer = self._layer(scope, provider, session, now)
        amount = layer.budgets.get(provider) if layer is not None else None
        return None if layer is None or amount is None else budget.limit(layer, provider, amount)

    def _layer(self, scope: str, provider: str, session: Session | None, now: float) -> Layer | None:
        for one in (session,) if session is not None else self._desk.live():
            for layer in self._budgets.chain(one, now):
                if layer.scope == scope and provider in layer.budgets:
                    return layer
        settings = self._budgets.settings
        amount = self._budgets.amounts(now).get((scope, provider))
        if amount is None and scope == GLOBAL:
            amount = settings.budget.get(provider)
        period = "never" if scope == (launch_scope(session.id) if session else "") else settings.budget_period
        return None if amount is None else Layer(scope, {provider: amount}, period)

    async def _more(self, held: Limit, by: Amount) -> tuple[Amount, float | None]:
        now = time.time()
        used = await self._budgets.used_of(held, now)
        try:
            return budget.raised(held, by, used), budget.period_end(held.period, now)
        except ValueError as error:
            raise CarboyError(str(error), "Write 500k for tokens, $5 for dollars", "bad_budget") from None

    async def _raise(self, session: Session, provider: str, order: AnswerOrder) -> None:
        """Every budget that is used up: each of them holds the requests."""
        now, raised = time.time(), False
        by = amount_of(order.amount)
        for held in self._budgets.limits(session, now).get(provider, ()):
            used = await self._budgets.used_of(held, now)
            if used >= held.value:
                raised = True
                amount, until = await self._more(held, by)
                await self._put(held.scope, provider, amount, until, order.by, order.reason, held, session)
        if not raised and not session.live:
            raise CarboyError(f"No budget of {session.slug} is used up", "", "wrong_state")

    async def _put(
        self,
        scope: str,
        provider: str,
        amount: Amount,
        until: float | None,
        by: str,
        reason: str,
        before: Limit | None,
        session: Session | None,
    ) -> None:
        unit, value = budget.amount_value(amount)
        facts: dict[str, Any] = {
            "scope": scope,
            "provider": provider,
            "before": None if before is None else budget.words(before.value, before.unit),
            "after": budget.words(value, unit),
            "until": until,
        }
        await self._record("budget-set", session, by, reason, **facts)
        override = Override(scope, provider, amount, time.time(), until, by, reason)
        await self._store.save_override(override)
        await self._budgets.set_override(override)

    async def _clear(self, scope: str, order: BudgetOrder, name: str) -> bool:
        if (scope, order.provider) not in self._budgets.overrides:
            return False
        await self._record("budget-cleared", None, order.by, order.reason, scope=name, provider=order.provider)
        await self._store.drop_override(scope, order.provider)
        await self._budgets.drop_override(scope, order.provider)
        return True

    def _spent_provider(self, session: Session, provider: str) -> str:
        spent = [one.provider for one in session.view.budgets if one.percent >= 100]
        if not spent or (provider and provider not in spent):
            raise CarboyError(f"No budget of {session.slug} is used up", "", "wrong_state")
        return provider or spent[0]

    async def _record(
        self, action: str, session: Session | None, by: str, reason: str, *, may_wait: bool = False, **facts: Any
    ) -> None:
        slug, identity = (session.slug, session.id) if session is not None else ("", "")
        await self._audit.record(
            action, slug=slug, session_id=identity, actor=by or "operator", may_wait=may_wait, reason=reason, **facts
        )


def _keep(session: Session, **changes: Any) -> None:
    """Change fields of the record. Raises OSError with nothing changed."""
    before = {name: getattr(session.record, name) for name in changes}
    try:
        session.update(**changes)
    except OSError:
        session.update(save=False, **before)
        raise


def _counted(session: Session | None, provider: str) -> None:
    """Refuses a budget that would never be used up, since nothing (in this bottle) counts against it."""
    if session is None:
        if provider not in (known := countable()):
            text = f"Nothing is counted as {printable(provider, 60)}, so no budget would hold it"
            raise CarboyError(text, f"Name one of {', '.join(known)}", "bad_budget")
        return
    known = _providers(session)
    if provider not in known:
        text = f"What {printable(provider, 60)} uses in {session.slug} is not counted, so no budget would hold it"
        hint = f"Name one of {', '.join(known)}: carboy budget set {session.slug} PROVIDER AMOUNT" if known else ""
        raise CarboyError(text, hint, "bad_budget")


def _providers(session: Session) -> list[str]:
    """Those whose requests are told from others in this bottle."""
    return sorted({entry.provider for entry in session.record.policy.metered})


def amount_of(text: str, *, hard: bool = False) -> Amount:
    """An amount as people write it. Raises CarboyError that says the form."""
    try:
        amount = Amount.model_validate(text)
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise CarboyError(why, "Write 500k or 5M for tokens, $20 for dollars", "bad_budget") from None
    return amount.model_copy(update={"hard": hard})
