"""What a bottle changed in its workspace, as the controller tells its clients; and as a tree to draw. Pure."""

from collections.abc import Iterable
from typing import Literal

from app.core.model import Snapshot, Workspace

type Kind = Literal["added", "changed", "removed", "link", "other"]
NOTHING: dict[Workspace, str] = {
    "read-only": "It sees the project read-only: it can change nothing there, and there is nothing to pull.",
    "none": "It has no project (`workspace: none`): there is nothing to compare, or to pull.",
}
"""What is said of the modes in which nothing can change."""
MARKS: dict[str, str] = {"added": "A", "changed": "M", "removed": "D", "link": "L", "other": "?"}


class Changed(Snapshot):
    """`link` and `other` (sockets, devices, what cannot be read or named) are shown and never brought back."""

    path: str
    kind: Kind
    size: int = 0


class Changes(Snapshot):
    """`copy`: the bottle's copy against the project, to be pulled. `mount`: the project against how it was before the
    launch, to be put back. In the other modes it could change nothing, and there are no changes."""

    workspace: Workspace
    changes: tuple[Changed, ...] = ()
    left_out: tuple[str, ...] = ()
    """Folders that were not compared, beside those that never are."""


class Brought(Snapshot):
    """What was done to the project; `left`: what was not, each with why."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Row(Snapshot):
    """A line of the tree: a folder, or one change. `path` is the whole path of either."""

    path: str
    depth: int
    change: Changed | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def tree(changes: Iterable[Changed]) -> list[Row]:
    """Folders and files in the order in which a tree shows them; a folder with nothing but one folder stays a line."""
    rows: list[Row] = []
    open_folders: list[str] = []
    for change in sorted(changes, key=lambda one: one.path.split("/")):
        folders = change.path.split("/")[:-1]
        same = 0
        while same < min(len(folders), len(open_folders)) and folders[same] == open_folders[same]:
            same += 1
        for depth in range(same, len(folders)):
            rows.append(Row(path="/".join(folders[: depth + 1]), depth=depth))
        open_folders = folders
        rows.append(Row(path=change.path, depth=len(folders), change=change))
    return rows
