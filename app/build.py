"""Which code this is. A controller lives for days beyond an update of carboy: its clients compare, and say so."""

import re
from functools import cache
from pathlib import Path

from app import __version__

HEADER = "Carboy-Build"
"""In each answer of the controller: its build."""

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@cache
def build() -> str:
    """The version, and where carboy runs from a working tree the commit as well. It is what a process began with."""
    commit = _commit(Path(__file__).resolve().parents[1])
    return f"{__version__} ({commit[:12]})" if commit else __version__


def other(theirs: str) -> str:
    """What to say to the user of a controller that is of another build; it tells none where it is older than this."""
    told = f"{theirs}, this is {build()}" if theirs else "an older one"
    return (
        f"The controller that runs is of another build of carboy ({told}): what changed since is not in force. "
        "`carboy serve --restart` replaces it; bottles run on"
    )


def _commit(root: Path) -> str:
    """The commit a working tree stands at, read without git; "" where there is none (gitrepository-layout(5))."""
    try:
        folder = root / ".git"
        if folder.is_file():  # a second working tree: a line that says where its part is
            folder = root / folder.read_text().removeprefix("gitdir: ").strip()
        shared = folder / "commondir"
        common = folder / shared.read_text().strip() if shared.is_file() else folder
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return _checked(head)
        name = head.removeprefix("ref: ")
        if (common / name).is_file():
            return _checked((common / name).read_text().strip())
        packed = (common / "packed-refs").read_text().splitlines()
        return next((_checked(line.split()[0]) for line in packed if line.endswith(f" {name}")), "")
    except (OSError, UnicodeDecodeError):
        return ""


def _checked(text: str) -> str:
    return text if _COMMIT.fullmatch(text) else ""
