"""The egress proxy of one bottle: accepts on the listening socket it was given, keeps the connections, swaps policy and
credentials. One a process, since mitmproxy's layers are wired once.
"""

# pyright: reportUnknownMemberType=false

import asyncio
import contextlib
import hashlib
import logging
import resource
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any

from mitmproxy.http import HTTPFlow
from OpenSSL import SSL

from sidecar.allowance import Allowance, Cutoff, Standing
from sidecar.contract import Inquiry, InquiryAnswer, Policy, SidecarConfig
from sidecar.dlp.drip import Scattered
from sidecar.dlp.needles import Known
from sidecar.egress.addons.alarms import Alarms
from sidecar.egress.addons.budget import Budget
from sidecar.egress.addons.contents import Contents
from sidecar.egress.addons.counting import Counting
from sidecar.egress.addons.credentials import Inject, Placeholders, TakeOff
from sidecar.egress.addons.dial import Dial
from sidecar.egress.addons.gate import Gate
from sidecar.egress.addons.inbound import Inbound
from sidecar.egress.addons.introspect import Introspect
from sidecar.egress.addons.journal import Journal
from sidecar.egress.addons.metering import Metering
from sidecar.egress.addons.outbound import Outbound
from sidecar.egress.addons.overrides import Overrides
from sidecar.egress.addons.sockets import Sockets
from sidecar.egress.addons.vendor_fetch import VendorFetch
from sidecar.egress.backlog import Backlog, piece
from sidecar.egress.books import Books
from sidecar.egress.connection import Edge
from sidecar.egress.exchange import Exchange, exchange_of
from sidecar.egress.holds import Holds
from sidecar.egress.inquiries import inquire
from sidecar.egress.limits import DEFAULT, Limits
from sidecar.egress.metered import MeteredHosts
from sidecar.egress.names import canonical_host
from sidecar.egress.narrowing import Narrows, narrowed
from sidecar.egress.policy import CompiledPolicy
from sidecar.egress.proxy_types import EngineOptions
from sidecar.egress.reach import READ_LIMIT, Reach
from sidecar.egress.scanner import Scanner
from sidecar.egress.state import State
from sidecar.egress.tls import Leaves, Upstreams
from sidecar.egress.turns import Turns
from sidecar.gitgate.addon import GitGate
from sidecar.gitgate.repositories import Repositories
from sidecar.guard import HOOK_SECONDS, Guard
from sidecar.secret import Secret
from sidecar.spool import SpoolWriter
from sidecar.supervise.addon import Mcp
from sidecar.supervise.desk import Desk
from sidecar.tasks import spawn

log = logging.getLogger(__name__)

MAX_BUFFERED = 512 * 1024 * 1024
"""Requests held in memory, of all connections together: eight of the largest bodies."""
SPARE_FILES = 128
"""Descriptors that connections leave for everything else: spool, control channels, resolver, libraries."""


class Proxy:
    """Raises ValueError where the configuration cannot be used."""

    def __init__(
        self,
        config: SidecarConfig,
        spool: SpoolWriter,
        *,
        tell: Callable[[str, dict[str, Any]], None] | None = None,
        more_addons: Sequence[object] = (),
        hook_seconds: float = HOOK_SECONDS,
        limits: Limits = DEFAULT,
        gate: Repositories | None = None,
    ) -> None:
        self.limits = limits
        self.turns, self.backlog = Turns(), Backlog(limits)
        self.options = EngineOptions()
        self.state = State(
            config.slug, CompiledPolicy.compile(config.policy), spool, dict(config.secrets), config.placeholders
        )
        self.state.metered = MeteredHosts.compile(config.policy.metered)
        self.journal = Journal(self.state)
        self.books = Books(spool, tell or _nobody)
        if config.allowance is not None:
            self.books.grant(config.allowance)
        budget = Budget(self.state, self.books)
        self.metering = Metering(self.books, budget, self.journal)
        self.sockets = Sockets(self.books, budget)
        self.desk = Desk(spool)
        self.holds = Holds(self.desk, _hold_key(config))
        canary = Known(config.canary_name, config.canary, canary=True) if config.canary else None
        self.scanner = Scanner(config.placeholders, canary, config.sensitive)
        self.reach, self.upstreams = Reach(config.upstream), Upstreams(config.upstream.extra_ca)
        self._leaves = Leaves(config.ca_cert_pem, config.ca_key_pem)
        scattered = Scattered()  # what leaves a bottle counts together, by whichever way
        addons = [
            GitGate(self.state, self.desk, self.journal, self.scanner, scattered, gate),
            Mcp(self.state, self.desk, self.scanner),
            Introspect(self.state),
            Gate(self.state),
            Overrides(self.state),
            budget,
            TakeOff(),
            Outbound(self.state, self.scanner, self.holds, self.journal, scattered),
            VendorFetch(self.state),
            Contents(self.state, self.scanner),
            Placeholders(self.state),
            *more_addons,
            Dial(self.reach),
            Inject(self.state),
            Counting(self.state, self.books, budget, self.reach, self.upstreams, self.slot),
            self.metering,
            Inbound(self.state, self.scanner, self.journal),
            self.sockets,
            Alarms(self.scanner, self.journal),
            self.journal,
        ]
        self.guard = Guard(addons, self.journal, hook_seconds=hook_seconds)
        self.edges, self._narrows = set[Edge](), Narrows(self.set_policy)
        self._buffered = self._upstreams = 0
        self._most_upstreams = _affordable(limits)
        self._server: asyncio.Server | None = None
        self._compiling: asyncio.Task[bool] | None = None

    # --- what the control channel does ------------------------------------------------------------------------------

    async def listen(self, sock: socket.socket) -> None:
        """Accept on `sock` from now on, and no longer on the one before; connections go on."""
        if self._compiling is None:  # a thread: not before this process has locked itself in
            self._compiling = spawn(
                self.scanner.compile(self.state.secrets), name="compile", on_error=self._not_compiled
            )
        self._narrows.follow(self.state.policy.policy)
        before = self._server
        sock.setblocking(False)
        self._server = await asyncio.start_server(self._accepted, sock=sock, limit=READ_LIMIT)
        if before is not None:
            before.close()

    def set_policy(self, policy: Policy) -> None:
        """Put `policy` in force and close what it no longer allows. A bad one raises ValueError and changes nothing."""
        try:
            compiled = CompiledPolicy.compile(policy)
            if policy.narrows is not None:
                CompiledPolicy.compile(narrowed(policy))
        except ValueError as error:
            self.journal.notice("error", "policy_rejected", f"a new policy is not usable, the last one stays: {error}")
            raise
        self.state.policy = compiled
        self.state.metered = MeteredHosts.compile(policy.metered)
        for edge in list(self.edges):
            if not edge.covered_by(compiled):
                edge.end("its route was removed")
        self._narrows.follow(policy)

    def set_allowance(self, allowance: Allowance | None) -> Standing:
        """Put `allowance` in force, if there is one, and say how all leases stand then."""
        if allowance is not None:
            self.books.grant(allowance)
            if allowance.cutoff is not None and allowance.cutoff.end_streams:
                self._cut_off(allowance.cutoff)
        return self.books.standing()

    def _cut_off(self, cutoff: Cutoff) -> None:
        for edge in list(self.edges):
            if any(_covers(cutoff, exchange_of(flow)) for flow in edge.live.values()):
                edge.end("the operator has cut it off")

    async def set_secrets(self, secrets: dict[str, Secret]) -> None:
        """None is used before it is looked for."""
        try:
            known = await self.scanner.compile(secrets)
        except Exception as error:
            self._not_compiled(error)
            raise
        if known:
            self.state.secrets = dict(secrets)

    def _not_compiled(self, error: BaseException) -> None:
        log.error("the scan cannot be prepared: %s", type(error).__name__)  # its text may hold a secret
        self.journal.notice(
            "error", "scan_unavailable", "the outbound scan cannot be prepared: new secrets are not used"
        )

    async def inquire(self, inquiry: Inquiry) -> InquiryAnswer:
        """Ask something for the controller. Raises ValueError where it makes no sense."""
        return await inquire(inquiry, self.state, self.reach, self.upstreams)

    def health(self) -> dict[str, object]:
        return {
            "connections": len(self.edges),
            "upstreams": self._upstreams,
            "live": sum(len(edge.live) for edge in self.edges),
            "policy": self.state.policy.policy.version,
            "listening": self._server is not None and self._server.is_serving(),
            "spool": {"segment": self.state.spool.segment, "lost": self.state.spool.lost},
            "recording": self.state.spool.ready(),
            "scanning": self.scanner.ready,
            "allowed": self.journal.allowed,
            "refused": self.journal.refused,
            "budget": self.books.standing().model_dump(mode="json"),
        }

    async def close(self) -> None:
        self._narrows.close()
        if self._server is not None:
            self._server.close()
        for edge in list(self.edges):
            edge.end("the sidecar stops")
        self.scanner.close()
        self.journal.flush()

    # --- what connections ask (proxy_types.Engine) --------------------------------------------------------------------

    def leaf(self, sni: str | None, target: str | None) -> SSL.Connection:
        """TLS towards an agent that asked for `sni` on a connection to `target`."""
        name = (canonical_host(sni) if sni else None) or target
        if not name:
            raise ValueError("no name to make a certificate for")
        return self._leaves.connection(name)

    def piece(self) -> int:
        """Bytes that a connection takes at a time."""
        return piece(len(self.edges))

    def room_for(self, size: int) -> bool:
        if self._buffered + size > MAX_BUFFERED:
            return False
        self._buffered += size
        return True

    @contextlib.contextmanager
    def slot(self) -> Generator[bool]:
        """Held for each upstream connection; False where there are too many already."""
        free = self._upstreams < self._most_upstreams
        self._upstreams += free
        try:
            yield free
        finally:
            self._upstreams -= free

    def done(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        self._buffered -= exchange.buffered
        exchange.buffered = 0
        self._safely(self.sockets.gone, flow)
        self._safely(self.metering.gone, flow)
        # one whose last hook failed has no row yet
        self._safely(self.journal.over, flow)
        if exchange.intake is not None:
            exchange.intake.close()

    def killed(self, flow: HTTPFlow, reason: str) -> None:
        self._safely(self.sockets.gone, flow)
        self._safely(self.metering.killed, flow)
        self.journal.killed(flow, reason)
        self.done(flow)

    def _safely(self, function: Callable[[HTTPFlow], None], flow: HTTPFlow) -> None:
        """Outside of the hooks there is no guard."""
        try:
            function(flow)
        except Exception as error:
            self.guard.failed("metering", None, error)

    def _make_room(self) -> bool:
        """End the connection that has been idle longest, so that idle ones cannot keep others out."""
        idle = [edge for edge in self.edges if not edge.busy]
        if not idle:
            return False
        oldest = min(idle, key=lambda edge: edge.last_activity)
        self.edges.discard(oldest)
        oldest.end("others need its place")
        return True

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.edges) >= self.limits.connections and not self._make_room():
            writer.transport.abort()
            return
        edge = Edge(reader, writer, self)
        self.edges.add(edge)
        try:
            await edge.handle_client()
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.guard.failed("connection", None, error)
            edge.end("a fault in the proxy")
        finally:
            self.edges.discard(edge)
            writer.close()


def _nobody(note: str, body: dict[str, Any]) -> None:
    """Where no controller listens."""


def _covers(cutoff: Cutoff, exchange: Exchange) -> bool:
    if cutoff.scope == "all":
        return not exchange.local
    call = exchange.call
    return call is not None and (not cutoff.providers or call.provider in cutoff.providers)


def _hold_key(config: SidecarConfig) -> Secret:
    """The same for every sidecar of a bottle, and known to nothing else: questions are recognised after a restart."""
    return Secret(hashlib.sha256(b"carboy holds\n" + config.ca_key_pem.reveal().encode()).hexdigest())


def _affordable(limits: Limits) -> int:
    """How many upstream connections the descriptors are for, once all of the bottle's own are taken."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits.upstreams
    return max(16, min(limits.upstreams, files - limits.connections - SPARE_FILES))
