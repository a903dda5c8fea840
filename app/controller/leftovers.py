"""Removing what sessions leave on disk and in the process table. Follows no symlink, touches nothing live.

What is preserved is decided by the caller; nothing here looks at a session's state.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from app.backends import restore, workspace
from app.controller import egress_log
from app.controller.record import FILE

_SESSION_ID = re.compile(r"[0-9a-f]{12}")


def remove_tree(path: Path) -> None:
    """Remove a folder that may hold an agent's files: symlinks are not followed, locked folders are opened first."""

    def unlock(function: Callable[..., object], name: str, error: BaseException) -> None:
        del function
        if isinstance(error, FileNotFoundError):
            return
        parent = Path(name).parent
        for folder in (parent, Path(name)):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        if Path(name).is_dir() and not Path(name).is_symlink():
            shutil.rmtree(name)
        else:
            Path(name).unlink(missing_ok=True)

    if path.is_symlink():
        raise OSError(f"{path} is a symbolic link")
    shutil.rmtree(path, onexc=unlock)


FORMER = ("transcript-", "egress-")
"""How the names of what earlier sessions of a bottle left begin."""
KEPT = frozenset(
    {
        FILE,
        "exit.json",
        "transcript.cast",
        *egress_log.FILES,
        workspace.FOLDER,
        "snapshot",
        restore.FOLDER,
        restore.FILE,
    }
)
"""architecture.md, Life of a launch: the record and the transcript always stay; and the agent's copy of the project,
since its work is nowhere else; with `workspace: mount`, how the project was before."""


def strip(folder: Path) -> None:
    """Reduce a session that ended well to its record."""
    for entry in os.scandir(folder):
        if entry.name in KEPT or (entry.name.startswith(FORMER) and entry.is_file(follow_symlinks=False)):
            continue
        if entry.is_dir(follow_symlinks=False):
            remove_tree(Path(entry.path))
        else:
            Path(entry.path).unlink(missing_ok=True)


def stale_runs(run: Path, live: frozenset[str]) -> list[Path]:
    """Runtime folders of sessions that are over. The controller's own socket and lock are files, and stay."""
    try:
        entries = list(os.scandir(run))
    except FileNotFoundError:
        return []
    return [
        Path(entry.path)
        for entry in entries
        if entry.is_dir(follow_symlinks=False) and entry.name not in live and _SESSION_ID.fullmatch(entry.name)
    ]
