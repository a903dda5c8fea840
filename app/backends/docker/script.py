"""The gate: what a container runs first. It waits until the walls were tried, then turns into the agent. Pure texts,
and the folder that they lie in, which the container sees read-only."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from app.backends.base import Command
from app.backends.local.layout import DEFAULT_MEMORY
from app.core.schema import Limits
from app.files import atomic_write

INSIDE = "/run/carboy"
FOLDER = "box"
"""Its name in the session's runtime folder."""
DEFAULT_PIDS = 1024  # hardening.md, Limits
GATE, START, GO = "gate", "start", "go"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GATE = f"""#!/bin/sh
umask 022
read -r word <{INSIDE}/{GO} && [ "$word" = go ] || exit 125
. {INSIDE}/{START}
"""


WAIT = f"umask 022; until [ -e {INSIDE}/{START} ]; do sleep 0.05; done; . {INSIDE}/{START}"
"""The gate of a container that cannot be entered: the agent's own, in a folder that is root's."""
TAKE = f"umask 022; mkdir -p {INSIDE} && cat >{INSIDE}/new && mv {INSIDE}/new {INSIDE}/{START}"
"""What opens it, as the container's root, with the start script as its input."""


def prepare(run: Path) -> Path:
    """Make the folder with the gate in it. Idempotent."""
    folder = run / FOLDER
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    atomic_write(folder / GATE, _GATE.encode(), 0o755)
    if not (folder / GO).exists():
        os.mkfifo(folder / GO, 0o600)
        os.chmod(folder / GO, 0o644)
    return folder


def write_start(folder: Path, command: Command, env: Mapping[str, str], bounded: str = "") -> None:
    atomic_write(folder / START, start_text(command, env, bounded).encode(), 0o644)


def bounds(limits: Limits) -> str:
    """Shell words that bound what follows where the engine cannot: each process, and the account in its namespace."""
    memory, pids = (limits.memory or DEFAULT_MEMORY) // 1024, limits.pids or DEFAULT_PIDS
    return f"ulimit -c 0; ulimit -d {memory}; ulimit -u {pids} 2>/dev/null || ulimit -p {pids}"  # bash; dash, busybox


def start_text(command: Command, env: Mapping[str, str], bounded: str = "") -> str:
    """The image's own PATH comes first: it knows where its programs are."""
    merged = {**env, **command.env}
    lines = [f"{{ {bounded}; }} || exit 126"] if bounded else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in merged.items() if usable(name)]
    if "PATH" in merged:
        lines.append(f'export PATH="${{PATH:+$PATH:}}"{shlex.quote(merged["PATH"])}')
    lines.append(f"cd {shlex.quote(command.cwd)} || exit 126")
    lines.append("exec " + " ".join(shlex.quote(word) for word in command.argv))
    return "\n".join(lines) + "\n"


def usable(name: str) -> bool:
    """Whether a shell can export a variable of this name; PATH is joined, not replaced."""
    return name != "PATH" and _NAME.fullmatch(name) is not None


def open_gate(folder: Path) -> bool:
    """Let the agent start. False where nobody waits at the gate (yet)."""
    try:
        fd = os.open(folder / GO, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # ENXIO: no reader
        return False
    try:
        os.write(fd, b"go\n")
    finally:
        os.close(fd)
    return True
