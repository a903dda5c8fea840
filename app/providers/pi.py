"""The `pi` provider: the Pi coding agent, unmodified, with a placeholder where its LLM vendor's key would be.

Facts about the CLI are from running 1.6.0 behind carboy itself, some of them from 1.5.2 and 0.87.1 (docs/providers.md).
"""

from pathlib import Path

from app.backends.base import FileIn
from app.core.schema import Manifest
from app.providers import mcp, pi_model
from app.providers.base import LAST, Credential, Found, LaunchContext, ModelSource, Prepared, Provider
from app.providers.conversation import Reader
from app.providers.endpoint import KEYS, Endpoint, endpoint, offered
from app.providers.formats import PiFormat
from app.providers.locate import Recipe, locate
from app.providers.prepare import bounded, command, json_file, model, placeholder_env, startup_args
from app.providers.reading import LineReader
from sidecar.contract import Route

TRIED = "1.6.0"
INSTALL = f"Install it with `npm install -g @earendil-works/pi-coding-agent@{TRIED}` (it needs Node 22.19 or newer)"

ENV = {
    "PI_OFFLINE": "1",  # no look for updates, no download of tools; the model's API is not meant
    "PI_TELEMETRY": "0",
}
EXTENSION = Path(__file__).with_name("pi_extension.ts")
"""Gives it the tools that ask for access: it speaks no MCP by itself."""
SETTINGS = {
    "defaultProjectTrust": "always",
    "enableInstallTelemetry": False,
    "collapseChangelog": True,
    "httpIdleTimeoutMs": 0,  # its own: 300 s, which a request that is held for the operator may take
    "cacheWarming": "streaming",  # from 1.5.1 on it would also send requests for half an hour after its work
    "extensions": ["-builtin:mcp"],  # a project's .pi/mcp.json starts nothing, and nothing waits for it
}
WHOLE = {"supportsMessageThreads": False}
"""From 1.5.1 on it sends Anthropic only what is new of a conversation, from 1.6.0 on also under another name: how much
the model reads could then be told by the sidecar's memory alone, which ends with the sidecar."""


class PiProvider(Provider):
    """Pi with the API of one vendor, or one of the operator's own."""

    name = "pi"
    title = "Pi"
    tested_versions = TRIED
    install_hint = INSTALL
    settings_keys = KEYS | pi_model.KEYS

    def check(self, manifest: Manifest) -> None:
        super().check(manifest)
        endpoint(manifest)
        pi_model.check(manifest)

    def find(self, environ: dict[str, str]) -> Found:
        return locate(RECIPE, environ)

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        if pi_model.keyless(manifest):
            return ()
        return (endpoint(manifest).vendor.credential(pi_model.secret_name(manifest)),)

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        self.check(manifest)
        return (endpoint(manifest).vendor.route,)

    def models(self, manifest: Manifest) -> tuple[str, ...]:
        return offered(endpoint(manifest))

    def model_source(self, manifest: Manifest) -> ModelSource | None:
        return endpoint(manifest).vendor.models

    def prepare(self, context: LaunchContext) -> Prepared:
        chosen = endpoint(context.manifest)
        files = [json_file(f"{_folder(context)}/settings.json", SETTINGS | {"defaultProvider": chosen.vendor.name})]
        if described := _described(context.manifest, chosen):
            known = {"providers": {chosen.vendor.name: described}}
            files.append(json_file(f"{_folder(context)}/models.json", known))
        asking = mcp.address(context)
        if asking:
            files.append(FileIn(f"{_folder(context)}/extensions/carboy.ts", EXTENSION.read_bytes(), 0o600))
        if context.manifest.prompt:
            files.append(FileIn(_prompt_file(context), context.manifest.prompt.encode(), 0o600))
        env = ENV | placeholder_env(context, self.credentials(context.manifest))
        env |= {"CARBOY_MCP_URL": asking} if asking else {}
        return Prepared(command(context, RECIPE.program, _arguments(context, chosen)), tuple(files), env)

    def skills_folder(self, home: str) -> str | None:
        return f"{home}/.pi/agent/skills"

    def conversations(self, home: Path) -> Reader:
        return LineReader(home, PiFormat())


RECIPE = Recipe(
    program="pi",
    package="@earendil-works/pi-coding-agent",
    title=PiProvider.title,
    install_hint=INSTALL,
    tried=TRIED,
    tested=((0, 87), (1, 7)),
    node=(22, 19),
    node_options=("--disable-warning=UNDICI-EHPA",),  # node warns of its own proxy support, above every answer
)


def _folder(context: LaunchContext) -> str:
    return f"{context.home}/.pi/agent"


def _prompt_file(context: LaunchContext) -> str:
    return f"{_folder(context)}/carboy-prompt.md"


def _arguments(context: LaunchContext, chosen: Endpoint) -> tuple[str, ...]:
    """`--` ends the options, so that a task may begin with a dash."""
    argv = list[str]()
    wanted = model(context) or next(iter(chosen.models), None)
    if wanted:  # from 1.0 on it refuses a vendor without a model; then `defaultProvider` says which
        argv += ["--provider", chosen.vendor.name, "--model", wanted]
    if context.manifest.prompt:  # by file: a text that happens to be a path would be read as one
        argv += ["--append-system-prompt", _prompt_file(context)]
    if context.resume:
        argv += ["--continue"] if context.resume == LAST else ["--session", context.resume]
    argv += startup_args(context)
    if context.headless:
        argv.append("--print")
    if context.task:
        task = bounded(context.task, "the task")
        argv += ["--", f" {task}" if task.startswith("@") else task]  # @ would name a file to send
    return tuple(argv)


def _described(manifest: Manifest, chosen: Endpoint) -> dict[str, object]:
    """What Pi does not know of the vendor, or is not to do there."""
    speaks = chosen.vendor.name == "anthropic" or chosen.api == "anthropic-messages"
    compat = {"compat": WHOLE} if speaks else {}
    return {**(_own(manifest, chosen) if chosen.base_url else {}), **compat}


def _own(manifest: Manifest, chosen: Endpoint) -> dict[str, object]:
    """An API of the operator's own as Pi wants it described; its key comes from the environment."""
    window = {"contextWindow": chosen.context_window} if chosen.context_window else {}
    return {
        "baseUrl": chosen.base_url,
        "api": chosen.api,
        "apiKey": pi_model.keyless(manifest) or f"${chosen.vendor.env}",
        "models": [{"id": name, **window, **pi_model.described(manifest)} for name in chosen.models],
    }
