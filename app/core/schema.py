"""The schema of manifests and settings (manifests.md): what a file may say. Pure; files are read elsewhere.

A field left out is *unset*, which differs from "set to its default": pydantic's `model_fields_set` tells them apart,
and the merge in `app.core.merge` relies on it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.model import Isolation, Workspace
from sidecar.contract import Route

NAME_PATTERN = r"^[a-z][a-z0-9-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")]
Positive = Annotated[int, Field(gt=0)]


def _hyphens(name: str) -> str:
    return name.replace("_", "-") if name == "git_gate" else name


class Strict(BaseModel):
    """Frozen, and unknown keys are errors that name the keys allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, alias_generator=_hyphens)


class EnvSecret(Strict):
    """The real value stays with the sidecar; the bottle sees a placeholder."""

    secret: SecretName


class EnvPrompt(Strict):
    """Asked at launch without echo; treated as a secret."""

    prompt: str = Field(min_length=1, max_length=200)


EnvValue = str | EnvSecret | EnvPrompt


class ProviderSettings(Strict):
    """`agent_provider.settings`. What only one provider understands is checked by that provider."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    startup_args: tuple[str, ...] = ()
    model: str | None = None


class AgentProvider(Strict):
    template: str | None = None
    auth_token: SecretName | None = None
    forward_host_credentials: bool = False
    dockerfile: str | None = None
    settings: ProviderSettings = ProviderSettings()


class Egress(Strict):
    log: Literal[0, 1, 2] = 0
    routes: tuple[Route, ...] = ()


class GitUser(Strict):
    name: str | None = None
    email: str | None = None


class GitKey(Strict):
    provider: Literal["static", "gitea", "github"] = "static"
    path: str | None = None
    token_ref: SecretName | None = None


class GitRepo(Strict):
    url: str | None = None
    host_key: str | None = None
    key: GitKey = GitKey()
    review: bool = False
    force_push: bool = False


class GitGate(Strict):
    user: GitUser = GitUser()
    repos: dict[str, GitRepo] = {}


class Unattended(Strict):
    """What holds and `ask` become when nobody answers. `on_exit` is `keep` or `resume: N`."""

    hold: Literal["reject", "park"] = "reject"
    max_wait: Positive | None = None
    on_limit: Literal["stop", "wait_for_reset", "retry"] = "stop"
    on_exit: Literal["keep"] | dict[Literal["resume"], Positive] = "keep"


class Limits(Strict):
    """`memory` and `disk` in bytes (files may write 4GiB), `cpus` may be a fraction, `wall_clock` in seconds."""

    memory: Positive | None = None
    pids: Positive | None = None
    cpus: Annotated[float, Field(gt=0)] | None = None
    disk: Positive | None = None
    wall_clock: Positive | None = None
    ptrace: bool = False


class Amount(Strict):
    """A budget of one provider: tokens or US dollars, one of the two."""

    tokens: Positive | None = None
    usd: Annotated[float, Field(gt=0)] | None = None
    hard: bool = False


class Mask(Strict):
    """A project path that the bottle may not see (`hide`) or not change (`read-only`)."""

    path: str = Field(min_length=1)
    mode: Literal["hide", "read-only", "allow"] = "hide"


class Bottle(Strict):
    """A bottle file's frontmatter, one file or merged. `notes` is the file's body."""

    extends: tuple[Name, ...] = ()
    env: dict[str, EnvValue] = {}
    agent_provider: AgentProvider = AgentProvider()
    egress: Egress = Egress()
    git_gate: GitGate = GitGate()
    supervise: bool = True
    sensitive_env: tuple[str, ...] = ()
    unattended: Unattended = Unattended()
    learn: bool = False
    budget: dict[str, Amount] = {}
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] = "cutoff"
    cutoff_scope: Literal["metered", "all"] = "metered"
    budget_preflight: bool = False
    backend: str | None = None
    runtime: str | None = None
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
    budget: dict[str, Amount] = {}
    name: Any = None
    description: Any = None
    model: Any = None
    color: Any = None
    memory: Any = None
    tools: Any = None


class SettingsEgress(Strict):
    extra_ca: tuple[str, ...] = ()
    upstream_proxy: str | None = None
    connect_to: dict[str, str] = {}


class Settings(Strict):
    """settings.yml: host-level, never per repository."""

    budget: dict[str, Amount] = {}
    budget_period: Literal["day", "week", "month", "never"] = "month"
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] = "cutoff"
    stall_minutes: Positive = 15
    budget_thresholds: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (50, 80, 95)
    approval_timeout_seconds: Positive = 300
    notify_command: tuple[str, ...] = ()
    leader_key: str = "ctrl+]"
    theme: str = "carboy"
    idle_exit_minutes: Positive = 30
    egress: SettingsEgress = SettingsEgress()


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
    warnings: tuple[str, ...] = ()
