"""Where a bottle's changes are to be seen: its copy of the project beside the project, or the project beside its
restore point. Compares nothing itself."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.backends import changes, gitprograms, masks, restore, workspace
from app.controller.record import SessionRecord
from app.core.changed import Changed
from app.core.schema import Mask
from app.errors import CarboyError


@dataclass(frozen=True)
class Trees:
    """`before` and `after` are compared. `point`: the restore point, where the bottle works in the project itself."""

    project: Path
    before: Path
    after: Path
    masks: tuple[Mask, ...]
    point: restore.Point | None = None

    def own(self, found: list[Changed]) -> tuple[Changed, ...]:
        """Without what a mask covers, where the project itself was compared: the bottle cannot have changed that."""
        if self.point is None:
            return tuple(found)
        return tuple(change for change in found if not changes.covered(change.path, self.masks))

    @property
    def skip(self) -> changes.Skip:
        return (lambda _: False) if self.point is None else partial(restore.skips, self.point)


def trees_of(record: SessionRecord, state: Path) -> Trees:
    """Of one session. Blocks; raises CarboyError where what it changed cannot be told."""
    slug = record.view.slug
    mode = record.view.workspace
    if record.project is None or mode not in ("copy", "mount"):
        what = "has no project" if record.project is None else "sees the project read-only: it changed nothing there"
        raise CarboyError(f"{slug} {what}", "`workspace: copy` or `mount` let it change files", "workspace")
    project = Path(record.project)
    covered = masks.complete(record.manifest.bottle.masks, gitprograms.named(project, launch=False))
    if mode == "copy":
        if not (state / workspace.FOLDER).is_dir():
            raise CarboyError(f"The copy of the project that {slug} had is gone", "", "workspace")
        return Trees(project, project, state / workspace.FOLDER, covered)
    point = restore.load(state)
    if point is None:
        raise CarboyError(
            f"{slug} has no restore point: what it changed cannot be told",
            "It works in the project itself: `git diff` there; `workspace: copy` keeps its changes apart", "workspace",
        )  # fmt: skip
    return Trees(project, state / restore.FOLDER, project, covered, point)
