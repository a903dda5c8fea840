"""Old tips that a forced push or a deletion takes from upstream: kept for 30 days in a repository beside the mirrors.

It outlives the bottle. `refs/backup/<day>/<time>/<repository>/heads/<branch>`, the time to the microsecond: pushes may
follow each other fast. `git fetch <folder> <ref>` brings one back.
"""

from datetime import UTC, datetime

from sidecar.gitgate import limits
from sidecar.gitgate.mirror import Mirror
from sidecar.gitgate.pktline import Command


async def keep(mirror: Mirror, commands: list[Command]) -> None:
    """Keep what `commands` are about to take away. Raises GitFailed: then nothing is taken."""
    if not commands:
        return
    path = mirror.git.folder / limits.BACKUP_FOLDER
    if not (path / "HEAD").exists():
        await mirror.git.run("init", "-q", "--bare", "--template=", str(path), cwd=mirror.git.folder)
    stamp = datetime.now(UTC).strftime("%Y-%m-%d/%H%M%S.%f")
    refspecs = [f"{each.old}:refs/backup/{stamp}/{mirror.name}/{each.ref.removeprefix('refs/')}" for each in commands]
    await mirror.git.run(
        "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", str(mirror.path), *refspecs,
        cwd=path, env={"GIT_ALLOW_PROTOCOL": "file"},
    )  # fmt: skip


async def last(mirror: Mirror, ref: str) -> str:
    """What `ref` had when it was last taken away from here; nothing where it never was. Raises GitFailed."""
    path = mirror.git.folder / limits.BACKUP_FOLDER
    if not (path / "HEAD").exists():
        return ""
    pattern = f"refs/backup/*/*/{mirror.name}/{ref.removeprefix('refs/')}"
    found = await mirror.git.run(
        "for-each-ref", "--sort=-refname", "--count=1", "--format=%(objectname)", pattern, cwd=path
    )
    return found.decode().strip()
