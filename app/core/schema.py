"""The schema of manifests and settings (manifests.md): what a file may say. Pure; files are read elsewhere.

A field left out is *unset*, which differs from "set to its default": pydantic's `model_fields_set` tells them apart,
and the merge in `app.core.merge` relies on it.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from app.core import amounts
from app.core.model import Isolation, Workspace
from app.core.notices import ABOUT, About
from sidecar.contract import Route

NAME_PATTERN = r"^[a-z][a-z0-9-]*$"
LEAST_MEMORY = 16 * 2**20
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"


def _hyphens(name: str) -> str:
    return name.replace("_", "-") if name == "git_gate" else name


def _one_line(value: str) -> str:
    """Values that end up in config files of git and others: a line break would add a key of its own."""
    if any(not char.isprintable() for char in value):
        raise ValueError("contains a line break or another control character")
    if value.startswith("-"):
        raise ValueError("begins with -, which programs read as an option")
    return value


def _whole(value: Any) -> Any:
    """True equals 1 in Python; a file that says `log: true` does not mean 1."""
    if isinstance(value, bool):
        raise ValueError("write a whole number, not true or false")
    return value


def _size(value: Any) -> Any:
    return amounts.size(value) if isinstance(value, str) else value


def _for_a_program(value: int) -> int:
    if value < LEAST_MEMORY:
        raise ValueError("too little memory for any program to start: 16MiB at least, and agents need 1GiB or more")
    return value


def _seconds(value: Any) -> Any:
    return amounts.seconds(value) if isinstance(value, str) else value


def _tokens(value: Any) -> Any:
    return amounts.tokens(value) if isinstance(value, str) else value


def _extends(value: Any) -> Any:
    """One name or a list of them. Each wrong form has its own message."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"extends takes one bottle's name or a list of names, not {kind_of(value)}")
    entries = cast("list[Any] | tuple[Any, ...]", value)
    for index, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise ValueError(f"entry {index + 1} of extends is not a name but {kind_of(entry)}")
    return tuple(cast("list[str]", entries))


def kind_of(value: object) -> str:
    """What a value from a file is, in a reader's words."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
EnvName = Annotated[str, Field(pattern=ENV_PATTERN, max_length=128)]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")]
Positive = Annotated[int, Field(gt=0, le=amounts.LARGEST)]
Line = Annotated[str, AfterValidator(_one_line), Field(max_length=1024)]
RepoName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
Size = Annotated[Positive, BeforeValidator(_size)]
Memory = Annotated[Size, AfterValidator(_for_a_program)]
Seconds = Annotated[Positive, BeforeValidator(_seconds)]
EnvPattern = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?$", max_length=128)]


class Strict(BaseModel):
    """Frozen, and unknown keys are errors that name the keys allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, alias_generator=_hyphens)


class EnvSecret(Strict):
    """The real value stays with the sidecar; the bottle sees a placeholder."""

    secret: SecretName


class EnvPrompt(Strict):
    """Asked at launch without echo; treated as a secret."""

    prompt: Line = Field(min_length=1, max_length=200)


def _env_kind(value: Any) -> str:
    if isinstance(value, EnvPrompt) or (isinstance(value, dict) and "prompt" in value):
        return "prompt"
    return "secret" if isinstance(value, EnvSecret | dict) else "text"


EnvText = Annotated[str, Field(max_length=65536)]
EnvValue = Annotated[
    Annotated[EnvText, Tag("text")] | Annotated[EnvSecret, Tag("secret")] | Annotated[EnvPrompt, Tag("prompt")],
    Discriminator(_env_kind),
]
HOST_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A whole value of this form is read from the host's environment at launch."""


class ProviderSettings(Strict):
    """`agent_provider.settings`. What only one provider understands is checked by that provider."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    startup_args: tuple[Annotated[str, Field(max_length=4096)], ...] = ()
    model: Line | None = None


class AgentProvider(Strict):
    template: Name | None = None
    auth_token: SecretName | None = None
    forward_host_credentials: bool = False
    dockerfile: Line | None = None
    settings: ProviderSettings = ProviderSettings()


class Egress(Strict):
    log: Annotated[Literal[0, 1, 2], BeforeValidator(_whole)] = 0
    vendor_fetch: bool = False
    routes: tuple[Route, ...] = ()


class GitUser(Strict):
    name: Line | None = None
    email: Line | None = None


class GitKey(Strict):
    provider: Literal["static", "gitea", "github"] = "static"
    path: Line | None = None
    token_ref: SecretName | None = None


class GitRepo(Strict):
    url: Line | None = None
    host_key: Line | None = None
    key: GitKey = GitKey()
    review: bool = False
    force_push: bool = False
    allow_private: bool = False


class GitGate(Strict):
    user: GitUser = GitUser()
    repos: dict[RepoName, GitRepo] = {}


class Unattended(Strict):
    """What holds and `ask` become when nobody answers. `on_exit` is `keep` or `resume: N`."""

    hold: Literal["reject", "park"] = "reject"
    max_wait: Seconds | None = None
    on_limit: Literal["stop", "wait_for_reset", "retry"] = "stop"
    on_exit: Literal["keep"] | dict[Literal["resume"], Positive] = "keep"


class Limits(Strict):
    """`memory` and `disk` in bytes (files may write 4GiB), `cpus` may be a fraction, `wall_clock` in seconds (90m)."""

    memory: Memory | None = None
    pids: Positive | None = None
    cpus: Annotated[float, Field(gt=0, le=4096)] | None = None
    disk: Size | None = None
    wall_clock: Seconds | None = None
    ptrace: bool = False


class Amount(Strict):
    """A budget of one provider: tokens or US dollars, one of the two. Files may write 5000000, 500k, or $20."""

    tokens: Annotated[Positive, BeforeValidator(_tokens)] | None = None
    usd: Annotated[float, Field(gt=0, le=1e9)] | None = None
    hard: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"tokens": value}
        return amounts.budget(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.tokens is None) == (self.usd is None):
            raise ValueError("a budget is a number of tokens or of US dollars (usd), one of the two")
        return self


class Mask(Strict):
    """A project path that the bottle may not see (`hide`) or not change (`read-only`)."""

    path: str = Field(min_length=1, max_length=1024)
    mode: Literal["hide", "read-only", "allow"] = "hide"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        parts = [part for part in value.split("/") if part not in ("", ".")]
        if value.startswith("/") or ".." in parts or not parts or not value.isprintable():
            raise ValueError("a mask is a path below the project's folder, such as secrets/prod.env")
        return "/".join(parts)


class Bottle(Strict):
    """A bottle file's frontmatter, one file or merged. `notes` is the file's body."""

    extends: Annotated[tuple[Name, ...], BeforeValidator(_extends)] = ()
    env: dict[EnvName, EnvValue] = {}
    agent_provider: AgentProvider = AgentProvider()
    egress: Egress = Egress()
    git_gate: GitGate = GitGate()
    supervise: bool = True
    sensitive_env: tuple[EnvPattern, ...] = ()
    unattended: Unattended = Unattended()
    learn: bool = False
    budget: dict[Name, Amount] = {}
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] = "cutoff"
    cutoff_scope: Literal["metered", "all"] = "metered"
    budget_preflight: bool | Literal["provider"] = False
    backend: Name | None = None
    runtime: Line | None = None
    isolation: Isolation | None = None
    limits: Limits = Limits()
    workspace: Workspace = "mount"
    masks: tuple[Mask, ...] = ()


class AgentGitGate(Strict):
    user: GitUser = GitUser()


class Agent(Strict):
    """An agent file's frontmatter. Keys of a Claude Code subagent file are accepted and ignored."""

    bottle: Name | None = None
    skills: tuple[Name, ...] = ()
    git_gate: AgentGitGate = AgentGitGate()
    budget: dict[Name, Amount] = {}
    name: Any = None
    description: Any = None
    model: Any = None
    color: Any = None
    memory: Any = None
    tools: Any = None


_HOST_PORT = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]):([0-9]{1,5})")


def host_port(value: str) -> str:
    """`value` as `host:port` in lower case; an IPv6 address stands in brackets."""
    text = value.strip().lower()
    found = _HOST_PORT.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= 65535:
        raise ValueError(f"not host:port: {value[:80]!r}")
    return text


def _connect_to(value: dict[str, str]) -> dict[str, str]:
    return {host_port(name): host_port(target) for name, target in value.items()}


def _proxy(value: str) -> str:
    scheme, found, rest = value.strip().partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise ValueError("a proxy is written http://host:port")
    if "@" in rest:
        raise ValueError("a proxy's password cannot stand in a file")
    return f"{scheme.lower()}://{host_port(rest.rstrip('/'))}"


def _webhook(value: str) -> str:
    address = value.strip()
    if not is_private_address(address):
        raise ValueError(
            "a webhook is written https://host/path; http is for this machine alone, http://localhost/path"
        )
    if "@" in urlsplit(address).netloc:
        raise ValueError("a password cannot stand in a file: keep the whole address as a secret, {secret: NAME}")
    return address


def is_private_address(address: str) -> bool:
    """Whether what is sent to this URL is read by nobody on the way: over TLS, or not leaving this machine."""
    if not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
    return parts.scheme == "https" and bool(host)


_LEADER = re.compile(r"(ctrl|alt)\+[a-z\]\\^_]|f([1-9]|1[0-2])")
_OTHER_KEYS = ("ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m")
"""What a terminal sends for backspace, tab and enter too."""


def _leader(value: str) -> str:
    """The one key that leaves an agent's terminal: one that no terminal sends would hold the keyboard for good."""
    key = value.strip().lower()
    if key in _OTHER_KEYS or not _LEADER.fullmatch(key):
        raise ValueError(
            "a key that leaves the agent's terminal is ctrl or alt with a letter or one of ] \\ ^ _, such as ctrl+], "
            f"or one of f1 to f12; and none of {', '.join(_OTHER_KEYS)}, which are backspace, tab and enter too"
        )
    return key


class SettingsEgress(Strict):
    extra_ca: tuple[Line, ...] = ()
    upstream_proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    connect_to: Annotated[dict[str, str], AfterValidator(_connect_to)] = {}


class Keep(Strict):
    """How long the store keeps what bottles did; None is no bound. `session` is of each kind of line: what passed, and
    all the rest. `size` is of all lines."""

    days: Positive | None = 30
    refused_days: Positive | None = 365
    session: Size | None = 100 * 2**20
    size: Size | None = 2**30

    @model_validator(mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return dict.fromkeys(cls.model_fields) if value == "all" else value


class Settings(Strict):
    """settings.yml: host-level, never per repository."""

    budget: dict[Name, Amount] = {}
    budget_period: Literal["day", "week", "month", "never"] = "month"
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] = "cutoff"
    stall_minutes: Positive = 15
    budget_thresholds: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (50, 80, 95)
    approval_timeout_seconds: Positive = 300
    notify_command: tuple[Annotated[str, Field(max_length=4096)], ...] = Field(default=(), max_length=64)
    notify_webhook: Annotated[str, AfterValidator(_webhook), Field(max_length=2048)] | EnvSecret | None = None
    notify_on: tuple[About, ...] = ABOUT
    desktop_notifications: Literal["auto", "off"] = "auto"
    leader_key: Annotated[str, AfterValidator(_leader)] = "ctrl+]"
    theme: str = "carboy"
    idle_exit_minutes: Positive = 30
    keep: Keep = Keep()
    image_base: Line | None = None
    egress: SettingsEgress = SettingsEgress()


class BudgetScope(Strict):
    """What one agent or bottle file of a launch says of budgets, apart from the merge: each scope counts for itself
    (`app.core.budget`). `beside`: a project's agent, whose budgets take the place of none."""

    scope: str
    budget: dict[Name, Amount] = {}
    source: str = ""
    beside: bool = False


class Manifest(Strict):
    """What one launch works with: agent and bottles joined. `provenance` maps a dotted path to the name of the file
    (or `default`, or a launch flag) that set it last; `route_sources` runs beside `bottle.egress.routes`."""

    agent_name: str | None = None
    agent: Agent = Agent()
    prompt: str = ""
    bottle_names: tuple[str, ...] = ()
    bottle: Bottle = Bottle()
    lineage: str = ""
    provenance: dict[str, str] = {}
    route_sources: tuple[str, ...] = ()
    budget_scopes: tuple[BudgetScope, ...] = ()
    """The agent, then the bottles, the nearest first; also those that set none."""
    warnings: tuple[str, ...] = ()
    agent_file: str = ""
    agent_origin: Literal["home", "project"] | None = None
    agent_hash: str | None = None
    """Content hash of a project's agent, which the operator confirms once (`app.manifests.unconfirmed`)."""
