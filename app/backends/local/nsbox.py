"""Our own engine, for hosts without bubblewrap: the same sandbox from system calls alone.

Runs in a forked child that turns into the sandbox. As bubblewrap, it maps its account to root in a first user
namespace that owns all others, and to the agent in a second one in which no further namespaces can be made.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import struct
from pathlib import Path
from typing import NoReturn

from app.backends.local import mounts, seccomp
from app.backends.local.engine import Pipes
from app.backends.local.identity import AGENT_UID, Account
from app.backends.local.layout import Bind, Layout, Tmpfs
from sidecar.kernel import libc
from sidecar.kernel import seccomp as bpf

_ALL = (
    mounts.NEW_USER | mounts.NEW_NS | mounts.NEW_PID | mounts.NEW_NET | mounts.NEW_IPC | mounts.NEW_UTS
    | mounts.NEW_CGROUP
)  # fmt: skip
_ROOT, _OLD = "/newroot", "/oldroot"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_UP_RUNNING = 0x1 | 0x40  # linux/if.h
_SET_FLAGS = 0x8914  # SIOCSIFFLAGS


class Nsbox:
    """See `app.backends.local.engine.Engine`."""

    name = "nsbox"

    def become(self, layout: Layout, account: Account, pipes: Pipes) -> NoReturn:
        libc.set_dumpable(True)  # a process that changed its uid may not write its own id map otherwise
        mounts.unshare(_ALL)
        _map_ids(0, account.uid, account.gid)
        init = os.fork()
        if init:
            # the holder is a subreaper: process 1 becomes its child
            os.write(pipes.info, json.dumps({"child-pid": init}).encode())
            os._exit(0)
        os.setsid()
        _namespaces_inside(layout.hostname)
        _file_system(layout)
        _second_user_namespace()
        _confine(pipes)
        os.execve("/bin/cat", ["cat"], {"PATH": "/usr/bin:/bin"})  # noqa: S606 - KEEPER, without a program to set it up


def _map_ids(inside: int, uid: int, gid: int) -> None:
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {gid} 1")


def _namespaces_inside(hostname: str) -> None:
    socket.sethostname(hostname)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH22x", b"lo", _UP_RUNNING))


def _file_system(layout: Layout) -> None:
    """A new root beside the old one, filled, then the old one let go."""
    mounts.mount(None, "/", None, mounts.RECURSIVE | mounts.PRIVATE)
    # as bubblewrap does it: a small file system over /tmp holds both roots while we build
    mounts.mount("root", "/tmp", "tmpfs", mounts.NOSUID | mounts.NODEV, "mode=755")  # noqa: S108
    os.chdir("/tmp")  # noqa: S108
    os.mkdir("newroot", 0o755)
    os.mkdir("oldroot", 0o755)
    mounts.pivot_root(".", "oldroot")
    os.chdir("/")
    mounts.mount("root", _ROOT, "tmpfs", mounts.NOSUID | mounts.NODEV, "mode=755,size=16m")
    _processes()
    _devices()
    for folder in layout.tmpfs:
        _tmpfs(folder)
    for link in layout.links:
        os.symlink(link.to, _ROOT + link.target)
    for bind in layout.binds:
        _bind(bind)
    mounts.unmount(_OLD)
    os.chdir(_ROOT)
    mounts.pivot_root(".", ".")
    mounts.unmount(".")
    os.chdir("/")


def _processes() -> None:
    os.mkdir(f"{_ROOT}/proc", 0o755)
    mounts.mount("proc", f"{_ROOT}/proc", "proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    # the number of further user namespaces: one, for ours. Set before /proc/sys is closed
    Path(f"{_ROOT}/proc/sys/user/max_user_namespaces").write_text("1")


def _devices() -> None:
    dev = f"{_ROOT}/dev"
    os.mkdir(dev, 0o755)
    mounts.mount("dev", dev, "tmpfs", mounts.NOSUID | mounts.NODEV, "mode=755,size=1m")
    for name in _DEVICES:
        Path(f"{dev}/{name}").touch()
        _bind_at(f"{_OLD}/dev/{name}", f"{dev}/{name}", mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)
    os.mkdir(f"{dev}/pts", 0o755)
    mounts.mount("devpts", f"{dev}/pts", "devpts", mounts.NOSUID | mounts.NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    for target, to in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("core", "/proc/kcore")):
        os.symlink(to, f"{dev}/{target}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")


def _tmpfs(folder: Tmpfs) -> None:
    target = _ROOT + folder.target
    os.makedirs(target, exist_ok=True)
    options = f"mode={folder.mode:o},size={folder.size}"
    mounts.mount("tmpfs", target, "tmpfs", mounts.NOSUID | mounts.NODEV, options)


def _bind(bind: Bind) -> None:
    target = _ROOT + bind.target
    source = _OLD + bind.source
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    _bind_at(source, target, mounts.ATTR_NOSUID | mounts.ATTR_NODEV | (0 if bind.writable else mounts.ATTR_RDONLY))


def _bind_at(source: str, target: str, attributes: int) -> None:
    tree = mounts.clone_tree(source)
    try:
        mounts.set_attributes(tree, attributes, recursive=True)
        mounts.attach(tree, target)
    finally:
        os.close(tree)


def _second_user_namespace() -> None:
    """The agent's: it owns nothing, so that no capability in it means anything for mounts or networks."""
    mounts.unshare(mounts.NEW_USER)
    _map_ids(AGENT_UID, 0, 0)


def _confine(pipes: Pipes) -> None:
    for fd, standard in ((pipes.alive, 0), (pipes.ready, 1), (pipes.trouble, 2)):
        os.dup2(fd, standard)
    with contextlib.suppress(OSError):
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    libc.drop_capabilities()
    libc.no_new_privileges()
    bpf.install(seccomp.program())
