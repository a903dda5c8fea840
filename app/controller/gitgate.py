"""The host side of the git gate: what a sidecar is told about its repositories, and what stays when a bottle is over.

Keys are read when a sidecar is configured, into memory; they are in no record. Backups of forced pushes outlive the
bottle for 30 days.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from app.core.repositories import Repository, repositories
from app.core.schema import Manifest
from app.errors import CarboyError
from app.files import read_bounded
from app.paths import Paths, private_folder
from sidecar.contract import GitGateConfig, GitRepo
from sidecar.gitgate.agent import BadKey, load
from sidecar.gitgate.limits import BACKUP_DAYS, BACKUP_FOLDER
from sidecar.secret import Secret

FOLDER = "git"
BACKUPS = "git-backups"
MAX_KEY = 64 * 1024


def config_of(
    manifest: Manifest, folder: Path, secrets: Mapping[str, Secret], made: Callable[[str], Secret | None]
) -> GitGateConfig | None:
    """What the sidecar is told; None for a bottle without repositories. `made` gives the deploy keys. Blocks.

    A key that is gone since the launch leaves its repository without one: the gate says so to who uses it.
    """
    found, _ = repositories(manifest)
    if not found:
        return None
    private_folder(folder)
    repos = tuple(
        GitRepo(
            name=each.name,
            url=each.upstream.url,
            host_key=each.entry.host_key or "",
            token_ref="" if each.deploys or each.upstream.scheme == "ssh" else each.token_ref,
            ssh_key=_key(each, secrets, made),
            review=each.entry.review,
            force_push=each.entry.force_push,
            allow_private=each.entry.allow_private,
        )
        for each in found
    )
    return GitGateConfig(folder=str(folder), repos=repos)


def _key(repo: Repository, secrets: Mapping[str, Secret], made: Callable[[str], Secret | None]) -> Secret:
    if repo.upstream.scheme != "ssh":
        return Secret("")
    if repo.deploys:
        return made(repo.name) or Secret("")
    if repo.entry.key.path:
        try:
            return key_file(repo)
        except CarboyError:
            return Secret("")
    found = secrets.get(repo.token_ref)
    return found if found is not None and usable(found) is None else Secret("")


def key_file(repo: Repository) -> Secret:
    """The private key that `key.path` names. Raises CarboyError."""
    path = Path(os.path.expanduser(repo.entry.key.path or ""))
    where = f"git-gate.repos.{repo.name}.key.path"
    if not path.is_absolute():
        raise CarboyError(f"{where}: {path} is not an absolute path", "Write the whole path, or ~/.ssh/KEY", "git_key")
    try:
        text = read_bounded(path, MAX_KEY).decode("ascii", "replace")
    except OSError as error:
        raise CarboyError(f"{where}: {path} cannot be read: {error.strerror or error}", "", "git_key") from None
    key = Secret(text)
    if (why := usable(key)) is not None:
        raise CarboyError(f"{where}: {path}: {why}", "Make one with ssh-keygen -t ed25519 -N ''", "git_key")
    return key


def usable(key: Secret) -> str | None:
    """What is wrong with a private key, if anything."""
    try:
        load(key)
    except BadKey as error:
        return str(error)
    return None


def key_problems(repos: tuple[Repository, ...]) -> list[CarboyError]:
    """Key files that cannot be used, before anything is made. Blocks."""
    problems: list[CarboyError] = []
    for repo in repos:
        if repo.upstream.scheme == "ssh" and not repo.deploys and repo.entry.key.path:
            try:
                key_file(repo)
            except CarboyError as error:
                problems.append(error)
    return problems


async def retire(paths: Paths, state_folder: Path, name: str) -> None:
    """The mirrors of a bottle that is over are removed; backups of what it pushed away stay."""
    await asyncio.to_thread(_retire, paths, state_folder, name)


def _retire(paths: Paths, state_folder: Path, name: str) -> None:
    folder = state_folder / FOLDER
    backups = folder / BACKUP_FOLDER
    if (backups / "HEAD").exists():
        target = private_folder(paths.state / BACKUPS) / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{name}.git"
        if not target.exists():
            backups.rename(target)
    shutil.rmtree(folder, ignore_errors=True)


def expired(paths: Paths, now: float) -> list[Path]:
    """Backups whose time is over."""
    last = time.strftime("%Y-%m-%d", time.gmtime(now - BACKUP_DAYS * 86400))
    try:
        entries = [
            Path(entry.path) for entry in os.scandir(paths.state / BACKUPS) if entry.is_dir(follow_symlinks=False)
        ]
    except FileNotFoundError:
        return []
    return sorted(path for path in entries if path.name[:10] < last)
