"""Removing what sessions leave on disk and in the process table. Follows no symlink, touches nothing live.

What is preserved is decided by the caller; nothing here looks at a session's state.
"""

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from app.backends import restore, workspace
from app.backends.workspace import MAX_DEPTH
from app.controller import egress_log
from app.controller.record import FILE

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SESSION_ID = re.compile(r"[0-9a-f]{12}")


def remove_tree(path: Path) -> None:
    """Remove a folder that may hold an agent's files: symlinks are not followed, locked folders are opened first, and
    however deep it is, only some descriptors are held. Idempotent."""
    if path.is_symlink():
        raise OSError(f"{path} is a symbolic link")
    with contextlib.suppress(FileNotFoundError):
        fd = _opened(path, None)
        try:
            _Emptying(fd).run()
        finally:
            os.close(fd)
        path.rmdir()


class _Emptying:
    """One folder. What lies too deep is moved up into it, and comes last."""

    def __init__(self, top: int) -> None:
        self._top = top

    def run(self) -> None:
        while names := os.listdir(self._top):
            for name in names:
                self._remove(self._top, name, 0)

    def _remove(self, parent: int, name: str, depth: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
                return
            fd = _opened(name, parent)
            try:
                if depth > MAX_DEPTH:
                    os.rename(name, f".carboy-{secrets.token_hex(8)}", src_dir_fd=parent, dst_dir_fd=self._top)
                    return
                for inner in os.listdir(fd):
                    self._remove(fd, inner, depth + 1)
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=parent)


def _opened(name: Path | str, parent: int | None) -> int:
    """A folder that can be listed and emptied from here on, where it is ours. Nobody of its bottle lives any more."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _FOLDER, dir_fd=parent)
    if os.fstat(fd).st_mode & 0o700 != 0o700:
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o700)
    return fd


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


def strip(folder: Path, *, but: str = "") -> None:
    """Reduce a session that ended well to its record; `but` is kept besides."""
    for entry in os.scandir(folder):
        if (
            entry.name in KEPT
            or entry.name == but
            or (entry.name.startswith(FORMER) and entry.is_file(follow_symlinks=False))
        ):
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
