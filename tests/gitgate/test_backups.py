"""Old tips that are taken from upstream, as they are kept: with a real git, without a gate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.gitgate import backups, limits
from sidecar.gitgate.mirror import Mirror
from sidecar.gitgate.pktline import ZERO, Command
from tests.gitgate import kit


@dataclass
class Plain:
    """git by itself, called as the gate's."""

    folder: Path

    async def run(self, *args: str, cwd: Path, env: dict[str, str] | None = None) -> bytes:
        return cast(str, kit.git(*args, cwd=cwd, env=env).stdout).encode()


@dataclass
class Mirrored:
    name: str
    path: Path
    git: Plain


@pytest.mark.parametrize("name", ["app", "backups"])
async def test_what_is_taken_twice_at_once_is_kept_twice(tmp_path: Path, name: str) -> None:
    """Two forced pushes of one branch within a second, and a branch that takes the place of a folder of them."""
    upstream = kit.bare(tmp_path / f"{name}.git")
    first = kit.tips(upstream)["refs/heads/main"]
    tree = f"{first}^{{tree}}"
    later = [kit.git("commit-tree", "-m", text, tree, cwd=upstream).stdout.strip() for text in ("a", "b", "c")]
    mirror: Any = Mirrored(name, upstream, Plain(tmp_path))
    for tip in (first, *later):
        await backups.keep(cast(Mirror, mirror), [Command(tip, first, "refs/heads/main")])
    await backups.keep(cast(Mirror, mirror), [Command(first, ZERO, "refs/heads/main/next")])
    kept = kit.tips(tmp_path / limits.BACKUP_FOLDER)
    assert [kept[name] for name in sorted(kept)] == [first, *later, first]
    assert await backups.last(cast(Mirror, mirror), "refs/heads/main") == later[-1]
