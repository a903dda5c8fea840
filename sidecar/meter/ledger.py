"""How much a bottle may still use, and what of it is taken: decides whether a metered request may leave. Pure but for
the clock it is given; waiting, refusing and reporting are the caller's.

It grants nothing by itself. Without a lease, or past its time, the answer is no.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from sidecar.allowance import Allowance, Held, Lease, LeaseNote, Rate, Standing

MORE_SECONDS = 10.0
"""A controller that is there answers within a moment; one that is not must not keep an agent for long."""
BUSY_SECONDS = 300.0
"""For requests that only wait for others to end: the longest first wait that the agents have in common (agents.md)."""
LOW = 0.25
"""Of the last grant: below, more is asked for, so that it comes before anybody waits."""
SMALLEST_GRANT = 1.0
DEAREST = Rate(input=75, output=75, cache_read=75, cache_write_5m=75, cache_write_1h=75)
"""Of an answer by another model than was asked for, whose price is not known: as the controller counts it."""

_NOT_SEEN = (
    "it goes on with a thread or response that was not seen here, so what it will read is not known: send the whole "
    "conversation"
)

Code = Literal[
    "", "budget_exhausted", "budget_unknown", "budget_cutoff", "budget_preflight", "budget_busy", "answers_unfinished"
]


def suspended_too() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock: a grant must not outlive it."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()


@dataclass(frozen=True)
class Verdict:
    """`code` empty: go. Otherwise what the refusal says, after `wait` seconds in which things may change."""

    code: Code = ""
    reason: str = ""
    wait: float = 0.0
    hold: bool = False
    """The operator is being asked: the wait is his time (`Policy.hold_seconds`), not `wait`."""
    lease: str = ""


@dataclass(frozen=True)
class Need:
    """What a request will use, about."""

    provider: str
    model: str = ""
    input: int = 0
    output: int = 0
    known: bool = True
    """False: it goes on with an answer that was not seen here, so what the model reads again is not in `input`."""


@dataclass(frozen=True)
class Spent:
    """What one part of an answer used."""

    model: str
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0
    file_searches: int = 0
    cost_usd: float | None = None

    @property
    def tokens(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write_5m + self.cache_write_1h


@dataclass
class _Account:
    lease: Lease
    until: float | None
    used: float = 0.0
    grant: float = SMALLEST_GRANT
    """How much the last raise of the limit gave."""


@dataclass
class Ledger:
    """One bottle's. Not shared between threads."""

    clock: Callable[[], float] = suspended_too
    allowance: Allowance | None = None
    _accounts: dict[str, _Account] = field(default_factory=dict[str, _Account])
    _reserved: dict[str, Need] = field(default_factory=dict[str, Need])

    # --- granting -----------------------------------------------------------------------------------------------------

    def grant(self, allowance: Allowance) -> bool:
        """Put `allowance` in the present one's place; false if it is older than that."""
        if self.allowance is not None and allowance.version < self.allowance.version:
            return False
        now, before = self.clock(), self._accounts
        self.allowance = allowance
        self._accounts = {lease.id: _renewed(before.get(lease.id), lease, now) for lease in allowance.leases}
        return True

    def standing(self, waiting: int = 0) -> Standing:
        version = self.allowance.version if self.allowance is not None else -1
        held = tuple(self._held(account) for account in self._accounts.values())
        return Standing(version=version, leases=held, in_flight=len(self._reserved), waiting=waiting)

    def low(self, waiting: Iterable[Need]) -> list[LeaseNote]:
        """The leases of which more is needed now or soon."""
        waits = list(waiting)
        notes: list[LeaseNote] = []
        for account in self._accounts.values():
            lease = account.lease
            if lease.limit is None or lease.when_spent == "cutoff" or self._gone(account):
                continue
            queue = [self._amount(lease, need) or 0.0 for need in waits if need.provider == lease.provider]
            held = self._held(account)
            left = lease.limit - held.used - held.reserved
            low = lease.when_spent == "more" and left < LOW * account.grant
            if low or (queue and left <= max(queue)):
                want = max(account.grant, sum(queue), held.used + held.reserved - lease.limit)
                notes.append(LeaseNote(**held.model_dump(), want=want, waiting=len(queue)))
        return notes

    # --- deciding -----------------------------------------------------------------------------------------------------

    def closed(self, provider: str | None) -> Verdict | None:
        """Why nothing of `provider` leaves, whatever it is; of any host at all where it is None."""
        allowance = self.allowance
        if allowance is None:
            return None if provider is None else _unknown("the sidecar has not been told what it may use")
        cutoff = allowance.cutoff
        if cutoff is not None and (cutoff.scope == "all" or _cuts(cutoff.providers, provider)):
            why = f": {cutoff.reason}" if cutoff.reason else ""
            return Verdict("budget_cutoff", f"the operator has cut this bottle off{why}")
        if provider is None and allowance.cutoff_scope == "metered":
            return None
        for account in self._accounts.values():
            if provider in (None, account.lease.provider) and _used_up(account):
                return Verdict("budget_exhausted", _named(account.lease), lease=account.lease.id)
        return None

    def check(self, need: Need) -> Verdict:
        """May this request leave now?"""
        closed = self.closed(None) or self.closed(need.provider)
        if closed is not None:
            return closed
        assert self.allowance is not None
        accounts = [account for account in self._accounts.values() if account.lease.provider == need.provider]
        if not accounts:
            return _unknown(f"nothing was granted for {need.provider}")
        refusals = [self._room(account, need) for account in accounts]
        refused = [verdict for verdict in refusals if verdict.code]
        if refused:
            # the one with the least to wait for: what is refused for good is told at once
            return min(refused, key=lambda verdict: (verdict.hold, verdict.wait))
        if len(self._reserved) >= self.allowance.in_flight:
            return Verdict("budget_busy", f"{len(self._reserved)} metered requests are under way already", BUSY_SECONDS)
        return Verdict()

    def lapsed(self, provider: str) -> bool:
        """Whether nothing is left even for what has its place already: a lease was taken away, expired or used up."""
        accounts = [account for account in self._accounts.values() if account.lease.provider == provider]
        return not accounts or any(
            self._gone(account) or (account.lease.limit is not None and account.used >= account.lease.limit)
            for account in accounts
        )

    def _room(self, account: _Account, need: Need) -> Verdict:
        lease = account.lease
        if self._gone(account):
            return _unknown("what was granted has expired and nothing new came", MORE_SECONDS, lease.id)
        if lease.limit is None:
            return Verdict()
        if not need.known:
            return Verdict("budget_preflight", _NOT_SEEN, lease=lease.id)
        amount = self._amount(lease, need)
        if amount is None:
            return _unknown(f"the price of {need.model or 'this model'} is not known, and {lease.budget} is in dollars")
        reserved = self._held(account).reserved
        taken = account.used + reserved
        assert self.allowance is not None
        fits = taken < lease.limit and (not self.allowance.preflight or taken + amount <= lease.limit)
        if fits:
            return Verdict()
        if lease.when_spent == "more" and taken < lease.limit:  # there may be more, and then it fits
            return Verdict("budget_preflight", self._too_large(lease, need), MORE_SECONDS, lease=lease.id)
        if lease.when_spent == "more":
            return _unknown(f"no more of {lease.budget or 'the budget'} could be had", MORE_SECONDS, lease.id)
        if account.used < lease.limit and reserved:
            # what is under way is only estimated: there may be something left when it has ended
            return Verdict("budget_exhausted", _named(lease), BUSY_SECONDS, lease=lease.id)
        if lease.when_spent == "ask":
            return Verdict("budget_exhausted", _named(lease), hold=True, lease=lease.id)
        return Verdict("budget_preflight", self._too_large(lease, need), lease=lease.id)

    def _too_large(self, lease: Lease, need: Need) -> str:
        left = lease.budget or "the budget"
        return f"it needs about {need.input + need.output:,} tokens, more than is left of {left}"

    # --- counting -----------------------------------------------------------------------------------------------------

    def reserve(self, request_id: str, need: Need) -> None:
        """Set its estimate aside, until `settle` or `release`."""
        self._reserved[request_id] = need

    def release(self, request_id: str) -> None:
        self._reserved.pop(request_id, None)

    def settle(self, request_id: str, provider: str, spent: Iterable[Spent]) -> dict[str, float]:
        """Count what it used in place of its estimate. Returns what was charged to each lease."""
        self.release(request_id)
        parts = list(spent)
        charged: dict[str, float] = {}
        for account in self._accounts.values():
            if account.lease.provider != provider:
                continue
            amount = sum(self._cost(account.lease, part) for part in parts)
            if amount:
                account.used += amount
                charged[account.lease.id] = amount
        return charged

    def _gone(self, account: _Account) -> bool:
        return account.until is not None and self.clock() >= account.until

    def _held(self, account: _Account) -> Held:
        lease = account.lease
        needs = [need for need in self._reserved.values() if need.provider == lease.provider]
        reserved = sum(self._amount(lease, need) or 0.0 for need in needs)
        return Held(lease=lease.id, provider=lease.provider, limit=lease.limit, used=account.used, reserved=reserved)

    def _amount(self, lease: Lease, need: Need) -> float | None:
        """`need` in the lease's unit; at least something, so that even an empty request takes its place."""
        if lease.unit == "tokens":
            return max(1.0, need.input + need.output)
        rate = self._rate(lease.provider, need.model)
        if rate is None:
            return None
        return max(1e-9, (need.input * rate.input + need.output * rate.output) / 1e6)

    def _cost(self, lease: Lease, part: Spent) -> float:
        if lease.unit == "tokens":
            return float(part.tokens)
        if part.cost_usd is not None:
            return part.cost_usd
        return priced(self._rate(lease.provider, part.model) or DEAREST, part)

    def _rate(self, provider: str, model: str) -> Rate | None:
        rates = self.allowance.rates.get(provider, {}) if self.allowance is not None else {}
        return rates.get(model) or rates.get(
            max((name for name in rates if model.startswith(name)), default="", key=len)
        )


def priced(rate: Rate, part: Spent) -> float:
    """US dollars for `part`."""
    return (
        part.input * rate.input
        + part.output * rate.output
        + part.cache_read * rate.cache_read
        + part.cache_write_5m * rate.cache_write_5m
        + part.cache_write_1h * rate.cache_write_1h
        + part.web_searches * rate.web_searches
        + part.file_searches * rate.file_searches
    ) / 1e6


def _renewed(before: _Account | None, lease: Lease, now: float) -> _Account:
    account = _Account(lease, now + lease.seconds if lease.seconds is not None else None)
    if lease.limit is not None:
        account.grant = max(SMALLEST_GRANT if lease.unit == "tokens" else 1e-9, lease.limit)
    if before is not None:
        account.used, account.grant = before.used, before.grant
        if lease.limit is not None and before.lease.limit is not None and lease.limit > before.lease.limit:
            account.grant = lease.limit - before.lease.limit
    return account


def _used_up(account: _Account) -> bool:
    lease = account.lease
    return lease.when_spent == "cutoff" and lease.limit is not None and account.used >= lease.limit


def _cuts(providers: tuple[str, ...], provider: str | None) -> bool:
    return provider is not None and (not providers or provider in providers)


def _named(lease: Lease) -> str:
    return f"{lease.budget or f'the budget for {lease.provider}'} is used up"


def _unknown(why: str, wait: float = 0.0, lease: str = "") -> Verdict:
    return Verdict("budget_unknown", why, wait, lease=lease)
