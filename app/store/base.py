"""The repository contract: what the controller may ask of a store, whatever engine is behind it.

Values in, values out; no SQL, no path and no engine's type crosses this seam, and the same contract tests run against
every engine. Only the controller holds a `Store`. What it keeps comes partly from bottles: it is data, never code.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.model import BottleView, StreamEvent
from app.core.notices import Notice
from app.core.schema import Keep
from app.errors import CarboyError
from app.store.chain import AuditRow
from app.store.metering import Kept, Metering, MeterStore
from app.store.pruning import Pruned
from sidecar.spool import Position

__all__ = ["Asker", "Decided", "EventQuery", "NewEvent", "Position", "ProposalRow", "SecretName", "Store"]


@dataclass(frozen=True)
class NewEvent:
    """An event to be kept. `event_id` is unique within its session: the same one is kept once, however often it comes
    (uniqueness across sessions would let one bottle hide another's events by guessing their ids)."""

    event_id: str
    at: float
    kind: str
    payload: dict[str, Any]
    decision: str = ""
    host: str = ""


@dataclass(frozen=True)
class EventQuery:
    """Which kept events. All that is given must match; the newest `limit` of them, newest last.

    With `after` alone (a resume) it is the *oldest* `limit` beyond it, so that pages follow one another. `host` and
    `text` are looked for in a bounded number of events (`queries.SEARCHED`), counted from the same end.
    """

    slug: str | None = None
    after: int | None = None
    before: int | None = None
    decision: str | None = None
    host: str | None = None
    text: str | None = None
    session_id: str | None = None
    limit: int = 500


@dataclass(frozen=True)
class ProposalRow:
    """Something that waits for, or got, the operator's decision (control-plane.md, "Proposals and decisions")."""

    id: str
    slug: str
    session_id: str
    kind: str
    state: str
    created_at: float
    payload: dict[str, Any]
    justification: str = ""
    content_key: str = ""
    base_hash: str = ""
    expires_at: float | None = None
    decided_at: float | None = None
    decided_by: str = ""
    reason: str = ""
    scope: str = ""
    outcome: dict[str, Any] | None = None
    applied_at: float | None = None
    error: str = ""
    asked: int = 1
    """How often the bottle asked this: askers with the same question join the one that is pending."""


@dataclass(frozen=True)
class Decided:
    """What the one decision on a proposal says. `outcome` holds what was changed by it."""

    state: str
    at: float
    by: str = ""
    reason: str = ""
    scope: str = ""
    outcome: dict[str, Any] | None = None
    applied_at: float | None = None


@dataclass(frozen=True)
class Asker:
    """One question of a bottle, by the id that the bottle knows, and what became of it."""

    id: str
    proposal_id: str
    state: str
    reason: str
    scope: str
    decided_at: float


@dataclass(frozen=True)
class SecretName:
    """What is remembered of a secret: never its value."""

    name: str
    set_at: float
    used_at: float | None = None


class Store(MeterStore, ABC):
    """Everything carboy remembers. Every call is atomic and has been written durably when it returns."""

    fault: CarboyError | None = None
    """Why the last writing failed, as long as none has succeeded since: what clients are told of."""

    @abstractmethod
    async def open(self) -> None:
        """Make it ready: folder, file, migrations. Raises CarboyError where the database is newer than the program."""

    @abstractmethod
    async def close(self) -> None:
        """Write everything out and let go. Idempotent."""

    async def add_events(
        self, slug: str, session_id: str, events: Sequence[NewEvent], position: Position | None = None
    ) -> list[StreamEvent]:
        """Keep `events` and the spool's `position` in one transaction. Returns those that were new, with their seq."""
        return (await self.ingest(slug, session_id, events, position)).events

    @abstractmethod
    async def ingest(
        self,
        slug: str,
        session_id: str,
        events: Sequence[NewEvent],
        position: Position | None = None,
        metering: Metering | None = None,
    ) -> Kept:
        """The same, with what the batch says of usage. Returns what was new of all of it."""

    @abstractmethod
    async def position(self, session_id: str) -> Position:
        """How far this session's spool was ingested; the beginning for a session not seen yet."""

    @abstractmethod
    async def events(self, query: EventQuery) -> list[StreamEvent]:
        """Kept events, in the order of their seq."""

    @abstractmethod
    async def last_seq(self) -> int:
        """The highest seq ever given; 0 for none."""

    @abstractmethod
    async def counts(self, session_id: str) -> dict[str, int]:
        """How many ended requests of this session there were, by decision, also those whose lines are gone."""

    @abstractmethod
    async def dropped(
        self, *, slug: str | None = None, session_id: str | None = None, decision: str | None = None
    ) -> int:
        """How many lines are gone of what `EventQuery` of the same name or decision asks for."""

    @abstractmethod
    async def kept_lines(self) -> tuple[int, int]:
        """How many lines are kept, and about how many bytes they take."""

    @abstractmethod
    async def prune(self, now: float, kept: Collection[str], keep: Keep) -> Pruned:
        """Take out what is older or larger than `keep` says, in steps that hold nobody up. `kept` are the ids of
        sessions that are on disk and may be gone on with."""

    @abstractmethod
    async def shrink(self) -> int:
        """Give back the room that is free in the file, where it is most of it and quickly done: how many bytes."""

    @abstractmethod
    async def refusals(self, session_id: str, since: float) -> list[tuple[str, str, str, int]]:
        """What this session was refused since then, and what failed: host, decision (deny or error), code and how
        often; the most frequent first, bounded."""

    @abstractmethod
    async def orders(self, session_id: str, since: float) -> list[AuditRow]:
        """Audit rows about this session since then, the newest hundred, in order."""

    @abstractmethod
    async def save_session(self, view: BottleView) -> None:
        """Remember a session as it is now, by its session id."""

    @abstractmethod
    async def sessions(self, *, slug: str | None = None, limit: int = 500) -> list[BottleView]:
        """Remembered sessions, the newest first."""

    @abstractmethod
    async def proposals(self, *, slug: str | None = None, state: str | None = None) -> list[ProposalRow]:
        """Proposals, the oldest first."""

    @abstractmethod
    async def proposal(self, identity: str) -> ProposalRow | None:
        """The proposal of this id, or the one that the asker of this id joined."""

    @abstractmethod
    async def add_proposal(self, row: ProposalRow) -> ProposalRow:
        """Keep a new proposal, or join it to one with the same question that is pending or whose answer holds for this
        repeat. Idempotent by id: one that is known waits longer at most. Returns the one that stands now. Raises
        CarboyError where another session has the id."""

    @abstractmethod
    async def decide_proposal(self, identity: str, decided: Decided, said: AuditRow) -> ProposalRow:
        """Write the decision, once, and the audit row that says so: both or neither. Raises CarboyError
        `already_decided`, which says who was first, and where the row does not follow the last one."""

    @abstractmethod
    async def fault_proposal(self, identity: str, error: str) -> None:
        """Remember why a pending proposal could not be applied."""

    @abstractmethod
    async def leave_proposal(self, asker: str) -> bool:
        """This asker waits no more. True where nobody is left who does."""

    @abstractmethod
    async def untold(self, session_id: str) -> list[Asker]:
        """Decided questions of a session of which its sidecar has not been told."""

    @abstractmethod
    async def told(self, asker: str, *, known: bool = True) -> None:
        """The sidecar has been told; not `known`: it is another one by now, and nobody in it had asked."""

    @abstractmethod
    async def secret_names(self) -> list[SecretName]:
        """Secrets that were put into the keyring, by name."""

    @abstractmethod
    async def secret_set(self, name: str, at: float) -> None:
        """A secret of this name is in the keyring since `at`."""

    @abstractmethod
    async def secret_gone(self, name: str) -> bool:
        """It is there no more. False where it was not known."""

    @abstractmethod
    async def secrets_used(self, names: Sequence[str], at: float) -> None:
        """A launch used these; names that are not known are left out."""

    @abstractmethod
    async def add_notice(self, notice: Notice, keep: int) -> Notice:
        """Remember a notice, and the newest `keep` of all. Returns it with its number."""

    @abstractmethod
    async def notices(self) -> list[Notice]:
        """The remembered ones, the newest first."""

    @abstractmethod
    async def read_notices(self, upto: int) -> None:
        """Those numbered up to `upto` have been read."""

    @abstractmethod
    async def clear_notices(self) -> None:
        """Forget all of them."""

    @abstractmethod
    async def append_audit(self, row: AuditRow) -> None:
        """Add a row at the end of the chain. Raises CarboyError unless it is the next number."""

    @abstractmethod
    async def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Rows of the chain in order, those numbered above `after`."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Fold what engines keep beside the database into it."""
