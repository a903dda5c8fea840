"""Step 6: every request that a route allows is looked through before anybody is asked and anything is dialled. Then the
on-match policy: it goes on, goes on without what was found, is held for the operator, or is refused.

Decides nothing by itself (`verdict.py`) and finds nothing by itself (`examine.py`).
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mitmproxy.http import Headers, HTTPFlow

from sidecar.contract import Report
from sidecar.dlp.decode import Undecodable
from sidecar.dlp.drip import Drips, Scattered
from sidecar.dlp.engine import masked
from sidecar.dlp.finding import Finding, Match
from sidecar.dlp.host_labels import HostLabels
from sidecar.egress.addons.journal import Journal
from sidecar.egress.examine import (
    CARRY,
    DRIP_DETECTORS,
    SHAPES,
    Examined,
    Look,
    blanked,
    clean,
    clean_message,
    drip,
    examine,
    examine_message,
)
from sidecar.egress.exchange import Exchange, exchange_of, refuse
from sidecar.egress.holds import APPROVED, Holds, Unasked, Where
from sidecar.egress.lfs import Batch
from sidecar.egress.message import Message
from sidecar.egress.redirects import STATUSES, Address, Redirects
from sidecar.egress.refusal import Refusal
from sidecar.egress.scanner import Scanner
from sidecar.egress.state import State
from sidecar.egress.verdict import (
    TOGETHER,
    Inspection,
    Verdict,
    alarm_text,
    evidence,
    judge,
    literal,
    rank,
    refusal_reason,
    values_of,
)
from sidecar.guard import patient
from sidecar.tasks import spawn

MAX_ASKED = 20
"""Values of one request that the operator is asked about; one with more is refused."""


class Outbound:
    """After the credentials were taken off, before anything is resolved."""

    def __init__(self, state: State, scanner: Scanner, holds: Holds, journal: Journal, scattered: Scattered) -> None:
        self._state = state
        self._scanner = scanner
        self._holds = holds
        self._journal = journal
        self._drips = Drips()
        self._scattered = scattered
        self._labels = HostLabels()
        self._redirects = Redirects()

    def request(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None:
            return None
        return self._check(flow, exchange)

    async def _check(self, flow: HTTPFlow, exchange: Exchange) -> None:
        message = message_of(flow, exchange)
        if self._redirects.led_to(_address(flow, exchange)):
            message = replace(message, given=True)
        look = self._look(exchange, _where(message))
        exchange.leads = look.inspection.detectors >= SHAPES and not look.allowed
        try:
            findings = await self._findings(message, look, exchange)
            verdict = judge(findings, look.inspection, self._scanner.stand_ins)
            self._note(exchange, findings, verdict)
            if verdict.action == "hold":
                exchange.leads = False
                await self._hold(flow, exchange, message, look, verdict)
            else:
                await self._act(flow, exchange, message, look, findings, verdict)
        except Undecodable as error:
            refuse(flow, error.code, str(error))

    async def _act(
        self,
        flow: HTTPFlow,
        exchange: Exchange,
        message: Message,
        look: Look,
        findings: tuple[Finding, ...],
        verdict: Verdict,
    ) -> None:
        """What needs nobody's answer."""
        if verdict.action == "redact":
            await self._redact(flow, exchange, message, look, findings)
        elif verdict.action == "refuse":
            refuse(flow, verdict.code, verdict.reason)

    def _look(self, exchange: Exchange, where: Where, given: Sequence[Match] = ()) -> Look:
        """By the policy in force now. What was approved (`given`: for this request alone) counts only where the
        operator would still be asked: a policy that blocks since then is never overridden."""
        assert exchange.route is not None
        inspection = Inspection.of(exchange.route, self._state.policy.policy)
        allowed = (*self._holds.allowed(where), *given) if inspection.on_match == "supervise" else ()
        return Look(inspection, allowed, self._scanner.session(exchange.route))

    def responseheaders(self, flow: HTTPFlow) -> None:
        exchange, response = exchange_of(flow), flow.response
        if response is None or not exchange.sent or exchange.refusal is not None or not exchange.leads:
            return
        if response.status_code in STATUSES and "location" in response.headers:
            self._redirects.note(_address(flow, exchange), _latin(response.headers["location"]))
        elif response.status_code == 200 and Batch.told_by(response.headers.get("content-type", "")):
            exchange.links = Batch(response.headers.get("content-encoding", ""))
            exchange.taps.append(exchange.links.feed)

    def response(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        for link in exchange.links.links() if exchange.links is not None else ():
            self._redirects.note(_address(flow, exchange), _latin(link))
        exchange.links = None

    # --- WebSocket ----------------------------------------------------------------------------------------------------

    def websocket_start(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        exchange.inspected = exchange.route is not None and not exchange.local

    def agent_message(self, flow: HTTPFlow) -> Coroutine[Any, Any, None] | None:
        """A message cannot be held: an approved value passes, what can be taken out of a text is, all else ends it."""
        exchange = exchange_of(flow)
        return self._message(flow, exchange) if exchange.route is not None else None

    async def _message(self, flow: HTTPFlow, exchange: Exchange) -> None:
        message = exchange.message
        data = message.encode() if isinstance(message, str) else message
        look = self._look(exchange, (exchange.host, flow.request.method, _path(flow)))
        work = partial(examine_message, data=data, carry=exchange.carry, look=look)
        examined = await self._scanner.run(len(data) + len(exchange.carry), work)
        findings = examined.findings
        if not examined.blocked:
            findings += await self._in_many(examined, exchange.host, data, look)
        verdict = judge(findings, look.inspection, self._scanner.stand_ins)
        self._note(exchange, findings, verdict)
        apart = not any(finding.location in TOGETHER for finding in findings)
        if verdict.action == "redact" and isinstance(message, str) and apart:
            after = await self._left_of(data, exchange, look)
            if after is not None:
                exchange.message, data = after.decode("utf-8", "replace"), after
                exchange.redacted = True
                verdict = Verdict("pass")
        if verdict.action != "pass":
            worst = min((each for each in findings if each.severity == "block"), key=rank)
            code = verdict.code if verdict.action == "refuse" else "secret_found"
            exchange.refusal = Refusal(code, verdict.reason or refusal_reason(worst), exchange.host)
        exchange.carry = (exchange.carry + data)[-CARRY:]

    async def _left_of(self, data: bytes, exchange: Exchange, look: Look) -> bytes | None:
        """A message without what is found in it; None where that is not all."""
        after = await self._scanner.run(len(data), partial(clean_message, data=data, look=look))
        if after is None:
            return None
        work = partial(examine_message, data=after, carry=exchange.carry, look=look)
        examined = await self._scanner.run(len(after) + len(exchange.carry), work)
        found = examined.blocked or await self._in_many(examined, exchange.host, after, look)
        return None if found else after

    # --- how ----------------------------------------------------------------------------------------------------------

    async def _findings(self, message: Message, look: Look, exchange: Exchange) -> tuple[Finding, ...]:
        """Of the message itself, of the host's name under a wildcard, and of what small requests hold together."""
        now = time.monotonic()
        found: list[Finding] = []
        route = exchange.route
        if route is not None and route.wildcard and "host_labels" in look.inspection.detectors:
            label = self._labels.find(message.host, route.host[2:], now)
            found += [label] if label is not None else []
        examined = await self._scanner.run(message.size, partial(examine, message=message, look=look))
        found += examined.findings
        if not any(finding.severity == "block" for finding in found):
            found += await self._in_many(examined, message.host, message.changing(), look)
        return tuple(found)

    async def _in_many(self, examined: Examined, host: str, text: bytes, look: Look) -> tuple[Finding, ...]:
        """What stands in several requests or messages together, of which this one is the last. Those in which something
        was found do not count, nor those that leave unscanned, or the next ones would be refused for it."""
        now = time.monotonic()
        found = examined.scattered(self._scattered.before(examined.pieces, now))
        if not found:  # at once: another request may come while the next lines wait
            self._scattered.add(examined.pieces, examined.size, now)
        if not look.inspection.detectors & DRIP_DETECTORS:
            return found
        joined = self._drips.add(host, masked(text, look.allowed), now)
        return found + await self._scanner.run(len(joined), partial(drip, joined=joined, look=look))

    def _note(self, exchange: Exchange, findings: tuple[Finding, ...], verdict: Verdict) -> None:
        if findings:
            exchange.detail["findings"] = evidence(findings)
            exchange.masks = tuple(values_of(findings))
            exchange.path_hidden = any(finding.location == "path" and not literal(finding) for finding in findings)
        if verdict.alarm:
            named = next(finding for finding in findings if finding.detector == "canary")
            what = "was taken out of a request" if verdict.action == "redact" else "was stopped on its way"
            exchange.alarmed = True
            self._journal.notice("error", "canary_leaked", alarm_text(named, exchange.host, what))

    # --- redact -------------------------------------------------------------------------------------------------------

    async def _redact(
        self, flow: HTTPFlow, exchange: Exchange, message: Message, look: Look, findings: tuple[Finding, ...]
    ) -> None:
        cleaned = await self._scanner.run(message.size, partial(clean, message=message, look=look))
        apart = not any(finding.location in {"host", *TOGETHER} for finding in findings)
        if cleaned is not None and apart:  # the rest of it leaves, so it counts like any other
            findings += await self._in_many(cleaned.examined, message.host, cleaned.message.changing(), look)
            exchange.detail["findings"] = evidence(findings)
            apart = not any(finding.location in TOGETHER for finding in findings)
        if cleaned is None or not apart or not self._covered(exchange, cleaned.message):
            worst = next(finding for finding in findings if finding.severity == "block")
            refuse(flow, "redaction_failed", refusal_reason(worst, "it cannot be taken out of this request"))
            return
        after = cleaned.message
        request = flow.request
        request.data.path = after.target
        request.headers = Headers(after.headers)
        if after.body != message.body:
            request.raw_content = after.body
        exchange.redacted = True

    def _covered(self, exchange: Exchange, after: Message) -> bool:
        """Rules hold for what leaves, not for what came."""
        if exchange.facts is None:
            return False
        target = after.target.decode("latin-1")
        headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in after.headers)
        facts = replace(exchange.facts, target=target, headers=headers)
        verdict = self._state.policy.decide(facts)
        return verdict.allowed and verdict.route == exchange.route

    # --- hold ---------------------------------------------------------------------------------------------------------

    async def _hold(self, flow: HTTPFlow, exchange: Exchange, message: Message, look: Look, verdict: Verdict) -> None:
        """Ask about each value in turn. Every answer is followed by another scan, by the policy of that moment: a
        second secret is still caught, and so is what only a newer policy forbids."""
        seconds = self._state.policy.policy.hold_seconds
        where = _where(message)
        given: list[Match] = []  # what was approved for this request alone is kept nowhere else
        for _ in range(MAX_ASKED):
            if not await self._would_pass(message, look, verdict):
                refuse(flow, "secret_found", refusal_reason(verdict.ask[0], "nothing of it can be approved by itself"))
                return
            finding = verdict.ask[0]
            self._journal.held(flow, exchange, refusal_reason(finding))
            answer = await self._ask(flow, exchange, finding, where, seconds)
            if answer is not None:
                refuse(flow, *answer)
                return
            given += [finding.value] if finding.value is not None else []
            look = self._look(exchange, where, given)
            examined = await self._scanner.run(message.size, partial(examine, message=message, look=look))
            findings = examined.findings
            if not examined.blocked:  # it leaves, so it counts like any other
                findings += await self._in_many(examined, message.host, message.changing(), look)
            exchange.masks += tuple(values_of(findings))
            verdict = judge(findings, look.inspection, self._scanner.stand_ins)
            if verdict.action != "hold":
                exchange.detail["approved"] = True
                await self._act(flow, exchange, message, look, findings, verdict)
                return
        refuse(flow, "secret_found", "too many values to ask about")

    async def _would_pass(self, message: Message, look: Look, verdict: Verdict) -> bool:
        """Nobody is asked about what would be refused anyway."""
        after = blanked(verdict.ask, look)
        examined = await self._scanner.run(message.size, partial(examine, message=message, look=after))
        return judge(examined.findings, look.inspection, self._scanner.stand_ins).action == "pass"

    async def _ask(
        self, flow: HTTPFlow, exchange: Exchange, finding: Finding, where: Where, seconds: float
    ) -> tuple[str, str] | None:
        """None where the operator said yes; else the code and reason of the refusal."""
        report = self._report(flow, exchange, finding)
        asking = spawn(
            self._holds.ask(finding, where, report, seconds), name="hold", on_error=lambda _: None
        )  # what it raises is raised below
        exchange.on_left = asking.cancel
        try:
            async with patient(flow, seconds):
                outcome = await asking
        except Unasked as error:
            return "hold_unavailable", refusal_reason(finding, str(error))
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                asking.cancel()
                raise
            return "client_closed", "the client went away while its request was held"
        finally:
            exchange.on_left = None
        if outcome.state in APPROVED:
            return None
        if outcome.state == "rejected":
            said = f"the operator said no: {outcome.reason}" if outcome.reason else "the operator said no"
            return "hold_rejected", refusal_reason(finding, said)
        return "hold_expired", refusal_reason(finding, "the operator has not answered in time")

    def _report(self, flow: HTTPFlow, exchange: Exchange, finding: Finding) -> Report:
        return Report(
            request_id=exchange.id,
            host=exchange.host,
            port=exchange.port,
            method=flow.request.method[:32],
            path=self._journal.path(flow),
            detector=finding.detector,
            title=finding.title[:200],
            location=finding.location[:200],
            snippet=finding.snippet[:500],
        )


def _latin(text: str) -> str:
    """An address as it stands in a request's first line, were it asked for."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _where(message: Message) -> Where:
    return message.host, message.method.decode("latin-1"), message.path


def _path(flow: HTTPFlow) -> str:
    return flow.request.data.path.partition(b"?")[0].decode("latin-1")


def _address(flow: HTTPFlow, exchange: Exchange) -> Address:
    return Address(exchange.scheme, exchange.host, exchange.port, flow.request.data.path.decode("latin-1"))


def message_of(flow: HTTPFlow, exchange: Exchange) -> Message:
    request = flow.request.data
    assert exchange.route is not None
    return Message(
        host=exchange.host,
        method=request.method,
        target=request.path,
        headers=request.headers.fields,
        body=request.content or b"",
        limit=exchange.route.max_body,
    )
