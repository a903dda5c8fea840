"""The contract of a provider: what carboy must know of one agent CLI to run it unmodified and without a credential.

A provider is data and pure functions; it starts nothing itself. Another one can be added by the entry point group
`carboy.providers` without touching carboy.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.backends.base import Command, FileIn, Mount
from app.core.schema import Manifest
from app.errors import ConfigError
from app.providers.conversation import Reader
from sidecar.allowance import Metered
from sidecar.contract import HeaderScheme, Route, RouteAuth
from sidecar.secret import Secret

LAST = "last"
"""As `LaunchContext.resume`: the newest conversation of this home, whatever its id."""


@dataclass(frozen=True)
class Found:
    """The CLI on this host. `mounts` make it visible in a local bottle, read-only; `program` is its path inside."""

    program: str
    version: str
    mounts: tuple[Mount, ...] = ()
    leading: tuple[str, ...] = ()
    """Arguments before all others, where `program` is the interpreter of a script."""
    host_path: str = ""
    """Where it was found, for `doctor` and the preflight."""
    warnings: tuple[str, ...] = ()
    """Truths to show before a launch: a version that was never tried …"""

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.program, *self.leading)


@dataclass(frozen=True)
class Credential:
    """A secret this agent works with: where the placeholder shows in the bottle, and the slot the real one goes to.

    `env` is the variable that holds the placeholder; `shape` is a prefix that the CLI expects of the value
    (`sk-ant-api03-`), so that the placeholder looks like one. Credentials of the same host are alternatives: `pick`
    takes the first whose secret exists. `scheme` is that of a route's `auth`, or `header` for the value as it is.
    """

    token_ref: str
    env: str
    host: str
    header: str
    scheme: str = "header"
    shape: str = ""
    required: bool = True

    @property
    def auth(self) -> RouteAuth:
        """The `auth` of the route that injects this credential."""
        if self.scheme == "header":
            return RouteAuth(scheme=HeaderScheme(header=self.header), token_ref=self.token_ref)
        return RouteAuth.model_validate({"scheme": self.scheme, "token_ref": self.token_ref})


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
    command: tuple[str, ...] = ()
    """What the operator wrote after `--`: run instead of the agent's own command line."""
    login: Mapping[str, str] = field(default_factory=dict[str, str])
    """Facts of the host's login (`HostLogin.facts`)."""
    resume: str | None = None
    """Go on with a conversation of this home: its id, or `LAST`. None begins a new one."""


@dataclass(frozen=True)
class Prepared:
    """What the launch adds for this agent."""

    command: Command
    files: tuple[FileIn, ...] = ()
    env: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class HostLogin:
    """A login that the CLI itself has on this host. The sidecar alone gets the token; `facts` may stand in a bottle."""

    token_ref: str
    token: Secret
    expires_at: float = 0.0
    """Unix time; 0 where the token does not say."""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Renewal:
    """One POST that gets a fresh token for a login; `keep` writes down what came back, as the CLI itself would, and
    raises ValueError where that is no login."""

    host: str
    path: str
    body: Secret
    keep: Callable[[bytes], None]


@dataclass(frozen=True)
class ModelSource:
    """Where a vendor lists its models: one GET, with the credential of that host; `read` finds their names in it."""

    host: str
    path: str
    read: Callable[[object], tuple[str, ...]]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    port: int = 443


class Provider(ABC):
    """One agent CLI."""

    name: str
    title: str
    tested_versions: str = ""
    install_hint: str = ""
    login_hint: str = ""
    """What gets a login of its own on this host."""
    settings_keys: frozenset[str] = frozenset()
    """Keys of `agent_provider.settings` that only this provider understands."""
    resting: tuple[str, ...] = ()
    """How its terminal's title begins while it stands still: it waits for its user, for a permission too, of which it
    writes nothing down. Empty where its title does not tell; and so below."""
    asking: tuple[str, ...] = ()
    """The same while it asks its user something, and at no other time."""
    working: tuple[str, ...] = ()
    """The same while it works, where what it wrote down may look like the end of its turn."""

    def check(self, manifest: Manifest) -> None:
        """Refuse settings that this provider does not know, before anything is started."""
        unknown = sorted(set(manifest.bottle.agent_provider.settings.model_extra or {}) - self.settings_keys)
        if unknown:
            known = ", ".join(sorted({"startup_args", "model"} | self.settings_keys))
            raise ConfigError(
                f"the provider {self.name} knows no setting {unknown[0]!r}",
                f"Known: {known}",
                file=manifest.provenance.get("agent_provider.settings", ""),
                key=f"agent_provider.settings.{unknown[0]}",
            )

    @abstractmethod
    def find(self, environ: dict[str, str]) -> Found:
        """The CLI on this host. Raises CarboyError with the command that installs it where it is missing.

        May run the CLI with `--version` (time-bounded); called off the event loop.
        """

    @abstractmethod
    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        """The secrets it works with, by name, in order of preference; `agent_provider.auth_token` leaves only its own.

        Several for one host are alternatives: `pick` chooses by what exists.
        """

    def host_login(self, manifest: Manifest, environ: Mapping[str, str]) -> HostLogin | None:
        """The host's login, where the manifest asks to forward it. Reads files. Raises CarboyError where there is none.

        It is the credential whose `token_ref` it names.
        """
        del manifest, environ
        return None

    def renewal(self, environ: Mapping[str, str]) -> Renewal | None:
        """How the host's login is renewed; None where that cannot be done. Reads files."""
        del environ
        return None

    @abstractmethod
    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        """Its own egress routes. They win over a manifest route for the same host, and default to `redact`.

        They carry no `auth` yet: `with_auth` adds that of the credentials which were picked.
        """

    @abstractmethod
    def prepare(self, context: LaunchContext) -> Prepared:
        """Command line, files and environment. No login, trust or onboarding prompt may appear."""

    def skills_folder(self, home: str) -> str | None:
        """Where skills go inside the bottle; None if it knows none."""
        return None

    def metered(self, manifest: Manifest) -> tuple[Metered, ...]:
        """Requests that cost: all paths to which its routes let it post, or the whole host where a path is a regex."""
        return tuple(
            Metered(provider=self.name, host=route.host, paths=_posted(route)) for route in self.routes(manifest)
        )

    def models(self, manifest: Manifest) -> tuple[str, ...]:
        """Names to offer where the vendor cannot be asked, the usual one first."""
        del manifest
        return ()

    def model_source(self, manifest: Manifest) -> ModelSource | None:
        """Where the present names are; None if nobody tells."""
        del manifest
        return None

    def count_tokens(self, request: bytes) -> int:
        """About how many tokens the model reads in a request's decoded body. Offline: nothing leaves for it."""
        from sidecar.meter.estimate import family_factor
        from sidecar.meter.request import request_facts

        facts = request_facts("POST", "", request)
        return math.ceil(facts.input_units * family_factor(facts.model))

    def conversations(self, home: Path) -> Reader | None:
        """Reads what it wrote down in `home`, a bottle's home folder on the host; None if it keeps no record."""
        del home
        return None


def _posted(route: Route) -> tuple[str, ...]:
    paths = [path for match in route.matches if "POST" in match.methods for path in match.paths]
    return () if any(path.type == "regex" for path in paths) else tuple(path.value for path in paths)


@dataclass(frozen=True)
class Picked:
    """The credentials of one launch, and the needs that nothing satisfies: the alternatives of each, by name."""

    chosen: tuple[Credential, ...] = ()
    missing: tuple[tuple[str, ...], ...] = ()


def pick(credentials: Iterable[Credential], available: Collection[str]) -> Picked:
    """For each host the first credential whose `token_ref` is in `available`. Pure."""
    by_host: dict[str, list[Credential]] = {}
    for credential in credentials:
        by_host.setdefault(credential.host, []).append(credential)
    chosen, missing = list[Credential](), list[tuple[str, ...]]()
    for alternatives in by_host.values():
        first = next((one for one in alternatives if one.token_ref in available), None)
        if first is not None:
            chosen.append(first)
        elif any(one.required for one in alternatives):
            missing.append(tuple(one.token_ref for one in alternatives))
    return Picked(tuple(chosen), tuple(missing))


def with_auth(routes: Iterable[Route], chosen: Iterable[Credential]) -> tuple[Route, ...]:
    """`routes`, each with the `auth` of the chosen credential for its host. Pure."""
    auths = {credential.host: credential.auth for credential in chosen}
    return tuple(
        route.model_copy(update={"auth": auths[route.host]}) if route.host in auths else route for route in routes
    )
