"""The `claude` provider: Claude Code, unmodified, with a placeholder where its credential would be.

Facts about the CLI are from running 2.1.332 behind a recording proxy (docs/providers.md). Its own host name stays:
the request is intercepted, not redirected. `settings.base_url` is an API of the operator's own that speaks as
Anthropic's does (a company's gateway).
"""

from pathlib import Path

from app.backends.base import FileIn
from app.core.schema import Manifest
from app.errors import ConfigError
from app.providers import mcp, models
from app.providers.base import LAST, Credential, Found, LaunchContext, ModelSource, Prepared, Provider
from app.providers.conversation import Reader
from app.providers.endpoint import Endpoint, gateway
from app.providers.formats import ClaudeFormat
from app.providers.locate import Recipe, locate
from app.providers.prepare import PATIENCE_MS, bounded, command, json_file, model, placeholder_env, startup_args
from app.providers.reading import LineReader
from sidecar.contract import PathMatch, Route, RouteDlp, RouteMatch

HOST = "api.anthropic.com"
API_KEY = "ANTHROPIC_API_KEY"
OAUTH = "CLAUDE_CODE_OAUTH_TOKEN"
BEARER = "ANTHROPIC_AUTH_TOKEN"
"""Of a gateway that wants `Authorization: Bearer`."""
WAYS = ("api-key", "oauth")
OWN_WAYS = ("api-key", "bearer")
TRIED = "2.1.332"
INSTALL = (
    "Install it with `npm install -g @anthropic-ai/claude-code` or `curl -fsSL https://claude.ai/install.sh | bash`"
)

ENV = {
    "IS_SANDBOX": "1",  # allows --dangerously-skip-permissions as uid 0
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_INSTALLATION_CHECKS": "1",
    "API_TIMEOUT_MS": str(PATIENCE_MS),  # its own: 600 s for the whole
    "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS": str(PATIENCE_MS),  # its own: 182 s
    "MCP_TOOL_TIMEOUT": str(mcp.TIMEOUT_MS),
    "ENABLE_TOOL_SEARCH": "false",  # the four tools that ask for access are seen without searching for them
}

MODEL_CALLS = RouteMatch(
    paths=(
        PathMatch(type="exact", value="/v1/messages"),
        PathMatch(type="exact", value="/v1/messages/count_tokens"),
    ),
    methods=("POST",),
)
READS = RouteMatch(
    paths=(
        PathMatch(type="prefix", value="/v1/models"),
        # the organisation's own rules for its members; refused, the CLI shows a warning above every prompt
        PathMatch(type="exact", value="/api/claude_code/settings"),
        PathMatch(type="exact", value="/api/claude_code/policy_limits"),
    ),
    methods=("GET",),
)


class ClaudeProvider(Provider):
    """Claude Code by API key (x-api-key) or by subscription token (Bearer)."""

    name = "claude"
    title = "Claude Code"
    tested_versions = TRIED
    install_hint = INSTALL
    settings_keys = frozenset({"auth", "base_url", "fallback_model"})
    resting = ("✳",)

    def find(self, environ: dict[str, str]) -> Found:
        return locate(RECIPE, environ)

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        chosen = manifest.bottle.agent_provider.auth_token
        own = _gateway(manifest)
        if own is not None:
            if _auth(manifest) == "bearer":
                return (Credential(chosen or "", BEARER, own.vendor.host, "authorization", scheme="Bearer"),)
            return (own.vendor.credential(chosen),)
        if chosen is None:
            return (_api_key(API_KEY), _oauth(OAUTH))
        return (_oauth(chosen),) if _is_oauth(manifest, chosen) else (_api_key(chosen),)

    def check(self, manifest: Manifest) -> None:
        super().check(manifest)
        fallback_model(manifest)
        _auth(manifest)
        _gateway(manifest)

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        self.check(manifest)
        own = _gateway(manifest)
        if own is not None:
            return (own.vendor.route,)
        return (
            Route(
                host=HOST,
                ports=(443,),
                matches=(MODEL_CALLS, READS),
                dlp=RouteDlp(outbound_on_match="redact"),
            ),
        )

    def models(self, manifest: Manifest) -> tuple[str, ...]:
        return models.CLAUDE

    def model_source(self, manifest: Manifest) -> ModelSource | None:
        own = _gateway(manifest)
        return own.vendor.models if own is not None else models.anthropic_source(HOST, "/v1")

    def prepare(self, context: LaunchContext) -> Prepared:
        env = ENV | placeholder_env(context, self.credentials(context.manifest))
        own = _gateway(context.manifest)
        if own is not None:
            env["ANTHROPIC_BASE_URL"] = own.base_url
        made = command(context, RECIPE.program, _arguments(context))
        return Prepared(made, _files(context, env.get(API_KEY, "")), env)

    def skills_folder(self, home: str) -> str | None:
        return f"{home}/.claude/skills"

    def conversations(self, home: Path) -> Reader:
        return LineReader(home, ClaudeFormat())


RECIPE = Recipe(
    program="claude",
    package="@anthropic-ai/claude-code",
    title=ClaudeProvider.title,
    install_hint=INSTALL,
    tried=TRIED,
    places=(".local/bin/claude", ".claude/local/claude", ".claude/local/node_modules/.bin/claude"),
    tested=((2, 0), (3,)),
)


def _api_key(token_ref: str) -> Credential:
    return Credential(token_ref, API_KEY, HOST, "x-api-key", shape="sk-ant-api03-")


def _oauth(token_ref: str) -> Credential:
    return Credential(token_ref, OAUTH, HOST, "authorization", scheme="Bearer", shape="sk-ant-oat01-")


def _is_oauth(manifest: Manifest, token_ref: str) -> bool:
    """`settings.auth` says which kind the secret is; without it the secret's name does."""
    auth = _auth(manifest)
    return auth == "oauth" if auth else "OAUTH" in token_ref.upper()


def _auth(manifest: Manifest) -> str:
    given = manifest.bottle.agent_provider.settings.model_extra or {}
    auth, ways = given.get("auth"), OWN_WAYS if "base_url" in given else WAYS
    if auth is not None and auth not in ways:
        raise ConfigError(
            f"not a way to sign in: {auth!r}", f"Write {' or '.join(ways)}", key="agent_provider.settings.auth"
        )
    return auth or ""


def _gateway(manifest: Manifest) -> Endpoint | None:
    return gateway(manifest, "anthropic", "anthropic-messages")


def fallback_model(manifest: Manifest) -> str:
    """What it falls back to while the main model is overloaded: a name, several with commas, or a list of them."""
    given = (manifest.bottle.agent_provider.settings.model_extra or {}).get("fallback_model") or ""
    names = given if isinstance(given, list | tuple) else [given]
    if not all(isinstance(name, str) and not name.startswith("-") for name in names):
        raise ConfigError(
            f"not a model: {given!r}", "Write fallback_model: sonnet", key="agent_provider.settings.fallback_model"
        )
    return ",".join(names)


def _arguments(context: LaunchContext) -> tuple[str, ...]:
    """`--` ends the options, so that a task may begin with a dash."""
    argv = ["--mcp-config", _mcp_file(context.home), "--strict-mcp-config"]
    if context.manifest.prompt:
        argv += ["--append-system-prompt", bounded(context.manifest.prompt, "the agent's prompt")]
    wanted = model(context)
    if wanted:
        argv += ["--model", wanted]
    fallback = fallback_model(context.manifest)
    if fallback:
        argv += ["--fallback-model", fallback]
    if context.resume:
        argv += ["--continue"] if context.resume == LAST else ["--resume", context.resume]
    argv += startup_args(context)
    argv.append("--dangerously-skip-permissions")
    if context.headless:
        argv.append("--print")
    if context.task:
        argv += ["--", bounded(context.task, "the task")]
    return tuple(argv)


def _mcp_file(home: str) -> str:
    return f"{home}/.claude/carboy-mcp.json"


def _mcp_servers(context: LaunchContext) -> dict[str, object]:
    url = mcp.address(context)
    return {mcp.NAME: {"type": "http", "url": url, "timeout": mcp.TIMEOUT_MS}} if url else {}


def _files(context: LaunchContext, key: str) -> tuple[FileIn, ...]:
    """Its own configuration, as if someone had gone through every dialog once. No credential is in it."""
    home = context.home
    state = {
        "hasCompletedOnboarding": True,
        "lastOnboardingVersion": context.found.version,
        "autoUpdates": False,
        "bypassPermissionsModeAccepted": True,
        # it asks whether to use a key from the environment, and remembers the answer by the key's end
        "customApiKeyResponses": {"approved": [key[-20:]] if key else [], "rejected": []},
        "projects": {
            context.project or home: {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True},
        },
    }
    settings = {
        "skipDangerousModePermissionPrompt": True,
        "skipWebFetchPreflight": True,  # it would tell the API host every domain, and the path is not on the list
    }
    return (
        json_file(f"{home}/.claude.json", state),
        json_file(f"{home}/.claude/settings.json", settings),
        json_file(_mcp_file(home), {"mcpServers": _mcp_servers(context)}),
    )
