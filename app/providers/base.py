"""The contract of a provider: what carboy must know of one agent CLI to run it unmodified and without a credential.

A provider is data and pure functions; it starts nothing itself. Another one can be added by the entry point group
`carboy.providers` without touching carboy.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from app.backends.base import Command, FileIn, Mount
from app.core.schema import Manifest
from sidecar.contract import Route


@dataclass(frozen=True)
class Found:
    """The CLI on this host. `mounts` make it visible in a local bottle, read-only; `program` is its path inside."""

    program: str
    version: str
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class Credential:
    """A secret this agent works with: where the placeholder shows in the bottle, and the slot the real one goes to.

    `env` is the variable that holds the placeholder; `shape` is a prefix that the CLI expects of the value
    (`sk-ant-api03-`), so that the placeholder looks like one.
    """

    token_ref: str
    env: str
    host: str
    header: str
    scheme: str = "header"
    shape: str = ""
    required: bool = True


@dataclass(frozen=True)
class LaunchContext:
    """What is known when a provider is asked to prepare: nothing secret but placeholders by token name."""

    manifest: Manifest
    found: Found
    project: str | None
    home: str
    headless: bool
    task: str | None
    model: str | None
    ca_file: str
    """Path inside the bottle of the CA bundle."""
    proxy_url: str
    placeholders: dict[str, str] = field(default_factory=dict[str, str])
    uid: int = 1000
    """The agent's uid as it sees it."""
    rows: int = 24
    cols: int = 80


@dataclass(frozen=True)
class Prepared:
    """What the launch adds for this agent."""

    command: Command
    files: tuple[FileIn, ...] = ()
    env: dict[str, str] = field(default_factory=dict[str, str])


class Provider(ABC):
    """One agent CLI."""

    name: str
    title: str
    tested_versions: str = ""
    install_hint: str = ""

    @abstractmethod
    def find(self, environ: dict[str, str]) -> Found:
        """The CLI on this host. Raises CarboyError with the command that installs it where it is missing.

        May run the CLI with `--version` (time-bounded); called off the event loop.
        """

    @abstractmethod
    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        """The secrets it works with, by name; alternatives are chosen by `agent_provider.auth_token`."""

    @abstractmethod
    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        """Its own egress routes. They win over a manifest route for the same host, and default to `redact`."""

    @abstractmethod
    def prepare(self, context: LaunchContext) -> Prepared:
        """Command line, files and environment. No login, trust or onboarding prompt may appear."""

    def skills_folder(self, home: str) -> str | None:
        """Where skills go inside the bottle; None if it knows none."""
        return None
