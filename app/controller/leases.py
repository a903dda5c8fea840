"""What one sidecar holds of the budgets that govern its bottle: leases, cumulative and replaced whole. Values and their
bookkeeping; it speaks to nobody. The rules are docs/metering.md's, "On the wire".

What may still come of a lease is its ceiling less what the store has counted against it. The ceiling rises when a
larger limit is sent and falls only when the sidecar has said how it stands, so that the sum never says too little.
"""

import hashlib
import math
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.core import budget
from app.core.budget import IDLE_SECONDS, LEASE_SECONDS, NANO, Limit, Spent, Unit
from app.core.scopes import shown
from sidecar.allowance import Allowance, Cutoff, Lease, LeaseNote, Rate, Standing

Key = tuple[str, str, float]
"""Scope, provider, and the start of its period."""


def keys_of(limits: Iterable[Limit], at: float) -> list[Key]:
    return [(held.scope, held.provider, budget.period_start(held.period, at)) for held in limits]


def to_wire(value: int, unit: Unit) -> float:
    return float(value) if unit == "tokens" else value / NANO


def from_wire(amount: float, unit: Unit) -> int:
    """Rounded up: what may have been used is never too little."""
    return math.ceil(amount if unit == "tokens" else round(amount * NANO, 3))


MOST = 1e15
"""What a lease may say on the wire. No bottle uses so much; a sidecar that says so must not stop others' budgets."""


@dataclass
class Share:
    """One lease. Amounts are in the budget's unit, counted from the lease's own beginning."""

    id: str
    limit: Limit
    granted: int = 0
    ceiling: int = 0
    charged: int = 0
    wants: int = 1
    """How much more its sidecar asked for; a new one wants something to begin with."""
    waiting: bool = False
    """Requests wait for it."""
    touched: float = 0.0

    @property
    def out(self) -> int:
        """Handed out, and not in the store yet."""
        return max(0, self.ceiling - self.charged)

    def give(self, amount: int) -> None:
        unit = self.limit.unit
        self.granted = min(max(self.granted, self.ceiling, self.charged) + amount, from_wire(MOST, unit))
        self.ceiling = max(self.ceiling, self.granted)
        self.wants, self.waiting = 0, False

    def take_back(self) -> bool:
        """Leave only what was used. True if that changes something; the ceiling follows when the sidecar answers."""
        changed = self.granted > self.charged
        self.granted = min(self.granted, self.charged)
        return changed

    def idle(self, now: float) -> bool:
        return now - self.touched >= IDLE_SECONDS


@dataclass
class Ground:
    """What one round stands on. `out` grows as it hands out."""

    now: float
    spent: dict[Key, Spent]
    out: dict[Key, int]
    sharing: dict[Key, int]
    waiting: set[Key] = field(default_factory=set[Key])
    """Where requests wait: who asks ahead of need stands back."""
    hungry: set[Key] = field(default_factory=set[Key])

    def standing(self, held: Limit) -> budget.Standing:
        key = keys_of([held], self.now)[0]
        return budget.Standing(held, budget.used(self.spent.get(key, Spent()), held.unit), self.out.get(key, 0))


@dataclass(frozen=True)
class Terms:
    """What else an allowance says: how a bottle's policy wants spent budgets to end."""

    spent: dict[str, str] = field(default_factory=dict[str, str])
    """Providers whose budget is used up: `cutoff` or `ask`."""
    free: tuple[str, ...] = ()
    """Providers that no budget governs."""
    cutoff: Cutoff | None = None
    whole: bool = False
    """`cutoff_scope: all`."""
    preflight: bool = False
    count: bool = False
    """The provider itself is asked what a request needs."""
    rates: dict[str, dict[str, Rate]] = field(default_factory=dict[str, dict[str, Rate]])
    name: str = ""
    """The bottle's, for what the agent is told."""


class Account:
    """All leases of one sidecar. A sidecar that starts anew gets a new account: its counting starts at zero."""

    def __init__(self, *, known: bool = False) -> None:
        self.known = known
        """Whether the sidecar holds nothing but what is here: a new one, or one that has answered."""
        self.deaf = False
        """It did not take what it was told last."""
        self.generation = secrets.token_hex(4)
        # never behind what an adopted sidecar was told by a former controller
        self.version = time.time_ns() // 1_000_000
        self.shares: dict[Key, Share] = {}
        self.sent: Allowance | None = None
        self.sent_at = float("-inf")

    def share(self, limit: Limit, period: float, now: float) -> Share:
        """The lease on this budget, made where there is none. An amount that changed keeps its lease."""
        key = (limit.scope, limit.provider, period)
        found = self.shares.get(key)
        if found is None or found.limit.unit != limit.unit:
            found = self.shares[key] = Share(self._id(*map(str, key), limit.unit), limit, touched=now)
        found.limit = limit
        return found

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Forget leases on budgets that no longer govern."""
        wanted = set(keys)
        for key in [key for key in self.shares if key not in wanted]:
            del self.shares[key]

    def charge(self, lease: str, amount: float, now: float) -> None:
        """The store has counted so much more against a lease."""
        for share in self.shares.values():
            if share.id == lease:
                share.charged += from_wire(amount, share.limit.unit)
                share.touched = now

    def asked(self, note: LeaseNote, now: float) -> bool:
        """A sidecar runs low. False where that asks for nothing."""
        for share in self.shares.values():
            if share.id == note.lease:
                if not note.waiting and share.idle(now):
                    return False  # what an idle one gave back is no want
                share.waiting = share.waiting or note.waiting > 0
                share.wants = max(1, from_wire(min(note.want, 1e12), share.limit.unit))
                share.touched = now
                return True
        return False

    def answered(self, standing: Standing) -> None:
        """A sidecar says how it stands under the version that was sent last."""
        if standing.version != self.version:
            return
        for held in standing.leases:
            for share in self.shares.values():
                if share.id == held.lease:
                    granted = share.granted if held.limit is None else from_wire(held.limit, share.limit.unit)
                    share.ceiling = max(granted, from_wire(held.used + held.reserved, share.limit.unit))

    def allowance(self, terms: Terms) -> Allowance:
        """What to send now."""
        leases = [self._lease(share, terms) for share in self.shares.values()]
        free = [Lease(id=self._id("free", provider), provider=provider) for provider in terms.free]
        return Allowance(
            version=self.version,
            leases=(*leases, *free),
            preflight=terms.preflight,
            count=terms.count,
            cutoff_scope="all" if terms.whole else "metered",
            cutoff=terms.cutoff,
            rates=terms.rates,
        )

    def due(self, allowance: Allowance, now: float) -> bool:
        """Whether the sidecar must hear of it: it says something else, or the leases would run out."""
        if self.sent is None or self.sent.model_copy(update={"version": self.version}) != allowance:
            return True
        return bool(self.shares) and now - self.sent_at >= LEASE_SECONDS / 3

    def _lease(self, share: Share, terms: Terms) -> Lease:
        held = share.limit
        return Lease.model_validate(
            {
                "id": share.id,
                "provider": held.provider,
                "unit": held.unit,
                "limit": to_wire(share.granted, held.unit),
                "seconds": LEASE_SECONDS,
                "when_spent": terms.spent.get(held.provider, "more"),
                "budget": budget.described(held, shown(held.scope, terms.name))[:300],
            }
        )

    def _id(self, *parts: str) -> str:
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        return f"{digest}-{self.generation}"
