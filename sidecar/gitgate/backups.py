"""Old tips that a forced push or a deletion takes from upstream: kept for 30 days in a repository beside the mirrors.

It outlives the bottle. `refs/backup/<day>/<time>/<branch>`; `git fetch <folder> <ref>` brings one back.
"""

import time
from pathlib import Path

from sidecar.gitgate import limits
from sidecar.gitgate.mirror import Mirror
from sidecar.gitgate.pktline import Command

FOLDER = "backups.git"


async def keep(mirror: Mirror, commands: list[Command]) -> None:
    """Keep what `commands` are about to take away. Raises GitFailed: then nothing is taken."""
    if not commands:
        return
    path = mirror.git.folder / FOLDER
    if not (path / "HEAD").exists():
        await mirror.git.run("init", "-q", "--bare", "--template=", str(path), cwd=mirror.git.folder)
    stamp = time.strftime("%Y-%m-%d/%H%M%S", time.gmtime())
    refspecs = [f"{each.old}:refs/backup/{stamp}/{mirror.name}/{each.ref.removeprefix('refs/')}" for each in commands]
    await mirror.git.run(
        "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", str(mirror.path), *refspecs,
        cwd=path, env={"GIT_ALLOW_PROTOCOL": "file"},
    )  # fmt: skip


async def last(mirror: Mirror, ref: str) -> str:
    """What `ref` had when it was last taken away from here; nothing where it never was. Raises GitFailed."""
    path = mirror.git.folder / FOLDER
    if not (path / "HEAD").exists():
        return ""
    pattern = f"refs/backup/*/*/{mirror.name}/{ref.removeprefix('refs/')}"
    found = await mirror.git.run(
        "for-each-ref", "--sort=-refname", "--count=1", "--format=%(objectname)", pattern, cwd=path
    )
    return found.decode().strip()


def old(names: list[str], now: float) -> list[str]:
    """Backups among the references `names` whose time is over. Pure."""
    last = time.strftime("%Y-%m-%d", time.gmtime(now - limits.BACKUP_DAYS * 86400))
    return [name for name in names if name.startswith("refs/backup/") and name.split("/")[2] < last]


def has_backups(folder: Path) -> bool:
    return (folder / FOLDER / "HEAD").exists()
