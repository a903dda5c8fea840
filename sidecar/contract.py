"""Wire types between the host and a sidecar, and the route schema that manifests share. Pure: no I/O.

Everything here is immutable and strict: an unknown key is an error. What comes *from* a sidecar is data of a less
trusted part: it is validated with these types and never used as a path, a format string, markup or SQL.
"""

import functools
import hashlib
import re
import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, field_validator, model_validator

from sidecar.allowance import Allowance, IntentEvent, Metered, ProgressEvent, UsageEvent, WindowEvent
from sidecar.patterns import Pattern
from sidecar.secret import Secret

WIRE_VERSION = 1
"""Version of the control channel. A peer with another one is refused."""

LISTEN_PORT = 7878
"""Port on the bottle's own loopback where the sidecar answers: one that development servers do not use."""

INTERNAL_HOST = "carboy.internal"
"""Name under which a bottle finds its sidecar's own pages (allowlist, MCP, git); never resolved by anyone."""

DEFAULT_MAX_BODY = 64 * 1024 * 1024
"""Largest request body in bytes that is scanned; a larger one is refused, never passed unscanned (egress.md)."""


class Wire(BaseModel):
    """Base of everything on the wire: frozen, unknown keys are errors, and so is a time or an amount that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


# --- routes: the schema of `egress.routes` in a bottle file, of the live policy, and of the introspection page ------

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
CREDENTIAL_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization"})
"""Headers that a route with `auth` strips from what the agent sent (egress.md, step 5)."""


@functools.lru_cache(8192)
def _regex(value: str) -> str:
    """Looked at once: a large one takes milliseconds, and a list of routes is read again and again."""
    Pattern(value)
    return value


def _visible(value: str, kind: str) -> None:
    """No request holds what this refuses: it would only mislead who reads a route. A regex may have several lines."""
    allowed = "\n\t" if kind == "regex" else ""
    if any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs") and char not in allowed for char in value):
        raise ValueError(f"control or invisible characters in {value!r}")


class PathMatch(Wire):
    """`prefix` stops at a path segment: /repos/me matches /repos/me and /repos/me/x, not /repos/me2."""

    type: Literal["prefix", "exact", "regex"] = "prefix"
    value: str = Field(min_length=1, max_length=2048)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _visible(self.value, self.type)
        if self.type == "regex":
            _regex(self.value)
        elif not self.value.startswith("/"):
            raise ValueError(f"a path starts with /: {self.value!r}")
        return self


class HeaderMatch(Wire):
    name: str
    value: str = Field(max_length=2048)
    type: Literal["exact", "regex"] = "exact"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not _TOKEN.fullmatch(self.name):
            raise ValueError(f"not a header name: {self.name!r}")
        _visible(self.value, self.type)
        if self.type == "regex":
            _regex(self.value)
        return self


class RouteMatch(Wire):
    """All that is given must match; an empty list of something matches anything."""

    paths: tuple[PathMatch, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[HeaderMatch, ...] = ()

    @field_validator("methods")
    @classmethod
    def _methods(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for method in value:
            if not _TOKEN.fullmatch(method):
                raise ValueError(f"not an HTTP method: {method!r}")
        return tuple(method.upper() for method in value)


class HeaderScheme(Wire):
    """The credential goes, as it is, into this header."""

    header: str

    @field_validator("header")
    @classmethod
    def _header(cls, value: str) -> str:
        if not _TOKEN.fullmatch(value):
            raise ValueError(f"not a header name: {value!r}")
        return value.lower()


class RouteAuth(Wire):
    """Which credential is injected, and into what header. `Bearer`, `token` and `basic` go into Authorization."""

    scheme: Literal["Bearer", "token", "basic"] | HeaderScheme = "Bearer"
    token_ref: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")

    @property
    def header(self) -> str:
        """The header, in lower case, that this route owns."""
        return self.scheme.header if isinstance(self.scheme, HeaderScheme) else "authorization"


class RouteGit(Wire):
    fetch: bool = False


OUTBOUND_DETECTORS = ("token_patterns", "known_secrets", "financial", "host_labels", "entropy")
INBOUND_DETECTORS = ("naive_injection_detection",)


class RouteDlp(Wire):
    """Content inspection of one route. `False` turns a direction off; None means the defaults."""

    outbound_detectors: (
        tuple[Literal["token_patterns", "known_secrets", "financial", "host_labels", "entropy"], ...]
        | Literal[False]
        | None
    ) = None
    inbound_detectors: tuple[Literal["naive_injection_detection"], ...] | Literal[False] | None = None
    outbound_on_match: Literal["supervise", "redact", "block"] = "supervise"


class Route(Wire):
    """One entry of the allowlist (egress.md). The manifest's keys are these fields' names."""

    host: str
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = (443, 80)
    auth: RouteAuth | None = None
    matches: tuple[RouteMatch, ...] = ()
    git: RouteGit = RouteGit()
    dlp: RouteDlp = RouteDlp()
    allow_private: bool = False
    shared: bool = False
    max_body: Annotated[int, Field(ge=0)] = DEFAULT_MAX_BODY

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return host_pattern(value)

    @property
    def wildcard(self) -> bool:
        """True for `*.example.com`, which covers subdomains and never the bare domain."""
        return self.host.startswith("*.")


def host_pattern(value: str) -> str:
    """`value` as the canonical host of a route: lower case, IDNA-encoded, no trailing dot.

    Raises ValueError for a bare `*`, a `*` anywhere but as the first whole label, a port, a path, or what is
    neither a DNS name nor an IP address.
    """
    host = value.strip().lower().rstrip(".")
    wildcard = host.startswith("*.")
    name = host[2:] if wildcard else host
    if "*" in name or not name:
        raise ValueError("write a full host name, or *.example.com for its subdomains; a bare * is not accepted")
    if "/" in name or "://" in value:
        raise ValueError(f"a host, not a URL: {value!r}")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    if ":" in name:
        import ipaddress

        try:
            address = ipaddress.IPv6Address(name)
        except ValueError:
            raise ValueError(f"a host without a port (use `ports`): {value!r}") from None
        if wildcard:
            raise ValueError("an address has no subdomains")
        return str(address)
    try:
        ascii_name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"not a host name: {value!r}") from None
    labels = ascii_name.split(".")
    if len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"not a host name: {value!r}")
    if wildcard and len(labels) < 2:
        raise ValueError("a wildcard needs a domain below a top-level one: *.example.com")
    return ("*." if wildcard else "") + ascii_name


class Narrowing(Wire):
    """What the routes are from `at` (unix time) on, whoever is there to say so: what was for a while is over."""

    at: float
    routes: tuple[Route, ...] = ()


class Policy(Wire):
    """What one bottle may do, as its sidecar holds it. Replaced whole; a bad one leaves the last good one in force.

    `provider_hosts` are the routes that came from the agent's provider (its LLM API): `redact` by default. `metered`
    says whose tokens a host costs (docs/metering.md). `version` grows by one with every change and is acknowledged.
    `hold_seconds` is how long whoever asks the operator is kept waiting: a held
    request ends with 403 then, a tool call with "pending". `vendor_fetch`: a model's vendor may reach out for it.
    `narrows` is how the sidecar by itself ends what was allowed for a while, where no controller does.
    """

    version: int = 1
    routes: tuple[Route, ...] = ()
    provider_hosts: tuple[str, ...] = ()
    metered: tuple[Metered, ...] = ()
    log: Literal[0, 1, 2] = 0
    vendor_fetch: bool = False
    supervise: bool = True
    hold_seconds: Annotated[float, Field(gt=0, le=7 * 86400)] = 300.0
    narrows: Narrowing | None = None


class UpstreamSettings(Wire):
    """How the host itself reaches the internet (settings.yml, `egress`): host-level, never a bottle's choice.

    `extra_ca` are PEM texts (the sidecar may not read the files). `connect_to` maps `host:port` to `host:port`, as
    curl's option of that name: the certificate is still verified against the first name.
    """

    extra_ca: tuple[str, ...] = ()
    upstream_proxy: str | None = None
    connect_to: dict[str, str] = {}


class Placeholder(Wire):
    """Stands in the bottle for a real credential. The sidecar swaps it in the one slot its route owns."""

    token_ref: str
    value: str = Field(min_length=12)


class GitRepo(Wire):
    """One repository behind the git gate. What it is reached with: the named secret as a token over HTTPS, or a
    private key (OpenSSH or PEM text) over SSH, where the server's `host_key` is pinned."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")
    url: str
    host_key: str = ""
    token_ref: str = ""
    ssh_key: Secret = Secret("")
    review: bool = False
    force_push: bool = False
    allow_private: bool = False
    """Whether the name may lead to a private address; one that `url` itself states is meant."""


DEFAULT_MAX_PUSH = 100 * 1024 * 1024
"""Largest body of a push in bytes (gitgate.md)."""


class GitGateConfig(Wire):
    """The repositories of one bottle and where their mirrors are. `backups` keeps the old tips of forced pushes."""

    folder: str
    repos: tuple[GitRepo, ...] = ()
    max_push: Annotated[int, Field(gt=0)] = DEFAULT_MAX_PUSH


class SidecarConfig(Wire):
    """First message on a new sidecar's control channel. It carries secrets: serialize with secret.REVEAL only.

    `spool_fd` and the listening socket are passed as descriptors beside it (contract of `control`), never as paths.
    """

    slug: str
    session_id: str
    policy: Policy
    allowance: Allowance | None = None
    """None until one comes: metered hosts are refused."""
    upstream: UpstreamSettings = UpstreamSettings()
    ca_cert_pem: str
    ca_key_pem: Secret
    secrets: dict[str, Secret] = {}
    sensitive: dict[str, Secret] = {}
    """Values of the bottle's own environment that may not leave it either (manifest key `sensitive_env`)."""
    placeholders: tuple[Placeholder, ...] = ()
    canary_name: str = ""
    canary: Secret = Secret("")
    control_socket: str
    control_token: Secret
    spool_dir: str
    git: GitGateConfig | None = None


class Inquiry(Wire):
    """One request that the controller asks of a sidecar (`inquire`): decided by the sidecar's policy, sent with the
    credential of the route that allows it."""

    method: Literal["GET", "POST"]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 443
    target: str = Field(pattern=r"^/[!-~]{0,4095}$")
    headers: dict[str, str] = {}
    body: Secret = Secret("")


class InquiryAnswer(Wire):
    """`status` is 0 where there was no answer; then `why` says so in words that hold nothing of the request."""

    status: Annotated[int, Field(ge=0, le=999)] = 0
    body: Base64Bytes = b""
    why: str = Field(default="", max_length=300)


# --- control channel ----------------------------------------------------------------------------------------------


class Request(Wire):
    """Host → sidecar (or holder). `seq` grows by one; the reply repeats it as `re`. `fds` counts the descriptors that
    ride along (also in the other two)."""

    v: int = WIRE_VERSION
    seq: int
    op: str
    body: dict[str, Any] = {}
    fds: int = Field(default=0, ge=0, le=16)


class Reply(Wire):
    v: int = WIRE_VERSION
    re: int
    ok: bool
    body: dict[str, Any] = {}
    error: str = ""
    fds: int = Field(default=0, ge=0, le=16)


class Note(Wire):
    """Sidecar (or holder) → host, unasked: `spooled` (events are on disk), `lease` (LeaseNote), `exited`, `title` …"""

    v: int = WIRE_VERSION
    note: str
    body: dict[str, Any] = {}
    fds: int = Field(default=0, ge=0, le=16)


# --- events: one JSON object a line in the spool ------------------------------------------------------------------

Decision = Literal["allow", "deny", "hold", "redact", "error"]


class EgressEvent(Wire):
    """What happened to one request. The same `request_id` may come twice: `open` (a stream or a held request that
    goes on), then `closed`. Path and reason are already redacted and bounded; they are text, never markup.

    `code` is stable and documented (docs/errors.md): `ok`, `host_not_allowed`, `port_not_allowed`,
    `method_not_allowed`, `path_not_allowed`, `header_not_allowed`, `names_disagree`, `git_push_refused`,
    `git_fetch_not_allowed`, `private_address`, `body_too_large`, `placeholder_misplaced`, `credential_missing`,
    `budget_exhausted`, `budget_unknown`, `budget_cutoff`,
    `not_http`, `upstream_unreachable`, `upstream_tls`, `internal_error`, `killed` …
    `bytes_up`/`bytes_down` count body bytes; `ms` is from the request's first byte to the response's last.
    """

    id: str = Field(max_length=64)
    at: float
    kind: Literal["egress"] = "egress"
    request_id: str = Field(max_length=64)
    phase: Literal["open", "closed"] = "closed"
    decision: Decision
    code: str = Field(max_length=64)
    reason: str = Field(default="", max_length=500)
    method: str = Field(default="", max_length=32)
    scheme: str = Field(default="", max_length=16)
    host: str = Field(default="", max_length=260)
    port: int = 0
    path: str = Field(default="", max_length=1024)
    protocol: str = Field(default="", max_length=32)
    status: int | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    ms: float = 0.0
    address: str = Field(default="", max_length=64)
    detail: dict[str, Any] = {}


class NoticeEvent(Wire):
    """Something of the sidecar itself that the operator should know: a bad reload, a full spool, a warning."""

    id: str = Field(max_length=64)
    at: float
    kind: Literal["notice"] = "notice"
    level: Literal["info", "warning", "error"] = "info"
    code: str = Field(max_length=64)
    text: str = Field(max_length=1000)


class ContentEvent(Wire):
    """What a request or its answer said, for the log file of a bottle with `egress.log: 2`: its beginning, without
    credentials and without what the scan finds. `length` is that of the whole body, in bytes."""

    id: str = Field(max_length=64)
    at: float
    kind: Literal["content"] = "content"
    request_id: str = Field(max_length=64)
    part: Literal["request", "response"]
    headers: tuple[tuple[str, str], ...] = Field(default=(), max_length=64)
    body: str = Field(default="", max_length=8192)
    length: int = 0


ProposalKind = Literal["egress-allow", "egress-block", "egress-token-allow", "gitleaks-allow", "git-push"]


class Report(Wire):
    """What was found in something held: redacted, for the operator to read. Cannot be edited."""

    request_id: str = Field(default="", max_length=64)
    host: str = Field(default="", max_length=260)
    port: int = 0
    method: str = Field(default="", max_length=32)
    path: str = Field(default="", max_length=1024)
    detector: str = Field(default="", max_length=64)
    title: str = Field(default="", max_length=200)
    location: str = Field(default="", max_length=200)
    snippet: str = Field(default="", max_length=500)
    text: str = Field(default="", max_length=48_000)
    """What is to be reviewed, in lines: a push's findings, or its commits and diff."""


class ProposalEvent(Wire):
    """Something in a bottle asks the operator. It is opened (an id seen before only makes its time longer), and
    withdrawn when whoever waited has gone for good. `content_key` is the same for the same question asked again.

    The two `egress-*` access kinds carry the routes wanted *in all* and the hash of those they were made from
    (`routes_hash`); the other kinds carry a report. `expires_at` is unix time.
    """

    id: str = Field(max_length=64)
    at: float
    kind: Literal["proposal"] = "proposal"
    proposal_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    type: ProposalKind
    action: Literal["open", "withdrawn"] = "open"
    content_key: str = Field(default="", max_length=128)
    expires_at: float | None = None
    justification: str = Field(default="", max_length=2000)
    routes: tuple[Route, ...] | None = Field(default=None, max_length=500)
    base_hash: str = Field(default="", max_length=64)
    report: Report | None = None


class DecisionBody(Wire):
    """Body of the control op `decision`: what the operator said. Where access was given, the policy that holds it
    was applied and acknowledged before (op `policy`)."""

    proposal_id: str
    state: Literal["approved", "modified", "rejected", "expired", "withdrawn"]
    reason: str = ""
    scope: str = ""
    """For how long a yes holds: SCOPE_SECONDS, or until the bottle ends."""
    decided_at: float = 0.0
    """Unix time; 0 where it is not known: now."""


SCOPE_SECONDS: dict[str, float] = {"once": 300.0, "15m": 900.0}
"""Scopes of an approval that end by themselves, and after how many seconds at the latest. `once` ends with the first
request that uses it, if that comes sooner."""


def routes_hash(routes: tuple[Route, ...]) -> str:
    """What a proposal was made from, as 16 hexadecimal digits of the SHA-256 of the routes' canonical JSON."""
    text = "\n".join(route.model_dump_json() for route in routes)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


SpoolEvent = Annotated[
    EgressEvent | NoticeEvent | ContentEvent | ProposalEvent | IntentEvent | ProgressEvent | UsageEvent | WindowEvent,
    Field(discriminator="kind"),
]
