"""Where carboy looks for the programs that it runs on this host: not where a bottle may have put them.

A project's activated virtual environment, or its `node_modules/.bin`, is on the PATH of many shells, and who works in
the project in a bottle can write a `git` into it.
"""

import os
from pathlib import Path


def without(path: str, project: Path) -> str:
    """PATH without what is relative, in the `project`, or of a virtual environment wherever it is. Never empty: that
    would be the working folder."""
    real = Path(os.path.realpath(project))
    # where the project is the home folder, or holds it, every program of the user's would be in it
    roots = () if Path.home().is_relative_to(real) else (project, real)

    def foreign(folder: Path) -> bool:
        return (folder.parent / "pyvenv.cfg").exists() or any(folder.is_relative_to(root) for root in roots)

    def kept(entry: str) -> bool:
        folder = Path(os.path.normpath(entry))
        return folder.is_absolute() and not (foreign(folder) or foreign(Path(os.path.realpath(folder))))

    return os.pathsep.join(filter(kept, path.split(os.pathsep))) or os.defpath


def leave_out(project: Path) -> None:
    """The same for this process and what it starts, for good: another project's bottle stays as hostile."""
    os.environ["PATH"] = without(os.environ.get("PATH", os.defpath), project)


def here() -> Path:
    """The working folder, or the root where it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")
