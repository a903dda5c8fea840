"""Which folders may be a bottle's project. A folder that holds, or lies in, carboy's own would hand the agent the
keys to its cell; one that holds the operator's home would hand it everything else."""

import os
from pathlib import Path

from app.errors import CarboyError, NotFound, Refused
from app.paths import Paths

_HINT = "Start carboy in the folder of one project, or name it with --cwd"


def check_project(paths: Paths, project: Path) -> Path:
    """The project's real path. Raises NotFound or Refused where it cannot be a project."""
    if "\0" in str(project):
        raise CarboyError("a path cannot contain a NUL character", _HINT, "project_path")
    try:
        real = Path(os.path.realpath(project, strict=True))
    except FileNotFoundError:
        raise NotFound(f"{_plain(project)} does not exist", _HINT, "project_missing") from None
    except OSError as error:
        raise CarboyError(f"{_plain(project)} cannot be used: {error.strerror}", _HINT, "project_path") from None
    if not real.is_dir():
        raise CarboyError(f"{_plain(project)} is not a folder", _HINT, "project_path")
    if not str(real).isprintable():
        hint = "Rename it: line breaks and control characters in a path break the tools that work there"
        raise CarboyError(f"{_plain(real)} has unprintable characters in its path", hint, "project_path")
    if not os.access(real, os.R_OK | os.X_OK):
        raise CarboyError(f"{_plain(project)} cannot be read by you", "Change its permissions", "project_unreadable")
    _refuse_own(paths, real)
    return real


def _refuse_own(paths: Paths, real: Path) -> None:
    for what, folder in (("config", paths.config), ("state", paths.state), ("runtime", paths.run)):
        ours = Path(os.path.realpath(folder))
        if ours.is_relative_to(real) or real.is_relative_to(ours):
            relation = "lies in" if real.is_relative_to(ours) else "contains"
            message = f"{real} cannot be a project: it {relation} carboy's {what} folder {ours}"
            raise Refused(message, _HINT, "project_is_ours")
    home = Path(os.path.realpath(Path.home()))
    if home.is_relative_to(real):
        raise Refused(f"{real} cannot be a project: it contains your home folder", _HINT, "project_is_home")


def _plain(path: Path) -> str:
    return "".join(char if char.isprintable() else "?" for char in os.fsencode(path).decode("utf-8", "replace")[:300])
