"""The last touches on a sandbox from inside, before anything of the agent runs: small files, masks, the hidden parts
of /proc, the listening socket, the read-only root. Runs in a forked child that has joined with all capabilities over
the sandbox; after it nobody has them any more.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from app.backends.base import FileIn
from app.backends.local import mounts

HIDDEN_PROC = (
    "kcore", "keys", "key-users", "timer_list", "sched_debug", "latency_stats", "kallsyms", "kmsg", "modules",
    "acpi", "asound", "scsi", "sysvipc",
)  # fmt: skip
"""As container engines hide them: they speak of the host's kernel and hardware, or of other users' keys."""
READ_ONLY_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")
BACKLOG = 512
_EMPTY = "/run/.empty"


def finish() -> None:
    """Everything but the masks and the socket. The masks come between `files` and this in `Sandbox`."""
    bound_watches()
    close_proc()
    for path in ("/dev", "/run", "/"):
        mounts.set_attributes(path, mounts.ATTR_RDONLY)


def bound_watches() -> None:
    """The kernel counts inotify for each user, and an ordinary user's bottles are that user: one that took all would
    leave none to the operator's editor. A quarter for each bottle; a kernel without such bounds has none."""
    for kind in ("instances", "watches"):
        with contextlib.suppress(OSError, ValueError):
            most = int(Path(f"/proc/sys/fs/inotify/max_user_{kind}").read_text())
            Path(f"/proc/sys/user/max_inotify_{kind}").write_text(str(most // 4))


def close_proc() -> None:
    for name in HIDDEN_PROC:
        with contextlib.suppress(FileNotFoundError):
            hide(f"/proc/{name}")
    for name in READ_ONLY_PROC:
        with contextlib.suppress(FileNotFoundError):
            close(f"/proc/{name}")


def prepare() -> None:
    """The empty folder and file that hidden things are covered with."""
    os.mkdir(_EMPTY, 0o555)
    Path(f"{_EMPTY}-file").touch(mode=0o444)


def empty_tree(*, folder: bool) -> int:
    tree = mounts.clone_tree(_EMPTY if folder else f"{_EMPTY}-file", recursive=False)
    mounts.set_attributes(tree, mounts.ATTR_RDONLY | mounts.ATTR_NOSUID | mounts.ATTR_NODEV)
    return tree


def hide(path: str) -> None:
    tree = empty_tree(folder=stat.S_ISDIR(os.stat(path).st_mode))
    try:
        mounts.attach(tree, path)
    finally:
        os.close(tree)


def close(path: str) -> None:
    """Make what is there read-only, whoever asks."""
    tree = mounts.clone_tree(path)
    mounts.set_attributes(tree, mounts.ATTR_RDONLY, recursive=True)
    try:
        mounts.attach(tree, path)
    finally:
        os.close(tree)


def write_files(files: tuple[FileIn, ...]) -> None:
    """Place files in the sandbox's own root. Nothing of the agent has run: what lies there is ours."""
    for file in files:
        target = Path(file.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()
        target.write_bytes(file.content)
        target.chmod(file.mode)


def open_parents(targets: Iterable[str]) -> None:
    """Folders that an engine made on the way to a mountpoint are closed to others: open them, as on any system."""
    root = os.stat("/").st_dev
    for parent in {parent for target in targets for parent in Path(target).parents}:
        if os.stat(parent).st_dev == root:
            os.chmod(parent, 0o755)  # noqa: S103 - as on any system


def listen(port: int) -> socket.socket:
    """The bottle's one way out: a socket that listens on its own loopback."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener
