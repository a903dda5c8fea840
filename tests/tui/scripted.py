"""A client with a script instead of a controller: deterministic pictures need deterministic data and a fixed clock.
It has `app.client.Client`'s methods; what it is asked to do it remembers, so that tests can see it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from app.core import report as report_of
from app.core.approvals import (
    ApproveBody,
    ManifestChange,
    ProposalView,
    RejectBody,
    RoutesView,
    TemporaryRoute,
)
from app.core.changed import Brought, Changed, Changes
from app.core.found import Found, Hit, Passage, Said
from app.core.learning import LearnReport, learn
from app.core.model import (
    AgentEntry,
    BackendReport,
    BottleEntry,
    BottleView,
    Catalogue,
    CleanupReport,
    Doctor,
    DoctorCheck,
    LaunchRequest,
    LaunchStep,
    ModelList,
    Preflight,
    Provenance,
    Ready,
    SecretNeed,
    SetUp,
    SidecarHealth,
    Status,
    StreamEvent,
)
from app.core.notices import Notice
from app.core.report import Away, Decided, Ordered, Refused, Report
from app.core.risks import Risk
from app.core.spending import AnswerOrder, BudgetOrder, BudgetsReport, CutoffOrder, UsageReport
from app.core.vault import SecretView, VaultView
from app.errors import CarboyError, NotFound
from sidecar.contract import Route
from sidecar.secret import Secret

ROUTES = "routes:\n- host: index.crates.io\n"
NOW = 1_767_268_887.0
"""2026-01-01 12:01:27 UTC; tests that draw times set TZ=UTC."""


def clock() -> float:
    return NOW


SCREEN = (
    "\x1b[32m●\x1b[0m I'll read the failing test first, then look at the retry loop.\r\n\r\n"
    "\x1b[32m●\x1b[0m \x1b[1mRead\x1b[0m(tests/test_retry.py)\r\n  \x1b[2m⎿  Read 88 lines\x1b[0m\r\n\r\n"
    "\x1b[32m●\x1b[0m \x1b[1mBash\x1b[0m(pytest -q tests/test_retry.py)\r\n"
    "  \x1b[2m⎿\x1b[0m  \x1b[31m1 failed\x1b[0m, 11 passed in 0.84s\r\n\r\n"
    "\x1b[32m●\x1b[0m \x1b[1mUpdate\x1b[0m(src/retry.py)\r\n"
    "     \x1b[2m42\x1b[0m \x1b[41m-    delay = base * attempt\x1b[0m\r\n"
    "     \x1b[2m42\x1b[0m \x1b[42;30m+    delay = min(cap, base * 2 ** attempt)\x1b[0m\r\n\r\n"
    "\x1b[35m✻ Thinking…\x1b[0m \x1b[2m(18s · ↓ 1.1k tokens · esc to interrupt)\x1b[0m\r\n\r\n> "
).encode()


def view(slug: str, **changes: Any) -> BottleView:
    """A running bottle, with changes."""
    base: dict[str, Any] = {
        "slug": slug,
        "session_id": f"s-{slug}",
        "label": slug,
        "agent": "developer",
        "bottles": ("claude", "gitea"),
        "lineage": "base -> net -> gitea",
        "provider": "claude",
        "backend": "local",
        "engine": "bubblewrap",
        "isolation": "process",
        "state": "running",
        "sidecar": SidecarHealth(state="healthy"),
        "cwd": "/home/op/src/retry",
        "created_at": NOW - 760,
        "started_at": NOW - 751,
        "attention": 10,
        "last_activity": NOW - 1,
    }
    return BottleView(**(base | changes))


HITS = (
    Hit(id=7, slug="research-2", session_id="s-research-2", label="research-2", agent="researcher", provider="claude",
        at=NOW - 300, kind="assistant", snippet="I'll read the failing test, then the retry loop.", marks=((37, 42),)),
    Hit(id=9, slug="old-one", session_id="s-old", label="old-one", provider="codex", at=NOW - 90_000, kind="call",
        tool="Bash", snippet="Bash pytest -q tests/test_retry.py [red]x[/red] \x1b[31m\u202egpj", marks=((26, 31),)),
)  # fmt: skip


VIEWS = (
    view("research-2", agent="researcher", color="blue", allowed=48, refused=5),
    view(
        "impl-1",
        agent="developer",
        provider="codex",
        color="magenta",
        attention=95,
        allowed=1204,
        refused=12,
        sidecar=SidecarHealth(state="restarting", attempt=2, next_retry=4.0, last_error="killed by SIGKILL", at=NOW),
    ),
    view("docs", provider="opencode", color="green", attention=20, last_activity=NOW - 190, allowed=31),
    view("frozen-one", provider="pi", state="frozen", allowed=7, color="yellow"),
    view(
        "nightly",
        provider="shell",
        agent=None,
        command=("make", "nightly"),
        state="failed",
        exit_code=2,
        ended_at=NOW - 100,
        attention=90,
        color="red",
        allowed=310,
        refused=2,
    ),
)


def asked(identity: str = "p-000001", **changes: Any) -> ProposalView:
    """A bottle asks for access to a host."""
    base: dict[str, Any] = {
        "id": identity,
        "slug": "impl-1",
        "session_id": "s-impl-1",
        "kind": "egress-allow",
        "state": "pending",
        "created_at": NOW - 130,
        "title": "GET index.crates.io/",
        "host": "index.crates.io",
        "hosts": ("index.crates.io",),
        "justification": "cargo needs the index",
        "diff": ("+- host: index.crates.io", "+  matches:", "+  - methods: [GET]"),
        "risks": (Risk(code="new_host", text="index.crates.io is a new host"),),
        "editable": True,
        "seen": "shown",
    }
    return ProposalView(**(base | changes))


def found(identity: str = "t-000001", **changes: Any) -> ProposalView:
    """The proxy holds a request with a secret in it."""
    report = {"request_id": "r3", "host": "api.github.com", "method": "POST", "path": "/gists", "snippet": "key=****"}
    return asked(
        identity,
        **{
            "slug": "research-2",
            "kind": "egress-token-allow",
            "title": "GitHub token found",
            "host": "api.github.com",
            "hosts": ("api.github.com",),
            "justification": "",
            "report": report,
            "diff": (),
            "risks": (),
            "editable": False,
            "needs_reason": True,
            "expires_at": NOW + 170,
            "created_at": NOW - 41,
        }
        | changes,
    )


def egress(seq: int, slug: str, decision: str, host: str, path: str, **more: Any) -> StreamEvent:
    """One finished request."""
    data: dict[str, Any] = {
        "id": f"e{seq}",
        "at": NOW - 40 + seq,
        "kind": "egress",
        "request_id": f"r{seq}",
        "phase": "closed",
        "decision": decision,
        "code": "ok" if decision == "allow" else "host_not_allowed",
        "reason": "" if decision == "allow" else "not on the list",
        "method": "GET",
        "scheme": "https",
        "host": host,
        "port": 443,
        "path": path,
        "protocol": "HTTP/2.0",
        "status": {"allow": 200, "deny": 403, "redact": 200}.get(decision),
        "bytes_up": 0,
        "bytes_down": 0,
        "ms": 0.0,
        "address": "203.0.113.7" if decision == "allow" else "",
        "detail": {},
    }
    return StreamEvent(seq=seq, at=data["at"], kind="egress", slug=slug, data=data | more)


def events() -> list[StreamEvent]:
    """The journal of research-2, with one of everything."""
    api = ("api.anthropic.com", "/v1/messages")
    slug = "research-2"
    return [
        egress(1, slug, "allow", *api, method="POST", bytes_up=18200, bytes_down=1100, ms=812),
        egress(2, slug, "deny", "pastebin.com", "/", ms=2),
        egress(3, slug, "hold", "api.github.com", "/gists", method="POST", reason="GitHub token in body"),
        egress(4, slug, "allow", "pypi.org", "/simple/httpx/", bytes_down=9400, ms=96),
        egress(5, slug, "redact", *api, method="POST", reason="1 redacted", bytes_up=20100, ms=1400),
        egress(6, slug, "deny", "hooks.example.net", "/in?x=\x1b[31m\u202egpj", reason="canary: exfiltration", ms=1),
        egress(7, slug, "deny", "pastebin.com", "/raw/[bold]x[/bold]", ms=1),
        StreamEvent(
            seq=8,
            at=NOW - 32,
            kind="notice",
            slug=slug,
            data={
                "id": "n8",
                "at": NOW - 32,
                "kind": "notice",
                "level": "warning",
                "code": "reload",
                "text": "Bad reload; kept the last good policy",
            },
        ),
        egress(
            9, slug, "error", "pypi.org", "/simple/x/", reason="upstream answered nothing", code="upstream_unreachable"
        ),
        egress(10, slug, "allow", *api, method="POST", bytes_up=19000, bytes_down=640, ms=702),
        egress(11, "impl-1", "allow", "crates.io", "/api/v1/crates", bytes_down=8800, ms=120),
    ]


AGENTS_HERE = SetUp(
    agents=(
        Ready(provider="claude", title="Claude Code", found=True, version="2.1.329", agent="developer",
              secrets=("ANTHROPIC_API_KEY",), available="ANTHROPIC_API_KEY"),
        Ready(provider="codex", title="Codex", found=True, version="0.169.0", agent="codex-developer",
              secrets=("OPENAI_API_KEY",)),
        Ready(provider="gemini", title="Gemini CLI", found=False, agent="gemini-developer",
              hint="Install it with `npm install -g @google/gemini-cli`"),
    ),
    keyring="the keyring of this test",
)  # fmt: skip
CATALOGUE = Catalogue(
    agents=(
        AgentEntry(
            name="developer",
            file="agents/developer.md",
            origin="home",
            description="Implements and tests",
            bottle="claude",
            provider="Claude Code",
            tested="2.1.329",
        ),
        AgentEntry(
            name="researcher",
            file="agents/researcher.md",
            origin="home",
            description="Reads, never writes",
            bottle="claude",
        ),
        AgentEntry(
            name="broken",
            file="agents/broken.md",
            origin="home",
            error="agents/broken.md:3: skils: unknown key. Allowed: skills",
        ),
        AgentEntry(
            name="local-hero",
            file=".carboy/agents/local-hero.md",
            origin="project",
            description="The project's own",
            bottle="claude",
            confirmed=False,
        ),
    ),
    bottles=(
        BottleEntry(name="base", file="bottles/base.md", lineage="base", notes="Nothing leaves"),
        BottleEntry(name="claude", file="bottles/claude.md", lineage="base -> claude", provider="claude"),
        BottleEntry(
            name="net-read",
            file="bottles/net-read.md",
            lineage="base -> net-read",
            notes="Package registries, read only",
        ),
        BottleEntry(
            name="torn", file="bottles/torn.md", error="bottles/torn.md:7: egress.routes[0].host: a host, not a URL"
        ),
    ),
    warnings=(".carboy/bottles/ is ignored: bottles come from your home only",),
)

SETTINGS: tuple[Provenance, ...] = (
    Provenance(path="leader_key", value="ctrl+]", source="default"),
    Provenance(path="theme", value="carboy", source="default"),
    Provenance(path="stall_minutes", value=20, source="settings.yml"),
)

DOCTOR = Doctor(
    checks=(
        DoctorCheck(name="python", ok=True, text="3.13.0"),
        DoctorCheck(
            name="keyring",
            ok=False,
            text="no usable keyring",
            fix="Install gnome-keyring, or pass secrets by environment",
        ),
    ),
    backends=(
        BackendReport(
            name="local",
            engine="bubblewrap",
            works=True,
            isolation="process",
            version="0.11",
            capabilities={"pause": True, "commit": True, "gpu": False},
            ways={"gpu": "no backend hands a GPU through"},
            notes=("Landlock ABI 6",),
        ),
        BackendReport(
            name="docker", works=False, isolation="container", reason="no daemon answers", fix="Start Docker"
        ),
    ),
)


def preflight(request: LaunchRequest, **changes: Any) -> Preflight:
    """What a launch of `request` would make."""
    label = request.label or request.agent or "shell"
    base: dict[str, Any] = {
        "slug": label,
        "label": label,
        "agent": request.agent,
        "bottles": request.bottles or ("claude",),
        "lineage": "base -> " + " -> ".join(request.bottles or ("claude",)),
        "provider": "claude",
        "model": request.model,
        "backend": "local",
        "engine": "bubblewrap",
        "isolation": "process",
        "tried": (BackendReport(name="local", engine="bubblewrap", works=True, isolation="process"),),
        "command": request.command or ("claude",),
        "cwd": request.cwd,
        "workspace": "mount",
        "resolved": (
            Provenance(path="supervise", value=True, source="base"),
            Provenance(path="egress.routes", value=["api.anthropic.com"], source="claude"),
        ),
        "routes": ({"host": "api.anthropic.com", "ports": [443], "source": "claude"},),
        "creates": ("state/bottles/" + label, "a sandbox (bubblewrap)", "a sidecar"),
        "secrets": (SecretNeed(name="ANTHROPIC_API_KEY", used_by="claude", source="missing"),),
        "warnings": ("No Landlock on this kernel",),
    }
    if "ANTHROPIC_API_KEY" in request.secrets:
        base["secrets"] = (SecretNeed(name="ANTHROPIC_API_KEY", used_by="claude", source="request"),)
    elif "problems" not in changes:
        base["problems"] = ("The secret ANTHROPIC_API_KEY is missing",)
    return Preflight(**(base | changes))


VAULT = VaultView(
    keyring="SecretService Keyring",
    secrets=(
        SecretView(name="ANTHROPIC_API_KEY", set_at=NOW - 86400 * 3, used_at=NOW - 760),
        SecretView(name="GITEA_TOKEN", set_at=NOW - 3600),
    ),
)


CHANGES = Changes(
    workspace="copy",
    changes=(
        Changed(path="README.md", kind="changed", size=2100),
        Changed(path="src/retry.py", kind="changed", size=3400),
        Changed(path="src/net/[bold]backoff\x1b.py", kind="added", size=900),
        Changed(path="src/old.py", kind="removed", size=120),
        Changed(path="tests/data", kind="link"),
        Changed(path="tests/test_retry.py", kind="changed", size=5100),
    ),
)
DIFFERENCE = (
    "--- a/{path}\n+++ b/{path}\n@@ -40,3 +40,3 @@\n def wait(attempt):\n"
    "-    delay = base * attempt\n+    delay = min(cap, base * 2 ** attempt)\n     return delay\n"
)


def learned(slug: str) -> LearnReport:
    """What a bottle was refused."""
    wanted = (
        ("index.crates.io", "/se/rd/serde", 3),
        ("g1thub.com", "/login", 2),
        ("api.anthropic.com", "/v1/files", 1),
    )
    refused = [
        (NOW, {"code": "host_not_allowed", "host": host, "port": 443, "path": path, "method": "GET"})
        for host, path, times in wanted
        for _ in range(times)
    ]
    private = (NOW, {"code": "private_address", "host": "intranet", "port": 443, "path": "/", "method": "GET"})
    return learn(slug, [*refused, private], (Route(host="api.anthropic.com"),), ("claude",))


def reported(slug: str, **more: Any) -> Report:
    """What a bottle did."""
    base: dict[str, Any] = {
        "slug": slug,
        "session_id": f"s-{slug}",
        "label": slug,
        "agent": "developer",
        "provider": "claude",
        "state": "ended",
        "outcome": "done",
        "since": NOW - 30_000,
        "started_at": NOW - 28_000,
        "ended_at": NOW - 4_000,
        "seconds": 24_000.0,
        "exit_code": 0,
        "allowed": 1204,
        "refused": 12,
        "spend": {"requests": 40, "input": 310_000, "output": 12_000, "cost_nano": 3_100_000_000},
        "refusals": (Refused(host="pastebin.com", code="host_not_allowed", times=9),),
        "decisions": (
            Decided(at=NOW - 9000, what="index.crates.io", kind="egress-allow", state="approved", by="op", reason="ok"),
        ),
        "orders": (Ordered(at=NOW - 8000, action="freeze", by="operator"),),
        "changed": report_of.Changed(files=("src/retry.py", "tests/test_retry.py"), bytes=4200),
    }
    return Report(**(base | more))


class ScriptedTerminal:
    """Shows one screen, then echoes."""

    def __init__(self, client: "ScriptedClient", slug: str, size: tuple[int, int]) -> None:
        self.client, self.slug, self.size = client, slug, size
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    async def output(self) -> AsyncIterator[bytes]:
        yield self.client.screens.get(self.slug, SCREEN)
        while (chunk := await self.queue.get()) is not None:
            yield chunk
        raise CarboyError("The connection was lost", "", "connection_lost")

    async def write(self, data: bytes) -> None:
        self.client.typed.append((self.slug, data))
        self.queue.put_nowait(data)

    async def resize(self, rows: int, cols: int) -> None:
        self.size = (rows, cols)

    async def close(self) -> None:
        self.closed = True


class ScriptedClient:
    """Set its fields before a test, or call `push` and `drop` during it."""

    def __init__(self, views: tuple[BottleView, ...] = VIEWS, history: list[StreamEvent] | None = None) -> None:
        self.on_state: Callable[[str], None] = lambda _: None
        self.by_slug = {item.slug: item for item in views}
        self.history = events() if history is None else history
        self.gone: StreamEvent | None = None
        """In place of lines that were dropped."""
        self.catalogue_now = CATALOGUE
        self.settings_now = SETTINGS
        self.proposals_now: list[ProposalView] = []
        self.decided: list[ProposalView] = []
        self.temporary: tuple[TemporaryRoute, ...] = ()
        self.answers: list[tuple[str, str, Any]] = []
        self.screens: dict[str, bytes] = {}
        self.typed: list[tuple[str, bytes]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.terminals: list[ScriptedTerminal] = []
        self.requests: list[LaunchRequest] = []
        self.preflight_answer: Callable[[LaunchRequest], Preflight] = preflight
        self.launch_error: CarboyError | None = None
        self.launch_gate: asyncio.Event | None = None
        self.preflight_gate: asyncio.Event | None = None
        self.vault_now = VAULT
        self.changes_now = CHANGES
        self.archived_now = [
            view("docs-7", state="ended", kept="archived", ended_at=NOW - 7200, saved_at=NOW - 7260),
            view("spike", state="failed", kept="archived", ended_at=NOW - 86400, backend="docker"),
        ]
        self.away_now = Away(since=0.0, until=NOW)
        self.learned_now = learned
        self.notices_now: list[Notice] = []
        self.totals: dict[str, Any] = {}
        self.report_of_usage = UsageReport(since=0.0, now=NOW)
        self.asked_usage: list[str | None] = []
        self.report_of_budgets = BudgetsReport(period="month", thresholds=(50, 80, 95))
        self.orders: list[AnswerOrder | BudgetOrder] = []
        self.fail: dict[str, Exception] = {}
        self.warnings: tuple[str, ...] = ()
        self.given: list[tuple[str, dict[str, str]]] = []
        self._queue: asyncio.Queue[StreamEvent | Exception] = asyncio.Queue()

    async def connect(self) -> "ScriptedClient":
        self._raise("connect")
        return self

    def _raise(self, name: str) -> None:
        if name in self.fail:
            raise self.fail[name]

    def push(self, event: StreamEvent) -> None:
        """Something happens."""
        if event.seq:
            self.history.append(event)
        self._queue.put_nowait(event)

    def change(self, changed: BottleView) -> None:
        self.by_slug[changed.slug] = changed
        self.push(StreamEvent(seq=0, at=NOW, kind="bottle", slug=changed.slug, data=changed.model_dump(mode="json")))

    def drop(self, error: Exception) -> None:
        """The event stream breaks in a way that the client does not mend itself."""
        self._queue.put_nowait(error)

    async def status(self) -> Status:
        self._raise("status")
        last = max((event.seq for event in self.history), default=0)
        return Status(
            version="0", pid=1, started_at=NOW, last_seq=last, bottles=len(self.by_slug), warnings=self.warnings
        )

    async def bottles(self, *, ended: bool = False) -> list[BottleView]:
        return [*self.by_slug.values(), *(self.archived_now if ended else ())]

    async def bottle(self, slug: str) -> BottleView:
        return self.by_slug[slug]

    async def settings(self) -> tuple[Provenance, ...]:
        self._raise("settings")
        return self.settings_now

    async def proposals(self, *, slug: str | None = None, state: str | None = None) -> list[ProposalView]:
        return self.proposals_now

    def ask(self, asked: ProposalView) -> None:
        """A proposal comes in, or changes."""
        rest = [item for item in self.proposals_now if item.id != asked.id]
        self.proposals_now = [*rest, asked] if asked.state == "pending" else rest
        self.decided += [asked] if asked.state != "pending" else []
        self.push(StreamEvent(seq=0, at=NOW, kind="proposal", slug=asked.slug, data=asked.model_dump(mode="json")))

    async def proposal(self, identity: str) -> ProposalView:
        found = next(item for item in (*self.proposals_now, *self.decided) if item.id == identity)
        return found.model_copy(update={"routes": ROUTES if found.editable else ""})

    async def approve(self, identity: str, body: ApproveBody) -> ProposalView:
        self.answers.append(("preview" if body.preview else "approve", identity, body))
        self._raise("approve")
        found = await self.proposal(identity)
        if body.preview:
            change = ManifestChange(file="/home/op/.config/carboy/bottles/dev.md", diff=("@@ -1 +1 @@", "+  - host: x"))
            return found.model_copy(update={"seen": "previewed", "manifest": change if body.scope == "save" else None})
        self.ask(found.model_copy(update={"state": "approved"}))
        return found

    async def reject(self, identity: str, body: RejectBody) -> ProposalView:
        self.answers.append(("reject", identity, body))
        self._raise("reject")
        found = await self.proposal(identity)
        self.ask(found.model_copy(update={"state": "rejected"}))
        return found

    async def catalogue(self, cwd: str | None = None) -> Catalogue:
        self._raise("catalogue")
        return self.catalogue_now

    async def agents_here(self) -> SetUp:
        self._raise("agents_here")
        return AGENTS_HERE

    async def init(self, agents: tuple[str, ...] = ()) -> SetUp:
        self._raise("init")
        self.calls.append(("init", agents))
        self.catalogue_now = CATALOGUE
        return SetUp(agents=AGENTS_HERE.agents, written=len(CATALOGUE.agents) + len(CATALOGUE.bottles))

    async def doctor(self) -> Doctor:
        self._raise("doctor")
        return DOCTOR

    async def models(self, request: LaunchRequest, *, fresh: bool = False) -> ModelList:
        self._raise("models")
        return ModelList(
            provider="claude",
            title="Claude Code",
            tested="2.1.329",
            models=("opus", "sonnet", "haiku", "claude-opus-5-5"),
            source="vendor",
        )

    async def cleanup(self) -> CleanupReport:
        return CleanupReport()

    async def live_routes(self, slug: str) -> RoutesView:
        return RoutesView(slug=slug, version=1, text=ROUTES, seen="", temporary=self.temporary)

    async def routes(self, slug: str) -> list[dict[str, Any]]:
        return [{"host": "api.anthropic.com", "ports": [443], "matches": [{"paths": [{"value": "/v1/messages"}]}]}]

    async def log(self, *, slug: str | None = None, before: int | None = None, **_: Any) -> list[StreamEvent]:
        first = [] if self.gone is None else [self.gone]
        return [*first, *(item for item in self.history if not slug or item.slug == slug)]

    async def events(
        self, since: int | None = None, slug: str | None = None, *, here: bool = False
    ) -> AsyncIterator[StreamEvent]:
        for event in [item for item in self.history if item.seq > (since or 0)]:
            yield event
        while True:
            event = await self._queue.get()
            if isinstance(event, Exception):
                raise event
            yield event

    async def terminal(self, slug: str, rows: int = 24, cols: int = 80) -> ScriptedTerminal:
        self._raise("terminal")
        terminal = ScriptedTerminal(self, slug, (rows, cols))
        self.terminals.append(terminal)
        return terminal

    async def _act(self, verb: str, slug: str, **changes: Any) -> BottleView:
        self.calls.append((verb, slug))
        self._raise(verb)
        if slug not in self.by_slug:
            raise NotFound(f"There is no bottle {slug}")
        changed = self.by_slug[slug].model_copy(update=changes)
        self.by_slug[slug] = changed
        return changed

    async def stop(self, slug: str) -> BottleView:
        return await self._act("stop", slug, state="ended", exit_code=0, ended_at=NOW)

    async def kill(self, slug: str) -> BottleView:
        return await self._act("kill", slug, state="stopped", exit_code=137, ended_at=NOW)

    async def freeze(self, slug: str) -> BottleView:
        return await self._act("freeze", slug, state="frozen")

    async def thaw(self, slug: str) -> BottleView:
        return await self._act("thaw", slug, state="running")

    async def restart_sidecar(self, slug: str) -> BottleView:
        return await self._act("restart_sidecar", slug, sidecar=SidecarHealth(state="starting"))

    async def give_secrets(self, slug: str, given: dict[str, Secret]) -> BottleView:
        self.given.append((slug, {name: value.reveal() for name, value in given.items()}))
        return await self._act("give_secrets", slug, missing_secrets=())

    async def commit(self, slug: str) -> BottleView:
        return await self._act("commit", slug, saved_at=NOW)

    async def put_by(self, slug: str) -> BottleView:
        return await self._act("put_by", slug, state="stopped", exit_code=137, saved_at=NOW, kept="preserved")

    async def purge(self, slug: str) -> BottleView:
        self._unarchive(slug)
        changed = await self._act("purge", slug, kept="purged")
        del self.by_slug[slug]
        return changed

    async def restore(self, slug: str, name: str | None = None) -> BottleView:
        self._unarchive(slug)
        return await self._act("restore", slug, state="ended", kept="preserved")

    def _unarchive(self, slug: str) -> None:
        self.by_slug |= {one.slug: one for one in self.archived_now if one.slug == slug}
        self.archived_now = [one for one in self.archived_now if one.slug != slug]

    async def archive(self, slug: str) -> BottleView:
        changed = await self._act("archive", slug, state="ended", kept="archived")
        del self.by_slug[slug]
        return changed

    async def changes(self, slug: str) -> Changes:
        self._raise("changes")
        return self.changes_now

    async def difference(self, slug: str, path: str) -> str:
        return DIFFERENCE.format(path=path)

    async def pull(self, slug: str, paths: tuple[str, ...] = (), *, delete: bool = False) -> Brought:
        self.calls.append(("pull", slug, tuple(paths), delete))
        return Brought(written=tuple(paths), left=(".envrc: masked in the bottle",))

    async def put_back(self, slug: str, paths: tuple[str, ...]) -> Brought:
        self.calls.append(("put_back", slug, tuple(paths)))
        return Brought(written=tuple(paths))

    async def learned(self, slug: str) -> LearnReport:
        return self.learned_now(slug)

    async def save_learned(self, slug: str, hosts: tuple[str, ...], name: str) -> str:
        self.calls.append(("save_learned", slug, hosts, name))
        self._raise("save_learned")
        return f"/home/op/.config/carboy/bottles/{name}.md"

    async def report(self, slug: str, since: float | None = None) -> Report:
        return reported(slug)

    async def away(self, since: float | None = None) -> Away:
        return self.away_now

    async def search(self, text: str, slug: str | None = None, limit: int = 50) -> Found:
        self.calls.append(("search", text))
        return Found(text=text, hits=tuple(one for one in HITS if text.lower() in one.snippet.lower()), more=True)

    async def around(self, number: int) -> Passage:
        hit = next(one for one in HITS if one.id == number)
        others = [Said(at=NOW - 900, kind="user", text="Mend the retry loop\n\n[bold]soon[/bold]")]
        return Passage(hit=hit, entries=(*others, Said(kind=hit.kind, tool=hit.tool, text=hit.snippet, here=True)))

    # --- usage and budgets --------------------------------------------------------------------------------------

    async def usage_totals(self) -> dict[str, Any]:
        return self.totals

    async def usage(self, slug: str | None = None, days: int | None = None) -> UsageReport:
        self.asked_usage.append(slug)
        return self.report_of_usage.model_copy(update={"slug": slug or ""})

    async def budgets(self) -> BudgetsReport:
        return self.report_of_budgets

    async def set_budget(self, order: BudgetOrder) -> BudgetsReport:
        self.orders.append(order)
        return self.report_of_budgets

    async def answer_budget(self, slug: str, order: AnswerOrder) -> BottleView:
        self.orders.append(order)
        policy = {"shutdown": order.policy} if order.policy else {"cut": "", "asks": ()}
        return await self._act("answer budget", slug, **policy)

    async def cutoff(self, slug: str, order: CutoffOrder) -> BottleView:
        return await self._act("cutoff", slug, cut="operator")

    async def restore_egress(self, slug: str, order: CutoffOrder) -> BottleView:
        return await self._act("restore_egress", slug, cut="")

    async def notices(self) -> list[Notice]:
        return self.notices_now

    async def read_notices(self, upto: int) -> list[Notice]:
        self.calls.append(("read_notices", upto))
        self.notices_now = [item.model_copy(update={"read": item.read or item.id <= upto}) for item in self.notices_now]
        return self.notices_now

    async def clear_notices(self) -> None:
        self.calls.append(("clear_notices",))
        self.notices_now = []

    def tell(self, notice: Notice) -> None:
        """Something worth hearing of happens."""
        self.notices_now.insert(0, notice)
        data = notice.model_dump(mode="json")
        self.push(StreamEvent(seq=0, at=NOW, kind="notification", slug=notice.slug, data=data))

    async def vault(self) -> VaultView:
        self._raise("vault")
        return self.vault_now

    async def set_secret(self, name: str, value: Secret) -> VaultView:
        self._raise("set_secret")
        self.given.append((name, {"value": value.reveal()}))
        rest = tuple(item for item in self.vault_now.secrets if item.name != name)
        self.vault_now = self.vault_now.model_copy(update={"secrets": (*rest, SecretView(name=name, set_at=NOW))})
        return self.vault_now

    async def remove_secret(self, name: str) -> VaultView:
        self.calls.append(("remove_secret", name))
        rest = tuple(item for item in self.vault_now.secrets if item.name != name)
        self.vault_now = self.vault_now.model_copy(update={"secrets": rest})
        return self.vault_now

    async def preflight(self, request: LaunchRequest) -> Preflight:
        self.requests.append(request)
        if self.preflight_gate is not None:
            await self.preflight_gate.wait()
        self._raise("preflight")
        return self.preflight_answer(request)

    async def launch(self, request: LaunchRequest) -> AsyncIterator[LaunchStep | BottleView]:
        self.requests.append(request)
        name = request.label or request.agent or "shell"
        for step, ms in (("state folder", 2.0), ("sandbox", 48.0), ("sidecar", 61.0)):
            yield LaunchStep(session_id="s-new", slug=name, step=step, state="running")
            yield LaunchStep(session_id="s-new", slug=name, step=step, state="done", ms=ms)
        yield LaunchStep(session_id="s-new", slug=name, step="self-test", state="running")
        if self.launch_gate is not None:
            await self.launch_gate.wait()
        if self.launch_error is not None:
            yield LaunchStep(session_id="s-new", slug=name, step="self-test", state="failed", ms=9, detail="no answer")
            raise self.launch_error
        yield LaunchStep(session_id="s-new", slug=name, step="self-test", state="done", ms=31.0)
        made = view(name, agent=request.agent, color=request.color, created_at=NOW, started_at=NOW)
        self.change(made)
        yield made

    async def cancel_launch(self, session_id: str) -> None:
        self.calls.append(("cancel_launch", session_id))
        self.launch_error = CarboyError("The launch was cancelled", "", "cancelled")
        if self.launch_gate is not None:
            self.launch_gate.set()

    async def close(self) -> None:
        return


def app(client: ScriptedClient | None = None) -> Any:
    """The real app on a scripted client."""
    from app.carboy import CarboyApp

    return CarboyApp((client or ScriptedClient()).connect, clock=clock)  # type: ignore[arg-type]
