"""What the controller says to its clients: immutable snapshots and requests, the API's own vocabulary. Pure."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.slug import SLUG_PATTERN
from sidecar.secret import Secret

BottleState = Literal["launching", "running", "frozen", "stopping", "ended", "stopped", "failed", "lost"]
"""`ended`: exit 0. `stopped`: its end was asked for, by the operator or a budget. `failed`: any other end, or a launch
that was undone. `lost`: found dead on adoption."""

LIVE: frozenset[str] = frozenset({"launching", "running", "frozen", "stopping"})
COLORS = ("red", "green", "yellow", "blue", "magenta")
Color = Literal["red", "green", "yellow", "blue", "magenta"]
Isolation = Literal["process", "container", "vm"]
Workspace = Literal["mount", "read-only", "copy", "none"]


class Snapshot(BaseModel):
    """Base of all API values: frozen; unknown keys are errors, so that two versions never half-understand."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sum(Snapshot):
    """Answers added up. `cost_nano` leaves out `unpriced` tokens, whose price nobody knows."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    estimated: int = 0
    """Answers with a number of ours among the provider's."""
    unmetered: int = 0
    errors: int = 0
    tool_calls: int = 0
    ms: float = 0.0

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write

    @property
    def cost_usd(self) -> float:
        return self.cost_nano / 1e9

    def plus(self, other: "Sum") -> "Sum":
        mine, theirs = dict(self), dict(other)
        return Sum.model_construct(**{name: value + theirs[name] for name, value in mine.items()})


class BudgetView(Snapshot):
    """One budget that holds for a bottle, or that is set for a scope. `used` and `limit` are tokens or billionths of a
    dollar."""

    scope: str
    provider: str
    unit: Literal["tokens", "usd"] = "tokens"
    used: int = 0
    limit: int = 0
    period: Literal["day", "week", "month", "never"] = "never"
    resets_at: float | None = None
    source: str = ""
    hard: bool = False
    override: bool = False
    """Set by the operator while it counts, in place of what the file says."""

    @property
    def fraction(self) -> float:
        return self.used / self.limit if self.limit else 1.0

    @property
    def percent(self) -> int:
        """Rounded down, so that 100 means used up."""
        return self.used * 100 // self.limit if self.limit else 100


class BudgetAsk(Snapshot):
    """A used up budget, while requests wait for the operator. `until` is when nobody's answer becomes one."""

    provider: str
    scope: str
    at: float
    until: float


class SidecarHealth(Snapshot):
    """hardening.md, first paragraph. `next_retry` is seconds from `at` (unix time)."""

    state: Literal["starting", "healthy", "restarting", "failed"] = "starting"
    attempt: int = 0
    next_retry: float | None = None
    last_error: str = ""
    at: float = 0.0


class BottleView(Snapshot):
    """One running or ended session, as every face shows it."""

    slug: str
    session_id: str
    label: str
    agent: str | None
    bottles: tuple[str, ...]
    lineage: str = ""
    provider: str
    model: str | None = None
    backend: str
    engine: str = ""
    isolation: Isolation
    color: Color | None = None
    state: BottleState
    sidecar: SidecarHealth = SidecarHealth()
    cwd: str
    workspace: Workspace = "mount"
    title: str = ""
    command: tuple[str, ...] = ()
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    error: str = ""
    notes: tuple[str, ...] = ()
    """Truths about this bottle's posture: no Landlock, connect_to is set, degraded engine …"""
    attention: int = 0
    """Higher comes first in the list (hardening.md, Health)."""
    allowed: int = 0
    refused: int = 0
    """Requests so far, by decision."""
    last_activity: float | None = None
    stalled: bool = False
    """Running, but without output and egress for `stall_minutes` (hardening.md, Health). Of one that waits for its user
    (`doing`), that is how long it has waited, and no fault: no face calls it stalled."""
    learn: bool = False
    """What it is refused is meant for a proposed bottle file."""
    disk: int | None = None
    """Bytes of its writable layers, when they were looked at last (`limits.disk`)."""
    saved_at: float | None = None
    """When its snapshot was taken."""
    saved_as: str = ""
    """The name of the image in it, where a container engine holds a part of it."""
    kept: Literal["", "preserved", "archived", "purged"] = ""
    """Of a session that is over: what of it is still on disk, as far as the operator moved it."""
    spend: Sum = Sum()
    """What it used so far."""
    budgets: tuple[BudgetView, ...] = ()
    """The budgets that hold for it, the one that governs first."""
    cut: Literal["", "budget", "ask", "operator"] = ""
    """Why its model's hosts are closed: a budget is used up, one is and the operator is being asked, or by order."""
    asks: tuple[BudgetAsk, ...] = ()
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] = "cutoff"
    """What a used up budget does to it."""
    engine_gone: bool = False
    """Its container engine does not answer: nothing is known of it until that is back."""
    fault: str = ""
    """What the model's provider answered last, if that was an error; empty once an answer came."""
    doing: Literal["", "idle", "working", "waiting"] = ""
    """What its own record of the conversation says: nobody spoke to it yet, it works, or it waits for somebody. The
    agent's word; empty where it keeps no record."""
    asks_user: bool = False
    """It stands still amid its turn until somebody answers in its terminal. The agent's word, too."""
    turns: int = 0
    tool_calls: int = 0
    conversation: str = ""
    """The id with which the agent goes on with it."""
    counted: tuple[str, ...] = ()
    """Providers whose tokens are counted in it: no other can have a budget. Empty where that is not known."""
    missing_secrets: tuple[str, ...] = ()
    """Names that its sidecar has no value for: given by environment or typed in, they went with a controller."""


class AgentEntry(Snapshot):
    """A row of the agent picker. A broken file is listed with its error, and only choosing it fails."""

    name: str
    file: str
    origin: Literal["home", "project"]
    description: str = ""
    bottle: str | None = None
    provider: str = ""
    """The title of the agent CLI of its own bottle, and the versions that carboy was tried with."""
    tested: str = ""
    error: str | None = None
    confirmed: bool = True
    """False for a project's agent whose present content the operator has not confirmed yet."""


class BottleEntry(Snapshot):
    """A row of the bottle picker. `lineage` reads `base -> net -> dev`."""

    name: str
    file: str
    lineage: str = ""
    provider: str | None = None
    notes: str = ""
    error: str | None = None


class PromptEntry(Snapshot):
    """A ready task of the prompt library."""

    name: str
    description: str = ""
    text: str = ""
    error: str | None = None


class Catalogue(Snapshot):
    """All manifests as they are on disk now; `warnings` name ignored files and why."""

    agents: tuple[AgentEntry, ...] = ()
    bottles: tuple[BottleEntry, ...] = ()
    prompts: tuple[PromptEntry, ...] = ()
    warnings: tuple[str, ...] = ()


class Ready(Snapshot):
    """One provider at `init`: found or not, its agent, the files that were made for it, and the secrets it works with
    (one is enough)."""

    provider: str
    title: str
    found: bool
    version: str = ""
    hint: str = ""
    agent: str = ""
    written: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    available: str = ""
    """The secret that is there already."""
    login: str = ""
    """The CLI's own login on this host, which is forwarded where no secret is there."""

    @property
    def forwards(self) -> bool:
        return bool(self.login) and self.available == self.login

    @property
    def wants(self) -> str:
        """The secret to set, where none is there."""
        return "" if self.available or not self.secrets else self.secrets[0]


class SetUp(Snapshot):
    """What `init` found, or made. `keyring` is where keys go; without one, `hint` says what else there is."""

    agents: tuple[Ready, ...] = ()
    written: int = 0
    warnings: tuple[str, ...] = ()
    keyring: str = ""
    hint: str = ""


class BackendReport(Snapshot):
    """What `probe()` found by really launching something. `fix` says what to do where it does not work."""

    name: str
    engine: str = ""
    works: bool
    isolation: Isolation
    version: str = ""
    reason: str = ""
    fix: str = ""
    capabilities: dict[str, bool] = {}
    ways: dict[str, str] = {}
    """For each capability that it lacks, what to do instead."""
    notes: tuple[str, ...] = ()


class DoctorCheck(Snapshot):
    name: str
    ok: bool
    text: str
    fix: str = ""


class Doctor(Snapshot):
    checks: tuple[DoctorCheck, ...] = ()
    backends: tuple[BackendReport, ...] = ()


class LaunchRequest(Snapshot):
    """All a client can choose. It carries secrets that were typed in: serialize with secret.REVEAL only."""

    agent: str | None = None
    command: tuple[str, ...] = ()
    bottles: tuple[str, ...] | None = None
    """In order; None means the agent's own default. Picked ones replace the agent's `bottle`."""
    label: str | None = None
    name: str | None = Field(default=None, pattern=SLUG_PATTERN)
    """What the preflight called it, where it has no label: the launch keeps what was shown."""
    color: Color | None = None
    backend: str | None = None
    model: str | None = None
    budget: dict[str, str] = {}
    """By provider, as people write it: `500k`, `$20`. No name: the bottle's own."""
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] | None = None
    """What a used up budget does; None leaves it to the files."""
    unattended: Literal["park", "reject", "stop"] | None = None
    """What it does while nobody answers (`overnight.ALONE`); None leaves it to the files."""
    cwd: str
    workspace: Workspace | None = None
    prompt: str | None = None
    resume: str | None = Field(default=None, pattern=SLUG_PATTERN)
    """Go on with this session, which is over: agent, bottles, label and all else are its own."""
    fork: str | None = Field(default=None, pattern=SLUG_PATTERN)
    """A second bottle from this session's snapshot."""
    headless: bool = False
    learn: bool = False
    rows: int = Field(default=24, ge=1, le=1000)
    cols: int = Field(default=80, ge=1, le=1000)
    env: dict[str, Secret] = {}
    """Values of the host variables that the preflight asked for (`wants_env`), from the client's environment."""
    secrets: dict[str, Secret] = {}
    """Secrets typed in at the preflight, used for this launch."""
    confirm: tuple[str, ...] = ()
    """Content hashes of project agents that the operator confirmed in this request."""


class Provenance(Snapshot):
    """One line of the resolved manifest: `supervise: true (from base)`."""

    path: str
    value: Any
    source: str


class SecretNeed(Snapshot):
    """A secret this launch uses, by name only, and where it would come from."""

    name: str
    used_by: str
    source: Literal["keyring", "environment", "request", "login", "missing"]


class Preflight(Snapshot):
    """Everything that a launch would make, without making it. A dry run ends here."""

    slug: str
    label: str
    agent: str | None
    bottles: tuple[str, ...]
    lineage: str
    provider: str
    model: str | None = None
    backend: str
    engine: str
    isolation: Isolation
    tried: tuple[BackendReport, ...] = ()
    command: tuple[str, ...]
    cwd: str
    workspace: Workspace
    resolved: tuple[Provenance, ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    creates: tuple[str, ...] = ()
    secrets: tuple[SecretNeed, ...] = ()
    wants_env: tuple[str, ...] = ()
    wants_prompt: dict[str, str] = {}
    """Values to ask for without echo: name → the question."""
    confirm: dict[str, str] = {}
    """Project agents to confirm: content hash → what it is."""
    masks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Why this launch would be refused; empty when it may start."""


class ModelList(Snapshot):
    """The models that a launch can choose from, and how well its agent is known."""

    provider: str
    title: str
    tested: str = ""
    """The versions of the CLI that carboy was tried with."""
    models: tuple[str, ...] = ()
    chosen: str | None = None
    """What the bottle file says."""
    source: Literal["vendor", "cache", "built-in"] = "built-in"
    at: float = 0.0
    """When the vendor said so."""
    reason: str = ""
    """Why it is not the vendor's present list."""
    wants_env: tuple[str, ...] = ()
    """Variables of the client's environment with which the vendor could be asked."""


class LaunchStep(Snapshot):
    """Progress of a launch. `ms` is the step's own time once it has ended."""

    session_id: str
    slug: str
    step: str
    state: Literal["running", "done", "failed", "undone"]
    ms: float | None = None
    detail: str = ""


SEARCHED = 100_000
"""Kept events that a text or a host is looked for in: no index helps there, and other questions wait meanwhile."""


class StreamEvent(Snapshot):
    """One item of the event stream. `seq` grows by one over everything that is kept and is what a client resumes
    from; it is 0 for passing events that are not kept (progress, bottle snapshots)."""

    seq: int
    at: float
    kind: Literal[
        "egress",
        "notice",
        "bottle",
        "bottle_gone",
        "launch",
        "catalogue",
        "proposal",
        "notification",
        "usage",
        "lagged",
    ]
    slug: str = ""
    data: dict[str, Any] = {}


class Status(Snapshot):
    """The controller itself."""

    version: str
    pid: int
    started_at: float
    last_seq: int
    bottles: int
    warnings: tuple[str, ...] = ()


class CleanupReport(Snapshot):
    """What was left behind and has been removed; `kept` is live or preserved."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
