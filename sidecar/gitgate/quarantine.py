"""A push's objects before anything is decided about them: in a folder of their own, which knows the mirror's.

git reads the pack there with every check it has. Leaving removes the folder with all that was not taken in.
"""

import asyncio
import os
import secrets
import shutil
from pathlib import Path

from sidecar.gitgate.git import Git
from sidecar.gitgate.mirror import Mirror

_FSCK = "missingSpaceBeforeDate=ignore,zeroPaddedFilemode=ignore,badTimezone=ignore,nullSha1=warn"
"""Faults that old, honest histories have; the large forges let them pass as well."""


class Quarantine:
    """`async with Quarantine(mirror) as quarantine`, then `read` the pack."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.objects = mirror.git.folder / f"incoming-{secrets.token_hex(6)}"
        self.env = {
            "GIT_OBJECT_DIRECTORY": str(self.objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(mirror.path / "objects"),
        }

    async def __aenter__(self) -> "Quarantine":
        (self.objects / "pack").mkdir(parents=True, mode=0o700)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(shutil.rmtree, self.objects, ignore_errors=True)

    @property
    def git(self) -> Git:
        return self.mirror.git

    async def run(self, *args: str, stdin: bytes | None = None, limit: int = 64 * 1024 * 1024) -> bytes:
        """git with the push's objects in sight."""
        return await self.git.run(*args, cwd=self.mirror.path, env=self.env, stdin=stdin, limit=limit)

    async def read(self, fd: int, start: int, largest: int) -> None:
        """Index the pack that begins at `start` of the file `fd`. Raises GitFailed."""
        os.lseek(fd, start, os.SEEK_SET)
        await self.git.run(
            "index-pack", "--stdin", "--fix-thin", f"--strict={_FSCK}", f"--max-input-size={largest}", "--threads=1",
            cwd=self.mirror.path, env=self.env, stdin=fd,
        )  # fmt: skip


def sweep(folder: Path) -> None:
    """Remove what pushes left that were killed with their sidecar."""
    for left in folder.glob("incoming-*"):
        shutil.rmtree(left, ignore_errors=True)
