"""The `gemini` provider: Google's Gemini CLI, unmodified, with a placeholder where its API key would be.

Facts about the CLI are from running 0.61.0 behind a recording proxy (docs/providers.md).
"""

from pathlib import Path

from app.backends.base import FileIn
from app.core.schema import Manifest
from app.providers import mcp, models
from app.providers.base import LAST, Credential, Found, LaunchContext, ModelSource, Prepared, Provider
from app.providers.conversation import Reader
from app.providers.formats import GeminiFormat
from app.providers.locate import Recipe, locate
from app.providers.prepare import (
    COMMAND_MS,
    PATIENCE_MS,
    bounded,
    command,
    json_file,
    model,
    placeholder_env,
    startup_args,
)
from app.providers.reading import LineReader
from app.providers.vendors import VENDORS
from sidecar.contract import Route

GOOGLE = VENDORS["google"]
TRIED = "0.61.0"
INSTALL = "Install it with `npm install -g @google/gemini-cli`"
REQUEST_TIMEOUT_FLAG = 45773134
"""The flag that holds the limit for an answer in seconds; without it 60 (seen in 0.61.0)."""

SETTINGS = {
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "security": {
        "auth": {"selectedType": "gemini-api-key", "enforcedType": "gemini-api-key"},
        "folderTrust": {"enabled": False},
    },
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "ide": {"enabled": False, "hasSeenNudge": True},
    "tools": {
        "useRipgrep": False,  # it is not in every bottle, and its absence is told above every answer
        "shell": {"inactivityTimeout": COMMAND_MS // 1000},  # its own: 300 s, the time that a request is held
    },
    "ui": {"hideTips": True},
}
POLICY = b"""[[rule]]
toolName = "web_fetch"
decision = "deny"
priority = 999
"""
"""It looks every host up first, and where there is no DNS takes each for a private one: it could fetch nothing, and
would not tell the model why. A command (curl) can, and shows what carboy refuses."""


class GeminiProvider(Provider):
    """Gemini CLI by API key."""

    name = "gemini"
    title = "Gemini CLI"
    tested_versions = TRIED
    install_hint = INSTALL
    resting = ("◇",)
    asking = ("✋",)
    working = ("✦", "⏲")

    def find(self, environ: dict[str, str]) -> Found:
        return locate(RECIPE, environ)

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        return (GOOGLE.credential(manifest.bottle.agent_provider.auth_token),)

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        self.check(manifest)
        return (GOOGLE.route,)

    def models(self, manifest: Manifest) -> tuple[str, ...]:
        return models.GEMINI

    def model_source(self, manifest: Manifest) -> ModelSource | None:
        return GOOGLE.models

    def prepare(self, context: LaunchContext) -> Prepared:
        folder = f"{context.home}/.gemini"
        env = {
            "GEMINI_EXP": f"{folder}/carboy-flags.json",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "GEMINI_TELEMETRY_ENABLED": "false",
        }
        files = [
            json_file(f"{folder}/settings.json", SETTINGS | {"mcpServers": _mcp_servers(context)}),
            json_file(env["GEMINI_EXP"], _flags()),
            FileIn(f"{folder}/policies/carboy.toml", POLICY, 0o600),
        ]
        if context.manifest.prompt:  # its own instructions stay; this is what it takes for the user's
            files.append(FileIn(f"{folder}/GEMINI.md", context.manifest.prompt.encode(), 0o600))
        env |= placeholder_env(context, self.credentials(context.manifest))
        return Prepared(command(context, RECIPE.program, _arguments(context)), tuple(files), env)

    def skills_folder(self, home: str) -> str | None:
        return f"{home}/.gemini/skills"

    def conversations(self, home: Path) -> Reader:
        return LineReader(home, GeminiFormat())


RECIPE = Recipe(
    program="gemini",
    package="@google/gemini-cli",
    title=GeminiProvider.title,
    install_hint=INSTALL,
    tried=TRIED,
    tested=((0, 61), (1,)),
    node=(20,),
)


def _arguments(context: LaunchContext) -> tuple[str, ...]:
    """The task is one word with its option, so that it may begin with a dash."""
    argv = ["--yolo", "--skip-trust"]
    wanted = model(context)
    if wanted:
        argv += ["--model", wanted]
    if context.resume:
        argv += ["--resume", "latest" if context.resume == LAST else context.resume]
    argv += startup_args(context)
    if context.task:
        option = "--prompt" if context.headless else "--prompt-interactive"
        argv.append(f"{option}={bounded(context.task, 'the task')}")
    return tuple(argv)


def _mcp_servers(context: LaunchContext) -> dict[str, object]:
    url = mcp.address(context)
    return {mcp.NAME: {"httpUrl": url, "timeout": mcp.TIMEOUT_MS, "trust": True}} if url else {}


def _flags() -> dict[str, object]:
    flag = {"flagId": REQUEST_TIMEOUT_FLAG, "intValue": str(PATIENCE_MS // 1000)}
    return {"flags": [flag], "experimentIds": []}
