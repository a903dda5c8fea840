"""Requests held until the operator has decided, and what was approved. In memory only, for this process's life.

A value is approved for one host, method, path and detector; it is known by its HMAC, and kept to be left out of later
scans there for as long as the operator said. `once` is for the requests that wait for this answer, or for the next one
where none does any more. Whoever waits may go away: the question stays a moment, since clients that gave up ask again.
"""

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from sidecar.contract import SCOPE_SECONDS, Report
from sidecar.dlp.finding import Finding, Match
from sidecar.secret import Secret
from sidecar.supervise.desk import (
    Desk,
    NotRecorded,
    Outcome,
    Question,
    Settled,
    Ticket,
    TooLarge,
    TooMany,
)
from sidecar.tasks import spawn

MAX_APPROVED = 512

type Where = tuple[str, str, str]
"""Host, method and path."""
type _Key = tuple[Where, str, bytes]
"""Where, which detector, and the HMAC of the value."""


class Unasked(Exception):
    """The operator could not be asked. The text is for the agent."""


@dataclass
class _Waiting:
    """A question that requests wait for."""

    ticket: Ticket
    finding: Finding
    where: Where
    served: bool = False


@dataclass(frozen=True)
class _Approved:
    """A value that may go somewhere, until when (Unix time), and what the operator said."""

    value: Match
    until: float
    outcome: Outcome


@dataclass
class Holds:
    """Not for threads. `key` makes content keys that are the same after a restart of the sidecar."""

    desk: Desk
    key: Secret
    _approved: OrderedDict[_Key, _Approved] = field(default_factory=OrderedDict[_Key, _Approved])
    _single: OrderedDict[_Key, _Approved] = field(default_factory=OrderedDict[_Key, _Approved])
    _waiting: dict[str, _Waiting] = field(default_factory=dict[str, _Waiting])

    def allowed(self, where: Where) -> tuple[Match, ...]:
        """The values that an operator approved there."""
        now = time.time()
        found = (each for (place, _, _), each in self._approved.items() if place == where)
        return tuple(each.value for each in found if each.until > now)

    async def ask(self, finding: Finding, where: Where, report: Report, seconds: float) -> Outcome:
        """Hold until it is decided. Raises Unasked; a request that is cancelled meanwhile has left."""
        single = self._single.pop(self._key(finding, where), None)
        if single is not None and single.until > time.time():
            return single.outcome
        question = Question(
            "egress-token-allow", self._content_key(finding, where), time.time() + seconds, report=report
        )
        try:
            ticket = self.desk.ask(question)
            waiting = self._join(ticket, finding, where)
            try:
                outcome = await self.desk.wait(ticket, seconds)
            finally:
                if not ticket.waiters and ticket.outcome is None:
                    self.desk.leave(ticket, "the client has gone")
        except (TooMany, TooLarge, NotRecorded) as error:
            raise Unasked(str(error)) from None
        outcome = outcome or Outcome("expired")
        if outcome.state in APPROVED:
            waiting.served = True
            self._keep(finding, where, outcome)
        return outcome

    def _join(self, ticket: Ticket, finding: Finding, where: Where) -> _Waiting:
        waiting = self._waiting.get(ticket.id)
        if waiting is None:
            waiting = self._waiting[ticket.id] = _Waiting(ticket, finding, where)
            spawn(self._settle(waiting), name=f"hold {ticket.id}")
        return waiting

    async def _settle(self, waiting: _Waiting) -> None:
        """Keep what is approved, also where nobody waits any more: the client will ask again."""
        ticket = waiting.ticket
        try:
            while ticket.outcome is None and (left := ticket.question.expires_at - time.time()) > 0:
                with contextlib.suppress(TimeoutError):  # who joined may have made its time longer
                    await asyncio.wait_for(ticket.settled.wait(), left)
        finally:
            self._waiting.pop(ticket.id, None)
        if ticket.outcome is not None and ticket.outcome.state in APPROVED:
            self._keep(waiting.finding, waiting.where, ticket.outcome, waited=waiting.served or ticket.waiters > 0)

    def _keep(self, finding: Finding, where: Where, outcome: Outcome, *, waited: bool = True) -> None:
        assert finding.value is not None
        if outcome.scope == "once" and waited:
            return
        until = outcome.at + SCOPE_SECONDS.get(outcome.scope, float("inf"))
        kept = self._single if outcome.scope == "once" else self._approved
        kept[self._key(finding, where)] = _Approved(finding.value, until, outcome)
        while len(kept) > MAX_APPROVED:
            kept.popitem(last=False)

    def _key(self, finding: Finding, where: Where) -> _Key:
        assert finding.value is not None
        return where, finding.detector, self._mac(finding.value.reveal())

    def _content_key(self, finding: Finding, where: Where) -> str:
        assert finding.value is not None
        parts = "\n".join((*where, finding.detector)).encode("utf-8", "surrogateescape")
        return self._mac(parts + b"\n" + finding.value.reveal()).hex()

    def _mac(self, data: bytes) -> bytes:
        return hmac.digest(self.key.reveal().encode(), data, hashlib.sha256)


APPROVED: frozenset[Settled] = frozenset({"approved", "modified"})
