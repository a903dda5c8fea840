"""Wire types of metering and budgets: what is metered, what a sidecar may let through, and what it counted. Pure.

The controller grants, the sidecar enforces by itself: a grant that is missing, expired or spent lets nothing metered
out. docs/metering.md ("On the wire") has the rules that these values follow.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=64)]
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 40)]
Status = Annotated[int, Field(ge=0, le=1 << 31)]
Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class Wire(BaseModel):
    """As `sidecar.contract.Wire`, which builds on this module."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Metered(Wire):
    """Requests to this host cost `provider`'s tokens. No `paths`: all of it. `host` is written as in a route; the most
    specific entry counts, and a path that can be read in two ways is metered."""

    provider: Name
    host: Annotated[str, Field(min_length=1, max_length=260)]
    paths: tuple[Annotated[str, Field(max_length=2048)], ...] = ()
    """Prefixes, ending at a path segment."""


# --- what may be used: controller → sidecar, op `allowance` -----------------------------------------------------------


class Lease(Wire):
    """A share of one budget. A provider's request needs room in each of its leases.

    The sidecar counts what it used under `id` since it first heard of it; `limit` is what that may reach in all, so a
    message that comes twice grants nothing twice. The same `id` with another `limit` raises or lowers it; a new id
    starts at zero. `seconds` is how long it holds from its arrival (a suspended machine's sleep counts); None is for
    ever. `limit` None is without end: for providers that no budget governs.
    """

    id: Name
    provider: Name
    unit: Literal["tokens", "usd"] = "tokens"
    limit: Amount | None = None
    seconds: Annotated[float, Field(gt=0, le=1e8)] | None = None
    when_spent: Literal["more", "cutoff", "ask"] = "more"
    """`more`: there may be more where it came from, ask for it (note `lease`) and wait a moment. `cutoff`: the budget
    is used up, refuse. `ask`: the operator is being asked, hold the request (`Policy.hold_seconds`)."""
    budget: Annotated[str, Field(max_length=300)] = ""
    """What the agent is told about: "the global budget for claude: 5,000,000 tokens a month"."""


class Rate(Wire):
    """US dollars for a million tokens, or searches."""

    input: Amount = 0.0
    output: Amount = 0.0
    cache_read: Amount = 0.0
    cache_write_5m: Amount = 0.0
    cache_write_1h: Amount = 0.0
    web_searches: Amount = 0.0
    file_searches: Amount = 0.0


class Cutoff(Wire):
    """The operator's own, in force until an allowance comes without it."""

    reason: Annotated[str, Field(max_length=300)] = ""
    scope: Literal["metered", "all"] = "metered"
    providers: tuple[Name, ...] = ()
    """None named: all of them."""
    end_streams: bool = False
    """Also what is under way already."""


class Allowance(Wire):
    """All that a bottle may use, replaced whole. A lower `version` than the present one changes nothing."""

    version: Annotated[int, Field(ge=0)] = 0
    leases: Annotated[tuple[Lease, ...], Field(max_length=256)] = ()
    in_flight: Annotated[int, Field(ge=1, le=1000)] = 16
    """Metered requests at once; the next one waits."""
    preflight: bool = False
    """Refuse what cannot fit by its estimate (`budget_preflight`)."""
    count: bool = False
    """The provider itself is asked how much a request needs, where its API can be (`budget_preflight: provider`)."""
    cutoff_scope: Literal["metered", "all"] = "metered"
    """What a spent lease with `when_spent: cutoff` closes."""
    cutoff: Cutoff | None = None
    rates: dict[Name, dict[Annotated[str, Field(max_length=200)], Rate]] = {}
    """By provider and model, for leases in US dollars. A model is looked up by its name, then by the longest name here
    that it begins with; "" is for all others. One without a rate is refused under such a lease."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len({lease.id for lease in self.leases}) != len(self.leases):
            raise ValueError("two leases have one id")
        if sum(map(len, self.rates.values())) > 5000:
            raise ValueError("more than 5000 rates")
        return self


class Held(Wire):
    """How one lease stands. It may come to `limit` or to `used + reserved`, whichever is more."""

    lease: Name
    provider: Name
    limit: Amount | None
    used: Amount
    reserved: Amount
    """Estimates of what is in flight."""


class Standing(Wire):
    """Answer to `allowance`, also to one without a body (which only asks), and part of `health`."""

    version: Annotated[int, Field(ge=-1, le=1 << 53)]
    leases: tuple[Held, ...] = ()
    in_flight: int = 0
    waiting: int = 0


class LeaseNote(Held):
    """Body of the note `lease`, sidecar → host: this one runs low, or requests wait for it. At most one a second for
    each lease, repeated while requests wait."""

    want: Amount
    """How much more than `limit` would do for now."""
    waiting: int = 0


# --- what was used: sidecar → host, in the spool ----------------------------------------------------------------------


class IntentEvent(Wire):
    """On disk before a metered request leaves. Its `UsageEvent` has the same `request_id`; if the sidecar died and none
    came, this is the usage: `input_tokens` and `output_tokens`, `estimated` (with `purpose` unknown: unmetered, 0).

    A WebSocket has one for each request on it.
    """

    id: str = Field(max_length=64)
    at: Time
    kind: Literal["intent"] = "intent"
    request_id: str = Field(max_length=64)
    provider: Name
    host: str = Field(default="", max_length=260)
    method: str = Field(default="", max_length=32)
    path: str = Field(default="", max_length=1024)
    model: str = Field(default="", max_length=200)
    protocol: Literal["http", "websocket"] = "http"
    purpose: Literal["call", "deferred", "unknown"] = "call"
    stream: bool = False
    input_tokens: Count = 0
    output_tokens: Count = 0
    """What was set aside for the answer: an average of this bottle's, no bound."""


class ProgressEvent(Wire):
    """How far an answer had come that is still under way: in place of the numbers of its intent, should the sidecar
    die. The newest counts. `input_tokens` is all that the model read; how much of it came from a cache or went into
    one is said as far as the provider has told it by then."""

    id: str = Field(max_length=80)
    at: Time
    kind: Literal["progress"] = "progress"
    request_id: str = Field(max_length=64)
    model: str = Field(default="", max_length=200)
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read: Count = 0
    cache_write_5m: Count = 0
    cache_write_1h: Count = 0


class FaultInfo(Wire):
    """sidecar.meter.faults.Fault with its sentence for the user."""

    kind: Literal["rate_limit", "auth", "quota", "overloaded", "network", "too_long", "unknown"]
    status: Status | None = None
    code: str = Field(default="", max_length=80)
    message: str = Field(default="", max_length=600)
    retry_after: Time | None = None
    retryable: bool = False


class SaidInfo(Wire):
    """What was said in one call, in numbers and names: for traces. Characters of its user's message and tools' results
    that the request brought, the tools that the model asked for, characters of its answer."""

    message: Count = 0
    results: Count = 0
    failed: Count = 0
    tools: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64)] = ()
    speech: Count = 0


class UsageEvent(Wire):
    """What one metered request used (sidecar.meter.usage.Usage says what each number means). Each intent has one.

    `id` follows from `request_id` and `part`: the same usage written twice is one row. Parts from 1 on are other
    models' shares of the same answer, rows of their own. `billable` false: an error, a refusal, or no model's answer;
    its numbers are 0, and it is told for its fault and because the intent is closed by it.
    """

    id: str = Field(max_length=64)
    at: Time
    kind: Literal["usage"] = "usage"
    request_id: str = Field(max_length=64)
    part: int = Field(default=0, ge=0, le=100)
    provider: Name
    host: str = Field(default="", max_length=260)
    path: str = Field(default="", max_length=1024)
    model: str = Field(default="", max_length=200)
    dialect: str = Field(default="", max_length=32)
    protocol: Literal["http", "websocket"] = "http"
    input: Count = 0
    output: Count = 0
    cache_read: Count = 0
    cache_write_5m: Count = 0
    cache_write_1h: Count = 0
    reasoning: Count = 0
    """Part of `output`."""
    web_searches: Count = 0
    file_searches: Count = 0
    cost_usd: Amount | None = None
    """What the provider itself said that it charges."""
    service_tier: str = Field(default="", max_length=200)
    stop_reason: str = Field(default="", max_length=200)
    response_id: str = Field(default="", max_length=200)
    """Said where an answer can be asked for again (background responses): the same id is the same usage."""
    tool_calls: Count = 0
    billable: bool = True
    complete: bool = True
    estimated: bool = False
    unmetered: bool = False
    flags: tuple[str, ...] = ()
    status: Status | None = None
    ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """From the request's first byte to the answer's last."""
    first_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """To the first byte of the answer's body."""
    charged: dict[Name, Amount] = {}
    """What was counted against each lease, in its unit."""
    fault: FaultInfo | None = None
    said: SaidInfo | None = None

    @property
    def total(self) -> int:
        """What a token budget counts."""
        return self.input + self.output + self.cache_read + self.cache_write_5m + self.cache_write_1h


class Gauge(Wire):
    """One of a provider's rate-limit windows (sidecar.meter.usage.Window)."""

    name: str = Field(max_length=100)
    used_fraction: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    resets_at: float | None = Field(default=None, allow_inf_nan=False)
    kind: Literal["subscription", "rate"] = "rate"
    status: str = Field(default="", max_length=200)


class WindowEvent(Wire):
    """The windows that an answer told of; written only when one changed."""

    id: str = Field(max_length=64)
    at: Time
    kind: Literal["window"] = "window"
    request_id: str = Field(default="", max_length=64)
    provider: Name
    windows: tuple[Gauge, ...] = Field(default=(), max_length=64)
