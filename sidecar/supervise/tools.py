"""The tools of one bottle: what each takes and does. Knows nothing of the protocol they are called by.

No tool changes the policy: asking writes a proposal, and only the operator's decision, applied by the controller,
widens anything.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from sidecar.contract import Policy, Route, RouteMatch, routes_hash
from sidecar.dlp.finding import Location
from sidecar.egress.scanner import Scanner
from sidecar.egress.state import State
from sidecar.supervise import answers, routes
from sidecar.supervise.answers import Answer
from sidecar.supervise.arguments import (
    Arguments,
    AskArguments,
    CallerFault,
    CheckArguments,
    ListArguments,
    parse,
)
from sidecar.supervise.desk import Desk, Question, Ticket, TooLarge, TooMany
from sidecar.supervise.faults import trail

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
"""Between two signs of life: clients give up after 60 s of silence, proxies in between after 15 and more."""
LASTS_SECONDS = 8 * 3600.0
"""How long an access question waits on the operator's desk, beyond the call that asked it: a night."""
REPEAT_SECONDS = 300.0
"""The same question again within this time of a rejection gets the same answer, and the operator no new card."""

type Progress = Callable[[float, str], Awaitable[None]]
"""Called every few seconds while a tool waits, with the seconds so far and a text."""


@dataclass(frozen=True)
class Tool:
    name: str
    title: str
    description: str
    arguments: type[Arguments]
    asks: bool = True
    """Only where there is an operator to ask."""


_BOTH = (
    "Give `host` with the `methods` and `paths` that are needed, or all `routes` as they should become with the "
    "`base_hash` of list-egress-routes. Ask for as little as does the job. Waits for the operator's decision and "
    "answers with it, or with a pending proposal's id for check-proposal. There is no other way out of this sandbox."
)
TOOLS = (
    Tool(
        "list-egress-routes",
        "List egress routes",
        "What this sandbox may reach: its live routes, and the `base_hash` that a proposal of whole routes needs.",
        ListArguments,
        asks=False,
    ),
    Tool(
        "egress-allow",
        "Ask for access ahead of need",
        "Asks the operator to allow hosts that will be needed. " + _BOTH,
        AskArguments,
    ),
    Tool(
        "egress-block",
        "Ask for access after a request was blocked",
        "Asks the operator to allow what was just refused with a 403 of carboy's. " + _BOTH,
        AskArguments,
    ),
    Tool(
        "check-proposal",
        "Check a proposal",
        "The state of a proposal made before: pending, approved, modified, rejected, expired or withdrawn.",
        CheckArguments,
    ),
)


class Toolbox:
    """The tools at work for one bottle."""

    def __init__(self, state: State, desk: Desk, scanner: Scanner) -> None:
        self._state = state
        self._desk = desk
        self._scanner = scanner

    @property
    def _policy(self) -> Policy:
        return self._state.policy.policy

    def tools(self) -> tuple[Tool, ...]:
        """Those that exist now."""
        return tuple(tool for tool in TOOLS if self._policy.supervise or not tool.asks)

    async def call(self, name: str, given: dict[str, Any], progress: Progress) -> Answer | None:
        """Carry a call out; None where there is no such tool. Never raises but when cancelled."""
        tool = next((tool for tool in self.tools() if tool.name == name), None)
        if tool is None:
            return None
        try:
            return await self._call(tool, given, progress)
        except (CallerFault, routes.Refused, TooMany, TooLarge) as error:
            return answers.fault(f"{name}: {error}")
        except Exception as error:
            log.error("tool %s failed: %s", name, trail(error))
            return answers.failure()

    async def _call(self, tool: Tool, given: dict[str, Any], progress: Progress) -> Answer:
        match parse(tool.arguments, given):
            case AskArguments() as arguments:
                kind = "egress-allow" if tool.name == "egress-allow" else "egress-block"
                return await self._ask(kind, arguments, progress)
            case CheckArguments() as arguments:
                return await self._check(arguments, progress)
            case _:
                return self._list()

    def _list(self) -> Answer:
        policy = self._policy
        listed = [route.model_dump(mode="json", exclude_defaults=True) for route in policy.routes]
        hosts = ", ".join(dict.fromkeys(route.host for route in policy.routes)) or "nothing"
        data = {"version": policy.version, "base_hash": routes_hash(policy.routes), "routes": listed}
        return Answer(f"Allowed: {hosts}. Everything else is refused.", data)

    async def _ask(
        self, kind: Literal["egress-allow", "egress-block"], arguments: AskArguments, progress: Progress
    ) -> Answer:
        present = self._policy.routes
        proposed = self._proposed(present, arguments)
        if set(proposed) == set(present):
            text = (
                "Allowed already: send the request. If it is refused all the same, its 403 says which rule is missing."
            )
            return Answer(text, {"state": "allowed"})
        key = routes.content_key(present, proposed)
        before = self._desk.last_of(key)
        if before is not None and _rejected_lately(before, time.time()):
            return answers.of_ticket(before)
        why = self._state.without_secrets(arguments.justification)[:2000]
        await self._without_secrets(why, *routes.texts(routes.added(present, proposed)))
        expires = time.time() + LASTS_SECONDS
        ticket = self._desk.ask(Question(kind, key, expires, why, proposed, routes_hash(present)))
        return await self._wait(ticket, self._policy.hold_seconds, progress)

    async def _without_secrets(self, *texts: str) -> None:
        """A proposal is kept, and a route with something else in a value's place would be another one. Raises
        CallerFault where one of `texts` holds a known secret, in whatever dress."""
        data = "\n".join(texts).encode()
        where = Location("body", "proposal")
        scan = await self._scanner.run(
            len(data), lambda engines: engines.all.scan(data, where=where, detectors=frozenset({"known_secrets"}))
        )
        if not scan.clean:
            raise CallerFault(
                "a known secret is in it, which is never written down: propose a shorter prefix of the path, or a host "
                "or rule without that value"
            )

    def _proposed(self, present: tuple[Route, ...], arguments: AskArguments) -> tuple[Route, ...]:
        current = routes_hash(present)
        if arguments.base_hash is not None and arguments.base_hash != current:
            raise CallerFault(
                "the routes have changed since (base_hash is another one): read list-egress-routes and propose again"
            )
        if arguments.routes is None:
            assert arguments.host is not None
            match = RouteMatch(methods=arguments.methods, paths=arguments.path_matches)
            proposed = routes.with_access(present, arguments.host, match, git_fetch=arguments.git_fetch)
        else:
            proposed = arguments.routes
        routes.check(present, proposed)
        return proposed

    async def _check(self, arguments: CheckArguments, progress: Progress) -> Answer:
        ticket = self._desk.find(arguments.proposal_id)
        if ticket is None:
            raise CallerFault(
                f"no proposal {arguments.proposal_id} is known here (any more): look at list-egress-routes, and "
                "propose again if something is still missing"
            )
        return await self._wait(ticket, min(arguments.wait_seconds, self._policy.hold_seconds), progress)

    async def _wait(self, ticket: Ticket, seconds: float, progress: Progress) -> Answer:
        """Until the decision, at most `seconds`, with a sign of life every few of them."""
        started = time.monotonic()
        while ticket.outcome is None and (left := started + seconds - time.monotonic()) > 0:
            waited = time.monotonic() - started
            await progress(waited, f"waiting for the operator to decide {ticket.id}")
            await self._desk.wait(ticket, min(left, PROGRESS_SECONDS))
        return answers.of_ticket(ticket)


def _rejected_lately(ticket: Ticket, now: float) -> bool:
    outcome = ticket.outcome
    return outcome is not None and outcome.state == "rejected" and now - outcome.at < REPEAT_SECONDS
