"""What every provider's `prepare` does alike: its arguments checked, its command made, its configuration as files.

Pure. It must never see a secret: what it is given are placeholders.
"""

import json
from collections.abc import Iterable

from app.backends.base import Command, FileIn
from app.errors import CarboyError
from app.providers.base import Credential, LaunchContext

MAX_ARGUMENT = 128 * 1024 - 1
"""Longest single argument in bytes that Linux takes (MAX_ARG_STRLEN, include/uapi/linux/binfmts.h)."""
PATIENCE_MS = 15 * 60 * 1000
"""How long an agent waits for an answer: longer than a request may be held for the operator (300 s by default)."""
COMMAND_MS = 6 * 60 * 1000
"""How long a command that its model runs may be silent, where the agent would end it earlier: as long as one of its
requests is held by default, and the answer's way. No longer, since a command that hangs costs the agent that time."""


def bounded(text: str, what: str) -> str:
    """`text`, unless it is longer than one argument may be."""
    if len(text.encode()) > MAX_ARGUMENT:
        raise CarboyError(
            f"{what} is longer than {MAX_ARGUMENT} bytes", "Put the details into a file and name it", "task_too_long"
        )
    return text


def command(context: LaunchContext, program: str, argv: Iterable[str]) -> Command:
    """The CLI with these arguments; or what the operator wrote, where `program` means the CLI wherever it lies."""
    arguments = (*context.found.argv, *argv)
    if context.command:
        first, *rest = context.command
        arguments = (*context.found.argv, *rest) if first == program else context.command
    return Command(
        argv=arguments,
        cwd=context.project or context.home,
        rows=context.rows,
        cols=context.cols,
        tty=not context.headless,
    )


def model(context: LaunchContext) -> str | None:
    """The launch's choice, else the bottle's."""
    return context.model or context.manifest.bottle.agent_provider.settings.model


def startup_args(context: LaunchContext) -> tuple[str, ...]:
    return context.manifest.bottle.agent_provider.settings.startup_args


def placeholder_env(context: LaunchContext, credentials: Iterable[Credential]) -> dict[str, str]:
    """The variables that hold the placeholders of the credentials which were picked."""
    return {
        credential.env: context.placeholders[credential.token_ref]
        for credential in credentials
        if credential.token_ref in context.placeholders
    }


def json_file(target: str, value: object) -> FileIn:
    return FileIn(target, json.dumps(value, indent=2).encode(), 0o600)
