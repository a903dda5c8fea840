"""Questions of one bottle that wait for the operator: opened into the spool, answered by the control channel.

It only asks and waits: that access was widened before an approval is told is the controller's business, and nothing
here changes a policy. Whatever is held open is bounded, since a bottle decides how much it asks.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Literal

from sidecar.contract import DecisionBody, ProposalEvent, ProposalKind, Report, Route
from sidecar.egress.exchange import new_id
from sidecar.spool import MAX_LINE, SpoolWriter
from sidecar.supervise.limits import Bucket

MAX_OPEN = 20
"""Questions of one bottle that wait at once: more cards than that nobody reads."""
BURST, EVERY_SECONDS = 100, 30.0
"""New questions of one bottle at once, and then one each so many seconds. What became of each is on record for good,
also where it was answered in a moment because all of it was allowed already."""
MAX_WAITERS = 64
"""Calls and requests that wait on those, of one bottle."""
MAX_DECIDED = 256
"""Answers kept for those who ask again."""
GRACE_SECONDS = 15.0
"""From the last who left to the withdrawal: pip repeats a request after 15 s, others within a few. It also bounds how
many cards one makes who asks and goes away again."""
LEAST_SECONDS, MORE_SECONDS = 1.0, 5.0
"""By what the time of a question is made longer at least, and how far beyond the wait that needs it: repeats come in
bursts, and a flood of them is few lines."""

type Settled = Literal["approved", "modified", "rejected", "expired", "withdrawn"]


class TooMany(Exception):
    """The cap of open questions, or of those who wait, is reached. The text is for the agent."""


class TooLarge(Exception):
    """The question does not fit into one event."""


class NotRecorded(Exception):
    """The spool does not take events: what cannot be recorded is not asked."""


@dataclass(frozen=True)
class Outcome:
    """What was decided. `reason` and `scope` are the operator's."""

    state: Settled
    reason: str = ""
    scope: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Question:
    """What is asked. The same `content_key` is the same question, whoever asks it."""

    kind: ProposalKind
    content_key: str
    expires_at: float
    justification: str = ""
    routes: tuple[Route, ...] | None = None
    base_hash: str = ""
    report: Report | None = None


@dataclass
class Ticket:
    """One question on the desk. `outcome` is None while it waits; `waiters` are those who wait for it now, `leaves` how
    often the last of them left."""

    id: str
    question: Question
    opened: float
    waiters: int = 0
    leaves: int = 0
    outcome: Outcome | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Desk:
    """Not for threads: all of it runs on the sidecar's loop."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self._open: dict[str, Ticket] = {}
        self._decided: dict[str, Ticket] = {}
        self._waiters = 0
        self._room = Bucket(1 / EVERY_SECONDS, BURST)

    @property
    def open_count(self) -> int:
        self._expire()
        return len(self._open)

    def ask(self, question: Question) -> Ticket:
        """Put a question to the operator. One that waits already, with the same content, is joined.

        Raises TooMany, TooLarge or NotRecorded; then nothing was asked.
        """
        self._expire()
        for ticket in self._open.values():
            if ticket.question.content_key == question.content_key:
                return ticket
        if len(self._open) >= MAX_OPEN:
            raise TooMany("too many open proposals: wait until the operator has decided some of them")
        if not self._room.take(time.monotonic()):
            raise TooMany(f"too many questions: one more each {EVERY_SECONDS:.0f} seconds")
        ticket = Ticket(f"p{secrets.token_hex(6)}", question, time.time())
        self._write(self._event(ticket, "open"))
        self._open[ticket.id] = ticket
        return ticket

    async def wait(self, ticket: Ticket, seconds: float) -> Outcome | None:
        """The decision, or None where there is none after `seconds`. The question's time is made longer where it would
        end before: who asked first does not say how long others wait. Raises TooMany."""
        self._expire()
        if ticket.outcome is not None:
            return ticket.outcome
        if self._waiters >= MAX_WAITERS:
            raise TooMany("too many calls wait for the operator already")
        self._lengthen(ticket, time.time() + seconds)
        self._waiters += 1
        ticket.waiters += 1
        try:
            async with asyncio.timeout(min(seconds, max(0.0, ticket.question.expires_at - time.time()))):
                await ticket.settled.wait()
        except TimeoutError:
            self._expire()
        finally:
            self._waiters -= 1
            ticket.waiters -= 1
        return ticket.outcome

    def decide(self, body: DecisionBody) -> bool:
        """Take the operator's decision. False for a question that is not known (any more), or ended otherwise.

        A request that was held has been refused once its time is over: the answer is then for its repeat, which the
        controller gives it to. Access that was proposed is in the routes by now, however late.
        """
        self._expire()
        ticket = self._open.get(body.proposal_id) or self._decided.get(body.proposal_id)
        if ticket is None:
            return False
        held = ticket.question.report is not None
        if ticket.outcome is not None and (held or ticket.outcome.state != "expired"):
            return ticket.outcome.state == body.state
        self._settle(ticket, Outcome(body.state, body.reason, body.scope, body.decided_at or time.time()))
        return True

    def leave(self, ticket: Ticket, reason: str) -> None:
        """The last who waited has gone away: withdrawn in a moment, if nobody asks the same until then."""
        ticket.leaves += 1
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._left, ticket, ticket.leaves, reason)

    def _left(self, ticket: Ticket, leaves: int, reason: str) -> None:
        if not ticket.waiters and ticket.leaves == leaves:
            self.withdraw(ticket, reason)

    def withdraw(self, ticket: Ticket, reason: str = "") -> None:
        """Whoever asked is gone for good: take the question off the operator's desk."""
        if ticket.outcome is None:
            self._settle(ticket, Outcome("withdrawn", reason, at=time.time()))
            self._spool.write(self._event(ticket, "withdrawn").model_dump(mode="json"))

    def find(self, proposal_id: str) -> Ticket | None:
        self._expire()
        return self._open.get(proposal_id) or self._decided.get(proposal_id)

    def last_of(self, content_key: str) -> Ticket | None:
        """The latest decided question with this content."""
        found = (ticket for ticket in reversed(self._decided.values()) if ticket.question.content_key == content_key)
        return next(found, None)

    def _expire(self) -> None:
        """The controller says so as well; but it may be away, and an old question must not take up a place."""
        now = time.time()
        for ticket in [ticket for ticket in self._open.values() if ticket.question.expires_at <= now]:
            self._settle(ticket, Outcome("expired", at=now))

    def _lengthen(self, ticket: Ticket, until: float) -> None:
        """Opened once more, with a later end. Where that cannot be recorded it ends as it would have: the controller
        would not know better."""
        if until < ticket.question.expires_at + LEAST_SECONDS or not self._spool.ready():
            return
        ticket.question = replace(ticket.question, expires_at=until + MORE_SECONDS)
        self._spool.write(self._event(ticket, "open").model_dump(mode="json"))

    def _settle(self, ticket: Ticket, outcome: Outcome) -> None:
        self._open.pop(ticket.id, None)
        self._decided.pop(ticket.id, None)
        self._decided[ticket.id] = ticket
        while len(self._decided) > MAX_DECIDED:
            del self._decided[next(iter(self._decided))]
        ticket.outcome = outcome
        ticket.settled.set()

    def _event(self, ticket: Ticket, action: Literal["open", "withdrawn"]) -> ProposalEvent:
        question = ticket.question
        return ProposalEvent(
            id=new_id(),
            at=time.time(),
            proposal_id=ticket.id,
            type=question.kind,
            action=action,
            content_key=question.content_key,
            expires_at=question.expires_at,
            justification=question.justification if action == "open" else "",
            routes=question.routes if action == "open" else None,
            base_hash=question.base_hash,
            report=question.report if action == "open" else None,
        )

    def _write(self, event: ProposalEvent) -> None:
        """As an event of the spool, which drops a line that is too long and remembers what the disk refused."""
        document = event.model_dump(mode="json")
        if len(event.model_dump_json()) >= MAX_LINE - 1024:
            raise TooLarge(f"larger than {MAX_LINE // 1024} KiB in all: propose fewer or shorter routes")
        if not self._spool.ready():
            raise NotRecorded("the spool takes no events")
        self._spool.write(document)
