"""What about the project's own folder keeps an agent from its work, told before the launch: it cannot be written, or
its git repository is not in it."""

import os
import re
from pathlib import Path

from app.backends.gitprograms import top_of
from app.core.text import printable
from app.errors import CarboyError

_GITLINK = re.compile(r"gitdir: ([^\n]+)\n*")
_MOST = 4096


def unwritable(project: Path) -> CarboyError | None:
    """Where nothing can be written in a folder that is to be mounted for writing, the masks cannot be laid either."""
    if os.access(project, os.W_OK | os.X_OK):
        return None
    text = f"Nothing can be written into the project {printable(str(project), 400)}"
    hint = "Change its owner or mode, or use a copy (--workspace copy), or only read it (--workspace read-only)"
    return CarboyError(text, hint, "project_read_only")


def git_outside(project: Path) -> str | None:
    """A warning where git does not work in the bottle: the repository of a worktree, of a submodule or of a folder
    below it lies elsewhere, and only the project is in the bottle."""
    top = top_of(project)
    if top is None:
        return None
    if top != project:
        return _told(f"the project is a folder of the repository {_shown(top)}", f"Start in {_shown(top)}")
    repository = _linked(top / ".git")
    if repository is None or repository.is_relative_to(os.path.realpath(project)):
        return None
    hint = "Start in a clone of its own, which `git clone` makes of this folder"
    return _told(f"it is a worktree or a submodule, and its repository is {_shown(repository)}", hint)


def _told(why: str, hint: str) -> str:
    return f"Git does not work in this bottle: {why}, which is not in it. {hint}"


def _shown(path: Path) -> str:
    return printable(str(path), 400)


def _linked(file: Path) -> Path | None:
    """Where a `.git` that is a file says the repository is."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        said = _GITLINK.fullmatch(os.fsdecode(os.read(fd, _MOST)))
    except OSError:  # a folder: the usual one
        return None
    finally:
        os.close(fd)
    return None if said is None else Path(os.path.realpath(file.parent / said[1]))
