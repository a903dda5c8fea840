"""As root: everything a bottle will see, brought to where an unprivileged account can reach it, in a mount namespace
of this process. Files keep their owner on disk: an idmapped mount shows the owner's files as the account's own.

Runs in a forked child only: it changes the process's namespaces for good.
"""

import os
import signal
from pathlib import Path

from app.backends.local import mounts
from app.backends.local.identity import Account
from app.backends.local.layout import Bind, Layout
from app.errors import CarboyError

_PLACE = "/tmp"  # noqa: S108 - covered by an own tmpfs, in an own mount namespace; both engines need it to exist


def stage(layout: Layout, account: Account) -> Layout:
    """Prepare `layout` for `account` and return it with the prepared sources. Raises CarboyError or OSError."""
    mounts.unshare(mounts.NEW_NS)
    mounts.mount(None, "/", None, mounts.RECURSIVE | mounts.PRIVATE)
    namespaces: dict[tuple[int, int], int] = {}
    # all sources are taken before the staging place hides anything that lies below it
    trees = {bind.source: take(bind, account, namespaces) for bind in layout.binds}
    mounts.mount("stage", _PLACE, "tmpfs", mounts.NOSUID | mounts.NODEV, "mode=755,size=1m")
    staged: dict[str, str] = {}
    for index, (source, (tree, folder)) in enumerate(trees.items()):
        target = f"{_PLACE}/{index}"
        if folder:
            os.mkdir(target, 0o755)
        else:
            Path(target).touch()
        mounts.attach(tree, target)
        os.close(tree)
        staged[source] = target
    for namespace in namespaces.values():
        os.close(namespace)
    return layout.staged(staged)


def take(bind: Bind, account: Account, namespaces: dict[tuple[int, int], int]) -> tuple[int, bool]:
    """A detached mount of the source, and whether it is a folder. `namespaces` keeps the maps made so far, by owner."""
    source = os.path.realpath(bind.source)
    # an idmapped mount shows no other file system that is mounted below it: those need not support it
    tree = mounts.clone_tree(source, recursive=not bind.mapped)
    if bind.mapped:
        info = os.stat(source)
        owner = (info.st_uid, info.st_gid)
        if owner not in namespaces:
            namespaces[owner] = _mapping(*owner, account)
        try:
            mounts.set_attributes(tree, mounts.ATTR_IDMAP, userns=namespaces[owner])
        except OSError as error:
            raise CarboyError(
                f"{bind.source} lies on a file system whose owners cannot be mapped ({error.strerror})",
                "Use `workspace: copy`, or start carboy as an ordinary user",
                "no_idmap",
            ) from None
    return tree, os.path.isdir(source)


def _mapping(uid: int, gid: int, account: Account) -> int:
    """A user namespace that shows `uid`/`gid` on disk as the account; only its map matters, nothing runs in it."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mounts.unshare(mounts.NEW_USER)
            os.write(told, b"1")
            signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    try:
        os.read(ready, 1)
        Path(f"/proc/{child}/uid_map").write_text(f"{uid} {account.uid} 1")
        Path(f"/proc/{child}/gid_map").write_text(f"{gid} {account.gid} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
