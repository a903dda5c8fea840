"""Budgets: which ones hold for a request, how much of each is left, when to tell, and what a crossing does. Pure:
amounts and times come in, decisions come out. Counting is the store's, asking and acting are the controller's.

For each provider the nearest scope that defines a budget governs: launch, agent, bottle, parent bottles, global. One
marked `hard` holds besides, whatever is nearer, and so does everything above a project's own agent, which may lower a
budget but never replace one.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.schema import Amount, Manifest
from app.core.scopes import GLOBAL, launch_scope

Period = Literal["day", "week", "month", "never"]
Unit = Literal["tokens", "usd"]
Policy = Literal["ask", "cutoff", "freeze", "kill"]

NANO = 1_000_000_000
"""Money is counted in whole billionths of a dollar: sums of them are exact."""


@dataclass(frozen=True)
class Layer:
    """One scope of a launch and its budgets, by provider. `beside`: the scopes above it hold as well."""

    scope: str
    budgets: Mapping[str, Amount]
    period: Period = "never"
    source: str = ""
    beside: bool = False


@dataclass(frozen=True)
class Limit:
    """One budget that holds. `value` is tokens, or billionths of a dollar."""

    scope: str
    provider: str
    unit: Unit
    value: int
    period: Period
    source: str = ""
    hard: bool = False


@dataclass(frozen=True)
class Spent:
    """What was used in one scope in one period. `unpriced` are tokens whose price nobody knows."""

    tokens: int = 0
    nano: int = 0
    unpriced: int = 0

    def plus(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.nano + other.nano, self.unpriced + other.unpriced)


DEAREST_NANO = 75_000
"""What a token of unknown price counts as against a budget in dollars ($75 a million, the output price of the dearest
models that coding agents are used with): an unknown price is never 0. Sidecars refuse such models to begin with."""


def used(spent: Spent, unit: Unit) -> int:
    """What counts against a budget of this unit."""
    return spent.tokens if unit == "tokens" else spent.nano + spent.unpriced * DEAREST_NANO


# --- which budgets hold ---------------------------------------------------------------------------------------------


def layers(
    session_id: str,
    launch: Mapping[str, Amount],
    manifest: Manifest,
    settings: Mapping[str, Amount],
    period: Period,
) -> tuple[Layer, ...]:
    """The scopes of one launch, the nearest first."""
    own = Layer(launch_scope(session_id), dict(launch), "never", "--budget")
    named = tuple(
        Layer(entry.scope, entry.budget, period, entry.source, entry.beside) for entry in manifest.budget_scopes
    )
    return (own, *named, Layer(GLOBAL, dict(settings), period, "settings.yml"))


def overlaid(chain: Iterable[Layer], overrides: Mapping[tuple[str, str], Amount]) -> tuple[Layer, ...]:
    """The chain with the operator's own amounts (by scope and provider) in place of what the files say."""
    found: list[Layer] = []
    for layer in chain:
        changed = {provider: amount for (scope, provider), amount in overrides.items() if scope == layer.scope}
        budgets = {**layer.budgets, **changed}
        found.append(Layer(layer.scope, budgets, layer.period, layer.source, layer.beside))
    return tuple(found)


def governing(chain: Iterable[Layer], provider: str) -> tuple[Limit, ...]:
    """Every budget that holds for this provider, the nearest first. Empty where nobody set one."""
    found: list[Limit] = []
    settled = False
    for layer in chain:
        amount = layer.budgets.get(provider)
        if amount is None or (settled and not amount.hard):
            continue
        found.append(limit(layer, provider, amount))
        settled = settled or not layer.beside
    return tuple(found)


def limit(layer: Layer, provider: str, amount: Amount) -> Limit:
    unit, value = amount_value(amount)
    return Limit(layer.scope, provider, unit, value, layer.period, layer.source, amount.hard)


def amount_value(amount: Amount) -> tuple[Unit, int]:
    """An amount as unit and whole number."""
    if amount.tokens is not None:
        return "tokens", amount.tokens
    assert amount.usd is not None
    return "usd", max(1, round(amount.usd * NANO))


def raised(held: Limit, by: Amount, already: int) -> Amount:
    """The amount after the operator raised `held` by `by`: so much more than the budget, or than what was used already
    where that is more. Raises ValueError where the units differ."""
    unit, value = amount_value(by)
    if unit != held.unit:
        raise ValueError(f"this budget is counted in {_WORDS[held.unit]}: raise it by an amount of {_WORDS[held.unit]}")
    total = max(held.value, already) + value
    if unit == "tokens":
        return Amount(tokens=total, hard=held.hard)
    return Amount(usd=total / NANO, hard=held.hard)


_WORDS: dict[Unit, str] = {"tokens": "tokens", "usd": "US dollars"}


# --- periods --------------------------------------------------------------------------------------------------------


def period_start(period: Period, at: float) -> float:
    """When the period around `at` began, in local time: a day at midnight, a week on Monday, a month on the first."""
    return 0.0 if period == "never" else _midnight(period, at, 0)


def period_end(period: Period, at: float) -> float | None:
    """When the period around `at` ends and its budgets are whole again; None for never."""
    return None if period == "never" else _midnight(period, at, 1)


def _midnight(period: Period, at: float, later: int) -> float:
    """The local midnight with which the period around `at` begins, or one `later`. mktime sets days and months beyond
    the end of a month right, and knows which midnights have summer time."""
    now = time.localtime(at)
    month, day = now.tm_mon, now.tm_mday
    if period == "month":
        month, day = month + later, 1
    elif period == "week":
        day += 7 * later - now.tm_wday
    else:
        day += later
    return time.mktime((now.tm_year, month, day, 0, 0, 0, 0, 0, -1))


# --- how much is left -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """One budget that holds and what of it is used; `out` is handed out to sidecars and not used yet."""

    limit: Limit
    used: int
    out: int = 0

    @property
    def left(self) -> int:
        """What may still be handed out."""
        return max(0, self.limit.value - self.used - self.out)

    @property
    def exhausted(self) -> bool:
        """Used up: what is handed out does not count, it may come back."""
        return self.used >= self.limit.value

    @property
    def percent(self) -> int:
        """Whole percent used, rounded down, so that 100 means used up."""
        return self.used * 100 // self.limit.value


LEASE: Mapping[Unit, int] = {"tokens": 100_000, "usd": NANO // 2}
"""Most that is handed out at once. One request of an agent reads 10,000 to 200,000 tokens: a lease is asked for again
every few requests, and what a lost sidecar holds is small."""
LEASE_SECONDS = 600.0
"""How long a sidecar may use what it holds without hearing from a controller. What it does not use is taken back long
before, where others want it or it is idle."""
IDLE_SECONDS = 60.0
"""A lease that was not drawn on for so long is taken back; the next request asks for another."""


def piece(standing: Standing, sharing: int, wants: int = 0) -> int:
    """How much to hand out to one of `sharing` sidecars, in the budget's unit: no more than is left, and only a part of
    it where others draw on it too, so that nobody holds what another one needs."""
    left = standing.left
    part = left if sharing <= 1 else -(-left // (2 * sharing))
    return min(part, max(LEASE[standing.limit.unit], wants))


# --- telling and acting ---------------------------------------------------------------------------------------------


def crossed(percent: int, thresholds: Iterable[int], told: Iterable[int]) -> tuple[int, ...]:
    """Thresholds that were reached and of which nobody has been told; 100 is always one."""
    known = set(told)
    marks = {*thresholds, 100}
    return tuple(sorted(mark for mark in marks if mark <= percent and mark not in known))


Outcome = Literal["open", "cutoff", "ask", "freeze", "kill"]


def outcome(standings: Iterable[Standing], policy: Policy, *, answered: bool = False) -> Outcome:
    """What becomes of a bottle's requests to a provider. `answered`: the operator was asked and said no, or nobody was
    there; then an ask is a cutoff."""
    if not any(standing.exhausted for standing in standings):
        return "open"
    return "cutoff" if policy == "ask" and answered else policy


def unanswered(hold: Literal["reject", "park"]) -> Literal["cutoff", "freeze"]:
    """What an ask becomes when nobody answers (`unattended.hold`): parked, it waits frozen for the operator."""
    return "freeze" if hold == "park" else "cutoff"


def words(value: int, unit: Unit) -> str:
    """An amount as people read it: `5,000,000 tokens`, `$20.00`."""
    return f"{value:,} tokens" if unit == "tokens" else f"${value / NANO:,.2f}"


def described(held: Limit, name: str) -> str:
    """What a budget is called where it is told of; `name` is its scope as the reader knows it."""
    every = {"day": " a day", "week": " a week", "month": " a month", "never": ""}[held.period]
    return f"the budget of {name} for {held.provider}: {words(held.value, held.unit)}{every}"
