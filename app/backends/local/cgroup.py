"""Kernel-held limits for one sandbox where this process may make control groups: version 2, else version 1 as root.

None of it is needed for the walls: without it memory is watched, processes are counted by rlimits.
"""

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from app.core.schema import Limits

_MOUNTED = Path("/sys/fs/cgroup")
_PREFIX = "carboy-"
_V1 = ("memory", "cpu")
_PERIOD = 100_000  # microseconds, the kernel's default for cpu.max
YOUNG_SECONDS = 120.0
"""An empty group this young may be of a sandbox that is being built, by another controller of this host too."""
DEFAULT_MEMORY, DEFAULT_PIDS = 4 * 1024**3, 1024  # hardening.md, limits


@dataclass(frozen=True)
class Cgroup:
    """Folders of one sandbox, by controller (version 2: one folder under `unified`)."""

    folders: dict[str, Path]

    @classmethod
    def make(cls, session_id: str, limits: Limits) -> "Cgroup | None":
        """The group, limited; None where this process may not have one."""
        name = _name(session_id)
        with contextlib.suppress(OSError):
            return cls._unified(name, limits) or cls._separate(name, limits)
        return None

    @classmethod
    def _unified(cls, name: str, limits: Limits) -> "Cgroup | None":
        controllers = _MOUNTED / "cgroup.controllers"
        if not controllers.exists() or not {"memory", "pids"} <= set(controllers.read_text().split()):
            return None
        parent = _MOUNTED if os.geteuid() == 0 else _delegated()
        if parent is None or not {"memory", "pids"} <= set((parent / "cgroup.subtree_control").read_text().split()):
            return None
        folder = parent / name
        group = cls({"unified": folder})
        folder.mkdir()
        group._set("memory.max", str(limits.memory or DEFAULT_MEMORY))
        group._set("memory.oom.group", "1")
        group._set("pids.max", str(limits.pids or DEFAULT_PIDS))
        if limits.cpus is not None:
            group._set("cpu.max", f"{int(limits.cpus * _PERIOD)} {_PERIOD}")
        return group

    @classmethod
    def _separate(cls, name: str, limits: Limits) -> "Cgroup | None":
        if os.geteuid() != 0:
            return None
        folders: dict[str, Path] = {}
        # every group costs a new process some milliseconds to enter; processes are counted by their rlimit anyway
        for controller in _V1 if limits.cpus is not None else _V1[:1]:
            folder = _MOUNTED / controller / name
            with contextlib.suppress(OSError):
                folder.mkdir()
                folders[controller] = folder
        group = cls(folders)
        if "memory" not in folders:
            group.remove()
            return None
        group._set("memory.limit_in_bytes", str(limits.memory or DEFAULT_MEMORY), "memory")
        if limits.cpus is not None:
            group._set("cpu.cfs_quota_us", str(int(limits.cpus * _PERIOD)), "cpu")
        return group

    def enter(self) -> None:
        """Put this process, and all it will start, into the group."""
        for folder in self.folders.values():
            (folder / "cgroup.procs").write_text("0")

    def freeze(self) -> bool:
        """Whether the kernel froze it. Version 1's freezer is not used: what is frozen there cannot be killed."""
        return "unified" in self.folders and self._set("cgroup.freeze", "1")

    def thaw(self) -> bool:
        return "unified" in self.folders and self._set("cgroup.freeze", "0")

    def memory(self) -> int | None:
        """Bytes in use without what the kernel can drop at once (cached files)."""
        unified = "unified" in self.folders
        folder = self.folders["unified" if unified else "memory"]
        try:
            used = int((folder / ("memory.current" if unified else "memory.usage_in_bytes")).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            return None
        fields = dict(line.split(" ", 1) for line in lines if " " in line)
        cached = int(fields.get("inactive_file" if unified else "total_inactive_file", "0"))
        return max(0, used - cached)

    def holds_memory(self, limit: int) -> bool:
        """Whether the kernel really has this limit, as it tells itself."""
        unified = "unified" in self.folders
        folder = self.folders["unified" if unified else "memory"]
        try:
            return int((folder / ("memory.max" if unified else "memory.limit_in_bytes")).read_text()) <= limit
        except (OSError, ValueError):  # `max` is no number
            return False

    def remove(self) -> None:
        """Idempotent. Its processes are dead by now."""
        for folder in self.folders.values():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _set(self, name: str, value: str, controller: str = "unified") -> bool:
        try:
            (self.folders[controller] / name).write_text(value)
        except (OSError, KeyError):
            return False
        return True


def stale(live: frozenset[str]) -> list[Path]:
    """Groups of ours on this host that belong to no live session."""
    parents = {_MOUNTED, *(_MOUNTED / name for name in _V1)}
    delegated = _delegated()
    if delegated is not None:
        parents.add(delegated)
    names = {_name(session) for session in live}
    found = [folder for parent in parents for folder in sorted(parent.glob(_PREFIX + "*")) if folder.name not in names]
    return [folder for folder in found if _age(folder) > YOUNG_SECONDS]


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _name(session_id: str) -> str:
    return _PREFIX + re.sub(r"[^A-Za-z0-9-]", "-", session_id)[:64]


def _delegated() -> Path | None:
    """The group above ours, where systemd gave this user one with room for groups beside us."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            parent = (_MOUNTED / line[3:].lstrip("/")).parent
            return parent if parent != _MOUNTED and os.access(parent / "cgroup.procs", os.W_OK) else None
    return None
