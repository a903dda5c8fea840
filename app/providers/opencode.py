"""The `opencode` provider: OpenCode, unmodified, with a placeholder where its LLM vendor's key would be.

Facts about the CLI are from running 1.18.33 behind a recording proxy (docs/providers.md).
"""

import json
from pathlib import Path

from app.backends.base import FileIn
from app.core.schema import Manifest
from app.providers import mcp
from app.providers.base import LAST, Credential, Found, LaunchContext, ModelSource, Prepared, Provider
from app.providers.conversation import Reader
from app.providers.endpoint import KEYS, Endpoint, endpoint, offered
from app.providers.locate import Recipe, locate
from app.providers.opencode_record import OpenCodeReader
from app.providers.prepare import COMMAND_MS, PATIENCE_MS, bounded, command, model, placeholder_env, startup_args
from sidecar.contract import Route

TRIED = "1.18.33"
INSTALL = "Install it with `npm install -g opencode-ai` or `curl -fsSL https://opencode.ai/install | bash`"
DRIVERS = {
    "openai-completions": ("@ai-sdk/openai-compatible", ""),
    "openai-responses": ("@ai-sdk/openai", ""),
    "anthropic-messages": ("@ai-sdk/anthropic", "/v1"),
}
"""The part of it that speaks an API (all are in its binary), and what that wants behind the base URL."""
OUTPUT_LIMIT = 32_000
"""Tokens of one answer of a model that it does not know: its own limit for any model (1.18.33)."""
CONTEXT = 128_000
"""Tokens that a model takes which nothing is said of."""

ENV = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_SHARE": "1",
    "OPENCODE_EXPERIMENTAL_BASH_DEFAULT_TIMEOUT_MS": str(COMMAND_MS),  # its own: 120 s, then the command is ended
}


class OpenCodeProvider(Provider):
    """OpenCode with the API of one vendor, or one of the operator's own."""

    name = "opencode"
    title = "OpenCode"
    tested_versions = TRIED
    install_hint = INSTALL
    settings_keys = KEYS

    def check(self, manifest: Manifest) -> None:
        super().check(manifest)
        endpoint(manifest)

    def find(self, environ: dict[str, str]) -> Found:
        return locate(RECIPE, environ)

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        return (endpoint(manifest).vendor.credential(manifest.bottle.agent_provider.auth_token),)

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        self.check(manifest)
        return (endpoint(manifest).vendor.route,)

    def models(self, manifest: Manifest) -> tuple[str, ...]:
        return offered(endpoint(manifest))

    def model_source(self, manifest: Manifest) -> ModelSource | None:
        return endpoint(manifest).vendor.models

    def prepare(self, context: LaunchContext) -> Prepared:
        chosen = endpoint(context.manifest)
        env = ENV | {"OPENCODE_CONFIG_CONTENT": json.dumps(_config(context, chosen))}
        env |= placeholder_env(context, self.credentials(context.manifest))
        prompt = context.manifest.prompt
        files = (FileIn(_prompt_file(context), prompt.encode(), 0o600),) if prompt else ()
        return Prepared(command(context, RECIPE.program, _arguments(context, chosen)), files, env)

    def skills_folder(self, home: str) -> str | None:
        return f"{home}/.config/opencode/skills"

    def conversations(self, home: Path) -> Reader:
        return OpenCodeReader(home)


RECIPE = Recipe(
    program="opencode",
    package="opencode-ai",
    title=OpenCodeProvider.title,
    install_hint=INSTALL,
    tried=TRIED,
    places=(".opencode/bin/opencode",),
    tested=((1, 18), (2,)),
    native="opencode-{platform}/bin/{program}",
)


def _prompt_file(context: LaunchContext) -> str:
    return f"{context.home}/.config/opencode/carboy-prompt.md"


def _arguments(context: LaunchContext, chosen: Endpoint) -> tuple[str, ...]:
    """`--` ends the options, so that a task may begin with a dash; interactive it is one word with its option.

    Headless it puts an argument with spaces in it into quotes, and joins all by spaces: so it gets single words.
    """
    argv = ["run"] if context.headless else []
    wanted = _model(context, chosen)
    if wanted:
        argv += ["--model", wanted]
    if context.resume:
        argv += ["--continue"] if context.resume == LAST else ["--session", context.resume]
    argv += startup_args(context)
    if context.task:
        task = bounded(context.task, "the task")
        argv += ["--", *task.split(" ")] if context.headless else [f"--prompt={task}"]
    return tuple(argv)


def _model(context: LaunchContext, chosen: Endpoint) -> str | None:
    """Written as it wants it: with the vendor before it."""
    wanted = model(context) or next(iter(chosen.models), None)
    if wanted is None or wanted.startswith(f"{chosen.vendor.name}/"):
        return wanted
    return f"{chosen.vendor.name}/{wanted}"


def _config(context: LaunchContext, chosen: Endpoint) -> dict[str, object]:
    """Its configuration, above that of the project: nothing asked, and no vendor but the chosen one."""
    return {
        "autoupdate": False,
        "share": "disabled",
        "permission": {"*": "allow"},  # the bottle is the permission system
        "enabled_providers": [chosen.vendor.name],
        "provider": {chosen.vendor.name: _provider(chosen)},
        "instructions": [_prompt_file(context)] if context.manifest.prompt else [],
        "mcp": _mcp_servers(context),
    }


def _mcp_servers(context: LaunchContext) -> dict[str, object]:
    url = mcp.address(context)
    server = {"type": "remote", "url": url, "enabled": True, "oauth": False, "timeout": mcp.TIMEOUT_MS}
    return {mcp.NAME: server} if url else {}


def _provider(chosen: Endpoint) -> dict[str, object]:
    options: dict[str, object] = {
        "apiKey": f"{{env:{chosen.vendor.env}}}",
        "timeout": False,
        "headerTimeout": False,  # its own: 300 s, which a request that is held for the operator may take
        "chunkTimeout": PATIENCE_MS,
    }
    if not chosen.base_url:
        return {"options": options}
    driver, behind = DRIVERS[chosen.api]
    limit = {"context": chosen.context_window or CONTEXT, "output": OUTPUT_LIMIT}
    return {
        "npm": driver,
        "name": chosen.vendor.name,
        "options": {**options, "baseURL": chosen.base_url + behind},
        "models": {name: {"name": name, "limit": limit} for name in chosen.models},
    }
