"""The repositories of one bottle: what serves a call, and how many at a time.

Made before the sidecar locks itself in (`make`, which listens for ssh), set to work after it (`open`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from sidecar.channel import Channel
from sidecar.contract import GitGateConfig, GitRepo, SidecarConfig
from sidecar.egress.reach import Reach
from sidecar.egress.tls import system_bundle
from sidecar.gitgate import limits, quarantine
from sidecar.gitgate.agent import Agent, load
from sidecar.gitgate.connection import Connection
from sidecar.gitgate.credentials import Credentials
from sidecar.gitgate.git import Git
from sidecar.gitgate.gitleaks import Gitleaks
from sidecar.gitgate.intake import Room
from sidecar.gitgate.mirror import Mirror, Unreachable
from sidecar.gitgate.relay import Relay
from sidecar.gitgate.urls import Upstream, parse
from sidecar.secret import Secret
from sidecar.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

type Secrets = Callable[[], dict[str, Secret]]


class Busy(Exception):
    """Too many calls are under way already."""

    def __init__(self) -> None:
        super().__init__("too many git calls at once: wait until some have ended")


@dataclass(frozen=True)
class Served:
    """One repository and its mirror."""

    repo: GitRepo
    upstream: Upstream
    mirror: Mirror


class Slot:
    """A place among the few packs at a time, while it is held."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self.held = False

    async def take(self) -> None:
        await self._places.acquire()
        self.held = True

    def leave(self) -> None:
        if self.held:
            self.held = False
            self._places.release()

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Without it, while somebody is asked: others go on meanwhile. Who leaves this by an error gets none back."""
        self.leave()
        yield
        await self.take()


class Repositories:
    """Not for threads: all of it runs on the sidecar's loop."""

    def __init__(self, config: SidecarConfig, gate: GitGateConfig) -> None:
        self._config = config
        self.secrets: Secrets = lambda: dict(config.secrets)
        self.max_push = gate.max_push
        self.folder = Path(gate.folder)
        self.room = Room(limits.BODIES * gate.max_push)
        self.repos: dict[str, Served] = {}
        self.gitleaks: Gitleaks | None = None
        self._agents: dict[str, Agent] = {}
        self._connections: dict[str, Connection] = {}
        self._relays: dict[str, Relay] = {}
        self._slots = asyncio.Semaphore(limits.PACKS)
        self._waiting = 0
        self._warming: list[asyncio.Task[None]] = []
        self._gate = gate

    @classmethod
    async def make(cls, config: SidecarConfig, sockets: Path) -> "Repositories":
        """Read keys and addresses, and listen for ssh. Raises ValueError for what cannot be used."""
        assert config.git is not None
        gate = cls(config, config.git)
        for number, repo in enumerate(config.git.repos):
            relay = gate._relays[repo.name] = Relay(parse(repo.url), allow_private=repo.allow_private)
            await relay.listen()
            if repo.ssh_key:
                agent = gate._agents[repo.name] = Agent(load(repo.ssh_key), sockets / f"agent-{number}")
                await agent.start()
        return gate

    async def open(self, runner: Channel) -> list[str]:
        """Have the runner enclose itself, and bring every mirror up to date. Returns what the confinement lacks."""
        await asyncio.to_thread(quarantine.sweep, self.folder)
        git, missing = await Git.set_up(runner, self.folder)
        self.gitleaks = Gitleaks(git)
        reach = Reach(self._config.upstream)
        authorities = await asyncio.to_thread(_authorities, self._config.upstream.extra_ca)
        for number, repo in enumerate(self._gate.repos):
            upstream, relay = parse(repo.url), self._relays[repo.name]
            relay.reach = reach
            if upstream.scheme == "ssh":
                self._connections[repo.name] = Connection(git, f"ssh-{number}")
            credentials = Credentials(
                repo,
                upstream,
                self.folder,
                relay,
                lambda: self.secrets(),
                self._agents.get(repo.name),
                authorities,
                self._connections.get(repo.name),
            )
            credentials.prepare()
            mirror = Mirror(repo.name, self.folder, upstream, credentials, git)
            self.repos[repo.name] = Served(repo, upstream, mirror)
        self._warming = [spawn(self._warm(each.mirror), name="git-warm") for each in self.repos.values()]
        return missing

    async def close(self) -> None:
        await cancel_and_wait(*self._warming)
        for connection in self._connections.values():
            await connection.close()
        for agent in self._agents.values():
            agent.close()
        for relay in self._relays.values():
            await relay.close()

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncGenerator[Slot]:
        """One of the few packs at a time; waits for its turn. Raises Busy."""
        if self._waiting >= limits.WAITING:
            raise Busy
        self._waiting += 1
        slot = Slot(self._slots)
        try:
            await slot.take()
        finally:
            self._waiting -= 1
        try:
            yield slot
        finally:
            slot.leave()

    async def _warm(self, mirror: Mirror) -> None:
        """So that the first clone finds it here."""
        with contextlib.suppress(Unreachable):
            async with self._slots:
                await mirror.refresh()


def _authorities(extra: tuple[str, ...]) -> str:
    """Who is trusted over HTTPS: the system's authorities and those of the settings, as PEM."""
    return "\n".join((system_bundle().read_text("utf-8", "replace"), *extra))
