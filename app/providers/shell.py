"""The `shell` provider: any command in a bottle, without a credential or a route of its own. Pure but for `find`."""

import os
from pathlib import Path

from app.backends.base import Command
from app.core.schema import Manifest
from app.errors import CarboyError
from app.providers.base import Credential, Found, LaunchContext, Prepared, Provider
from sidecar.contract import Route

VISIBLE = ("/usr/", "/bin/", "/sbin/")
"""Host folders that every local bottle sees (backends.md: /usr and the merged-/usr links)."""
FALLBACK = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


class ShellProvider(Provider):
    """The user's own shell where the bottle can see it, else bash, else sh; or the command after `--`."""

    name = "shell"
    title = "Any command"
    install_hint = "Install bash with the system's package manager"

    def find(self, environ: dict[str, str]) -> Found:
        for candidate in (environ.get("SHELL", ""), *FALLBACK):
            if candidate.startswith(VISIBLE) and _runs(candidate):
                return Found(program=candidate, version="", host_path=candidate)
        raise CarboyError("no shell was found below /usr/bin or /bin", self.install_hint, "provider_missing")

    def credentials(self, manifest: Manifest) -> tuple[Credential, ...]:
        self.check(manifest)
        return ()

    def routes(self, manifest: Manifest) -> tuple[Route, ...]:
        return ()

    def prepare(self, context: LaunchContext) -> Prepared:
        command = Command(
            argv=_argv(context),
            cwd=context.project or context.home,
            rows=context.rows,
            cols=context.cols,
            tty=not context.headless,
        )
        return Prepared(command, env={"SHELL": "/bin/sh" if context.command else context.found.program})


def _argv(context: LaunchContext) -> tuple[str, ...]:
    """What was written after `--`; else the task, as a command line; else the shell itself."""
    if context.command:
        return context.command
    arguments = context.manifest.bottle.agent_provider.settings.startup_args
    if context.task:
        return (*context.found.argv, *arguments, "-c", context.task)
    return (*context.found.argv, *arguments)


def _runs(path: str) -> bool:
    """Whether the file can be run, and really lies where a bottle sees it."""
    real = os.path.realpath(path)
    return real.startswith(VISIBLE) and Path(real).is_file() and os.access(real, os.X_OK)
