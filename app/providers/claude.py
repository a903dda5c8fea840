"""The `claude` provider: Claude Code, unmodified, with a placeholder where its credential would be.

Facts about the CLI are from running 2.1.329 behind a recording proxy (docs/providers.md). Its own host name stays:
the request is intercepted, not redirected, so that ANTHROPIC_BASE_URL is the operator's to use or not.
"""

import json

from app.backends.base import Command, FileIn
from app.core.schema import Manifest
from app.errors import CarboyError, ConfigError
from app.providers.base import Credential, Found, LaunchContext, Prepared, Provider
from app.providers.locate import Recipe, locate
from sidecar.contract import PathMatch, Route, RouteDlp, RouteMatch

HOST = "api.anthropic.com"
API_KEY = "ANTHROPIC_API_KEY"
OAUTH = "CLAUDE_CODE_OAUTH_TOKEN"
MAX_ARGUMENT = 128 * 1024 - 1
"""Longest single argument in bytes that Linux takes (MAX_ARG_STRLEN, include/uapi/linux/binfmts.h)."""
PATIENCE_MS = 15 * 60 * 1000
"""How long it waits for an answer. A request may be held for the operator (300 s by default); its own limits are
182 s for the first byte and 600 s for the whole."""
INSTALL = (
    "Install it with `npm install -g @anthropic-ai/claude-code` or `curl -fsSL https://claude.ai/install.sh | bash`"
)

ENV = {
    "IS_SANDBOX": "1",  # allows --dangerously-skip-permissions as uid 0
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_INSTALLATION_CHECKS": "1",
    "API_TIMEOUT_MS": str(PATIENCE_MS),
    "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS": str(PATIENCE_MS),
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
    tested_versions = ">=2.0,<3"
    install_hint = INSTALL
    settings_keys = frozenset({"auth"})

    def find(self, environ: dict[str, str]) -> Found:
        return locate(RECIPE, environ)

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        chosen = manifest.bottle.agent_provider.auth_token
        if chosen is None:
            return (_api_key(API_KEY), _oauth(OAUTH))
        return (_oauth(chosen),) if _is_oauth(manifest, chosen) else (_api_key(chosen),)

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        self.check(manifest)
        return (
            Route(
                host=HOST,
                ports=(443,),
                matches=(MODEL_CALLS, READS),
                dlp=RouteDlp(outbound_on_match="redact"),
            ),
        )

    def prepare(self, context: LaunchContext) -> Prepared:
        env = dict(ENV)
        for credential in self.credentials(context.manifest):
            if credential.token_ref in context.placeholders:
                env[credential.env] = context.placeholders[credential.token_ref]
        command = Command(
            argv=_argv(context),
            cwd=context.project or context.home,
            rows=context.rows,
            cols=context.cols,
            tty=not context.headless,
        )
        return Prepared(command, _files(context, env.get(API_KEY, "")), env)

    def skills_folder(self, home: str) -> str | None:
        return f"{home}/.claude/skills"


RECIPE = Recipe(
    program="claude",
    package="@anthropic-ai/claude-code",
    title=ClaudeProvider.title,
    install_hint=INSTALL,
    places=(".local/bin/claude", ".claude/local/claude", ".claude/local/node_modules/.bin/claude"),
    tested=((2, 0), (3,)),
)


def _api_key(token_ref: str) -> Credential:
    return Credential(token_ref, API_KEY, HOST, "x-api-key", shape="sk-ant-api03-")


def _oauth(token_ref: str) -> Credential:
    return Credential(token_ref, OAUTH, HOST, "authorization", scheme="Bearer", shape="sk-ant-oat01-")


def _is_oauth(manifest: Manifest, token_ref: str) -> bool:
    """`settings.auth` says which kind the secret is; without it the secret's name does."""
    auth = (manifest.bottle.agent_provider.settings.model_extra or {}).get("auth")
    if auth not in (None, "api-key", "oauth"):
        raise ConfigError(
            f"not a way to sign in: {auth!r}", "Write api-key or oauth", key="agent_provider.settings.auth"
        )
    return auth == "oauth" if auth is not None else "OAUTH" in token_ref.upper()


def _argv(context: LaunchContext) -> tuple[str, ...]:
    """What the operator wrote, with `claude` meaning the CLI wherever it lies; else the CLI with our options.

    `--` ends the options, so that a task may begin with a dash.
    """
    if context.command:
        first, *rest = context.command
        return (*context.found.argv, *rest) if first == RECIPE.program else context.command
    settings = context.manifest.bottle.agent_provider.settings
    argv = [*context.found.argv, "--mcp-config", _mcp_file(context.home), "--strict-mcp-config"]
    if context.manifest.prompt:
        argv += ["--append-system-prompt", _bounded(context.manifest.prompt, "the agent's prompt")]
    model = context.model or settings.model
    if model:
        argv += ["--model", model]
    argv += settings.startup_args
    argv.append("--dangerously-skip-permissions")
    if context.headless:
        argv.append("--print")
    if context.task:
        argv += ["--", _bounded(context.task, "the task")]
    return tuple(argv)


def _bounded(text: str, what: str) -> str:
    if len(text.encode()) > MAX_ARGUMENT:
        raise CarboyError(
            f"{what} is longer than {MAX_ARGUMENT} bytes", "Put the details into a file and name it", "task_too_long"
        )
    return text


def _mcp_file(home: str) -> str:
    return f"{home}/.claude/carboy-mcp.json"


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
        _json(f"{home}/.claude.json", state),
        _json(f"{home}/.claude/settings.json", settings),
        _json(_mcp_file(home), {"mcpServers": {}}),
    )


def _json(target: str, value: object) -> FileIn:
    return FileIn(target, json.dumps(value, indent=2).encode(), 0o600)
