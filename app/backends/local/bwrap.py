"""The bubblewrap engine: the system's own small sandbox program makes the namespaces and mounts. Only builds its
command line and turns into it; nothing of the agent's is ever its child."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

from app.backends.local import seccomp
from app.backends.local.engine import KEEPER, Pipes
from app.backends.local.identity import AGENT_UID, Account
from app.backends.local.layout import Layout
from app.errors import CarboyError

_NAMESPACES = (
    "--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
    "--unshare-cgroup", "--die-with-parent", "--as-pid-1",
)  # fmt: skip
_INSTALL = "Install it: apt-get install bubblewrap (or dnf, pacman, zypper)"


def find() -> str:
    """The program, from the system's own folders only: one in a project or a home folder could be anybody's."""
    found = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise CarboyError("bubblewrap is not installed", _INSTALL, "no_bwrap")
    return found


class Bubblewrap:
    """See `app.backends.local.engine.Engine`."""

    name = "bubblewrap"

    def become(self, layout: Layout, account: Account, pipes: Pipes) -> NoReturn:
        del account
        filter_fd = _sealed(seccomp.program())
        argv = arguments(layout, info_fd=pipes.info, filter_fd=filter_fd)
        for fd, standard in ((pipes.alive, 0), (pipes.ready, 1), (pipes.trouble, 2)):
            os.dup2(fd, standard)
        for fd in (pipes.info, filter_fd):
            os.set_inheritable(fd, True)
        os.execve(find(), ["bwrap", *argv], {"PATH": "/usr/bin:/bin"})  # noqa: S606


def arguments(layout: Layout, *, info_fd: int, filter_fd: int) -> list[str]:
    """bubblewrap's arguments for `layout`; pure. The keeper's environment is empty but for a path."""
    words = [*_NAMESPACES, "--uid", str(AGENT_UID), "--gid", str(AGENT_UID), "--hostname", layout.hostname]
    words += ["--cap-drop", "ALL", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for folder in layout.tmpfs:
        words += ["--perms", f"{folder.mode:o}", "--size", str(folder.size), "--tmpfs", folder.target]
    for link in layout.links:
        words += ["--symlink", link.to, link.target]
    for bind in layout.binds:
        words += ["--bind" if bind.writable else "--ro-bind", bind.source, bind.target]
    words += ["--info-fd", str(info_fd), "--seccomp", str(filter_fd), "--chdir", "/", "--", *KEEPER]
    return words


def _sealed(data: bytes) -> int:
    fd = os.memfd_create("filter")
    with Path(f"/proc/self/fd/{fd}").open("wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
