"""The `codex` provider: OpenAI's Codex CLI, unmodified, with a placeholder where its API key would be.

Facts about the CLI are from running 0.171.0 behind a recording proxy (docs/providers.md). It gets a model provider of
our own naming: its built-in one also sends the key to chatgpt.com, and believes that there is a login to make.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from app.backends.base import FileIn
from app.core.schema import Manifest
from app.errors import ConfigError
from app.providers import chatgpt, mcp, models
from app.providers.base import (
    LAST,
    Credential,
    Found,
    HostLogin,
    LaunchContext,
    ModelSource,
    Prepared,
    Provider,
    Renewal,
)
from app.providers.conversation import Reader
from app.providers.endpoint import Endpoint, gateway
from app.providers.formats import CodexFormat
from app.providers.locate import Recipe, locate
from app.providers.prepare import PATIENCE_MS, bounded, command, model, placeholder_env, startup_args
from app.providers.reading import LineReader
from app.providers.vendors import VENDORS, Vendor
from sidecar.contract import PathMatch, Route, RouteMatch

OPENAI = VENDORS["openai"]
INSTALL = "Install it with `npm install -g @openai/codex`"
TRIED = "0.171.0"
TRANSPORTS = ("websocket", "sse")
FEATURES = ("apps", "daemon_auto_start", "plugins", "remote_plugin", "unbounded_connection_retries")
"""Switched off. The daemon copies 405 MB into the home folder and outlives the session; unbounded retries never tell
that a request was refused; the others call hosts that are not the model's."""
REQUIREMENTS = "/etc/codex/requirements.toml"
"""What holds whatever its configuration says. Without it full access makes live of a cached search (0.171.0)."""


class CodexProvider(Provider):
    """Codex by API key, or by the ChatGPT login that it has on this host."""

    name = "codex"
    title = "Codex"
    tested_versions = TRIED
    install_hint = INSTALL
    login_hint = chatgpt.LOG_IN
    settings_keys = frozenset({"base_url", "transport", "effort"})
    asking = ("[ ! ] Action Required", "[ . ] Action Required")

    def check(self, manifest: Manifest) -> None:
        super().check(manifest)
        if _forwards(manifest) and manifest.bottle.agent_provider.auth_token:
            raise ConfigError(
                "forward_host_credentials and auth_token are two ways to sign in",
                "Keep one of them",
                key="agent_provider.forward_host_credentials",
            )
        if _forwards(manifest) and _setting(manifest, "base_url", ""):
            raise ConfigError(
                "the host's ChatGPT login is for ChatGPT alone",
                "Write auth_token: NAME for an API of your own, or take base_url out",
                key="agent_provider.settings.base_url",
            )
        _gateway(manifest)
        if _setting(manifest, "transport", "websocket") not in TRANSPORTS:
            raise ConfigError(
                "not a way that Codex speaks to its model",
                "Write websocket or sse",
                key="agent_provider.settings.transport",
            )

    def find(self, environ: dict[str, str]) -> Found:
        return locate(RECIPE, environ)

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        if _forwards(manifest):
            return (Credential(chatgpt.LOGIN, "", chatgpt.HOST, "authorization", scheme="Bearer"),)
        return (_vendor(manifest).credential(manifest.bottle.agent_provider.auth_token),)

    def host_login(self, manifest: Manifest, environ: Mapping[str, str]) -> HostLogin | None:
        return chatgpt.login(environ) if _forwards(manifest) else None

    def renewal(self, environ: Mapping[str, str]) -> Renewal | None:
        return chatgpt.renewal(environ)

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        self.check(manifest)
        if _gateway(manifest) is not None:
            return (_vendor(manifest).route,)
        route, base = (chatgpt.ROUTE, "/backend-api/codex") if _forwards(manifest) else (OPENAI.route, "/v1")
        # what models that search by a program ask, in place of a tool of the vendor's
        search = RouteMatch(paths=(PathMatch(type="exact", value=f"{base}/alpha/search"),), methods=("POST",))
        return (route.model_copy(update={"matches": (*route.matches, search)}),)

    def models(self, manifest: Manifest) -> tuple[str, ...]:
        return models.OPENAI

    def model_source(self, manifest: Manifest) -> ModelSource | None:
        return _model_source(manifest)

    def prepare(self, context: LaunchContext) -> Prepared:
        folder = f"{context.home}/.codex"
        files = [FileIn(f"{folder}/config.toml", _toml(_config(context)).encode(), 0o600)]
        if _web_search(context.manifest) == "cached":
            files.append(FileIn(REQUIREMENTS, b'allowed_web_search_modes = ["cached"]\n'))
        env = dict[str, str]()
        if _forwards(context.manifest):
            given = chatgpt.stand_in(context.login, context.placeholders[chatgpt.LOGIN])
            files.append(FileIn(f"{folder}/auth.json", given, 0o600))
        else:
            env = placeholder_env(context, self.credentials(context.manifest))
        return Prepared(command(context, RECIPE.program, _arguments(context)), tuple(files), env)

    def skills_folder(self, home: str) -> str | None:
        return f"{home}/.codex/skills"

    def conversations(self, home: Path) -> Reader:
        return LineReader(home, CodexFormat())


RECIPE = Recipe(
    program="codex",
    package="@openai/codex",
    title=CodexProvider.title,
    install_hint=INSTALL,
    tried=TRIED,
    places=(".local/bin/codex",),
    tested=((0, 169), (1,)),
    native="{package}-{platform}/vendor/{triple}/bin/{program}",
    marker="codex-package.json",
)


def _model_source(manifest: Manifest) -> ModelSource | None:
    return models.chatgpt_source(chatgpt.HOST, TRIED) if _forwards(manifest) else _vendor(manifest).models


def _gateway(manifest: Manifest) -> Endpoint | None:
    return gateway(manifest, "openai", "openai-responses")


def _vendor(manifest: Manifest) -> Vendor:
    own = _gateway(manifest)
    return own.vendor if own is not None else OPENAI


def _forwards(manifest: Manifest) -> bool:
    return manifest.bottle.agent_provider.forward_host_credentials


def _setting(manifest: Manifest, key: str, default: str) -> str:
    return str((manifest.bottle.agent_provider.settings.model_extra or {}).get(key) or default)


def _arguments(context: LaunchContext) -> tuple[str, ...]:
    """`--` ends the options, so that a task may begin with a dash."""
    argv = ["exec", "--skip-git-repo-check"] if context.headless else []
    if context.resume:
        argv.append("resume")
    argv.append("--dangerously-bypass-approvals-and-sandbox")
    wanted = model(context)
    if wanted:
        argv += ["--model", wanted]
    argv += startup_args(context)
    if context.resume == LAST:
        argv.append("--last")
    elif context.resume:
        argv.append(context.resume)
    if context.task:
        argv += ["--", bounded(context.task, "the task")]
    return tuple(argv)


type Value = str | bool | int | Mapping[str, Value]


def _config(context: LaunchContext) -> Mapping[str, Value]:
    """Its configuration: no login, no question, nothing but the model's API. No credential is in it."""
    config: dict[str, Value] = {
        "model_provider": "carboy",
        "approval_policy": "never",
        "sandbox_mode": "danger-full-access",  # the bottle is the sandbox
        "check_for_update_on_startup": False,
        "web_search": _web_search(context.manifest),
        "background_terminal_max_timeout": PATIENCE_MS,  # how long one look at a command that runs on may last
        "cli_auth_credentials_store": "file",
    }
    if context.manifest.prompt:
        config["developer_instructions"] = context.manifest.prompt
    effort = _setting(context.manifest, "effort", "")
    if effort:
        config["model_reasoning_effort"] = effort
    return config | {
        "model_providers": {
            "carboy": {
                "name": "OpenAI",
                **_signed_in(context.manifest),
                "wire_api": "responses",
                "supports_websockets": _transport(context.manifest) == "websocket",
                "stream_idle_timeout_ms": PATIENCE_MS,  # its own: 300 s
            }
        },
        "projects": {context.project or context.home: {"trust_level": "trusted"}},
        # a program of the model's waits for a command whose request is held; its own limit is 10 s
        "features": {**dict.fromkeys(FEATURES, False), "code_mode": {"default_exec_yield_time_ms": PATIENCE_MS}},
        "analytics": {"enabled": False},
        "feedback": {"enabled": False},
        "otel": {"exporter": "none", "metrics_exporter": "none", "trace_exporter": "none"},
        "notice": {"hide_full_access_warning": True, "hide_world_writable_warning": True},
        "tui": {"show_tooltips": False},
        "mcp_servers": _mcp_servers(context),
    }


def _web_search(manifest: Manifest) -> str:
    """Live, OpenAI opens any page it is told to, which the proxy refuses; whether a gateway keeps to the cache nobody
    knows."""
    if manifest.bottle.egress.vendor_fetch:
        return "live"
    return "cached" if _gateway(manifest) is None else "disabled"


def _transport(manifest: Manifest) -> str:
    """Few gateways speak WebSocket."""
    return _setting(manifest, "transport", "websocket" if _gateway(manifest) is None else "sse")


def _signed_in(manifest: Manifest) -> Mapping[str, Value]:
    """By a key in the environment; or by the login in `auth.json`, for whose host it knows the address."""
    if _forwards(manifest):
        return {"requires_openai_auth": True}
    own = _gateway(manifest)
    return {"base_url": own.base_url if own is not None else f"https://{OPENAI.host}/v1", "env_key": OPENAI.env}


def _mcp_servers(context: LaunchContext) -> Mapping[str, Value]:
    url = mcp.address(context)
    return {mcp.NAME: {"url": url, "tool_timeout_sec": mcp.TIMEOUT_MS // 1000}} if url else {}


def _toml(table: Mapping[str, Value], above: tuple[str, ...] = ()) -> str:
    """TOML with keys in quotes; a JSON string is a TOML basic string once DEL is escaped (toml.io 1.0)."""
    lines = [f"[{'.'.join(map(_quoted, above))}]"] if above else []
    tables = list[str]()
    for key, value in table.items():
        if isinstance(value, Mapping):
            tables.append(_toml(value, (*above, key)))
        else:
            lines.append(f"{_quoted(key)} = {_quoted(value) if isinstance(value, str) else json.dumps(value)}")
    return "\n".join([*lines, "", *tables])


def _quoted(text: str) -> str:
    """Characters as they are: JSON's escapes for those beyond the first plane are pairs, which TOML refuses."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
