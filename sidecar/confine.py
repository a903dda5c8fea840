"""Locks this process in, in two steps: `isolate()` before it holds a secret, `lock_down()` once it knows its files.

Each piece is tried on its own. What is missing is said in the returned list, never fatal: on an older kernel the rest
still holds, and the operator sees what does not.
"""

import contextlib
import ctypes
import errno
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sidecar.kernel import landlock, libc, seccomp
from sidecar.kernel.seccomp import Argument, Filter, Rule
from sidecar.kernel.syscalls import UnknownMachine

_CLONE_NEWUSER = 0x10000000
_CLONE_THREAD = 0x00010000  # include/uapi/linux/sched.h
MAX_FILES = 4096
"""Descriptors: 512 connections with a few upstreams each."""

NEVER = (
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp"),
    *("pidfd_getfd", "pidfd_open", "pidfd_send_signal", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("execve", "execveat", "fork", "vfork", "personality"),
    # namespaces and mounts
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount"),
    *("open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "swapon", "swapoff"),
    *("quotactl", "quotactl_fd"),
    # the kernel itself
    *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load"),
    *("kexec_file_load", "init_module", "finit_module"),
    *("delete_module", "reboot", "syslog", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("iopl", "ioperm", "modify_ldt", "lookup_dcookie", "vmsplice", "fanotify_init", "name_to_handle_at"),
    *("open_by_handle_at", "memfd_secret", "mknod", "mknodat"),
)

BEYOND = (
    # modes, owners, times and attributes of any of the user's files, by their names: Landlock does not cover them
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
    *("getxattr", "lgetxattr", "getxattrat", "listxattr", "llistxattr", "listxattrat", "file_getattr"),
    # what happens in any of the user's folders, by name
    *("inotify_init", "inotify_init1", "inotify_add_watch"),
    # covered from Linux 6.2 on only
    "truncate",
    # the user's other processes: how they run, and what they share
    *("setpriority", "ioprio_set", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"),
    *("move_pages", "migrate_pages", "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl"),
    *("semget", "semop", "semtimedop", "semctl", "mq_open", "mq_unlink"),
)
"""What a sidecar has no more need of once its sockets stand."""

MISSING = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Answered as by a kernel without them: glibc and libuv fall back to clone and epoll."""

_OWNERS, _OWNERS_OF_SOCKETS = (8, 10, 15), (0x8901, 0x8902)
"""fcntl's F_SETOWN, F_SETSIG and F_SETOWN_EX, ioctl's FIOSETOWN and SIOCSPGRP: who is sent which signal once
there is something to read, SIGKILL as well. Landlock covers it from Linux 6.12 on only."""
_INTERNET = (2, 10, 16)
"""IPv4, IPv6 and netlink (getaddrinfo lists our addresses with it)."""


def isolate() -> list[str]:
    """No new privileges, own user namespace without capabilities, no core dumps, unreadable to other processes, and
    only the system calls a proxy needs. Before the event loop: libuv must find no io_uring rather than lose it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if not sys.platform.startswith("linux"):
        return ["confinement: Linux only"]
    steps: list[tuple[str, Callable[[], None]]] = [
        ("no new privileges", libc.no_new_privileges),
        ("user namespace", own_user_namespace),
        ("capabilities", libc.drop_capabilities),
        ("not dumpable", lambda: libc.set_dumpable(False)),
        ("seccomp", _restrict_calls),
    ]
    return attempt(steps)


def lock_down(spool_fd: int, folders: Iterable[str]) -> list[str]:
    """Landlock: from here on no file is reached but the libraries, the resolver's and our own folders."""
    if not sys.platform.startswith("linux"):
        return []
    _warm_up()
    steps: list[tuple[str, Callable[[], None]]] = [
        ("Landlock", lambda: _restrict_files(spool_fd, folders)),
        ("seccomp, second part", _restrict_more),
    ]
    return attempt(steps)


def attempt(steps: Iterable[tuple[str, Callable[[], None]]]) -> list[str]:
    """Take each step; what this kernel lacks is returned as text."""
    missing: list[str] = []
    for name, step in steps:
        try:
            step()
        except (OSError, UnknownMachine) as error:
            missing.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    return missing


def own_user_namespace() -> None:
    """A user namespace in which we are still ourselves: the capabilities that could be won are its own, and dropped."""
    uid, gid = os.geteuid(), os.getegid()
    # the maps of a process that is not dumpable belong to root, so that its user could not write them
    libc.set_dumpable(True)
    libc.syscall("unshare", _CLONE_NEWUSER)
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _warm_up() -> None:
    """Let glibc load what it opens at the first look-up only, and ctypes its closures."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    ctypes.CFUNCTYPE(None)(lambda: None)


def compute_only() -> list[str]:
    """For a process that only computes, after `isolate()`: no file but the libraries, no socket, no thread."""
    if not sys.platform.startswith("linux"):
        return []
    denied = (*BEYOND, "socket", "socketpair", "connect", "bind", "listen", "clone")
    calls = Filter(denied=denied, rules=(own_limits(),))
    steps: list[tuple[str, Callable[[], None]]] = [
        ("Landlock", lambda: _libraries().enforce()),
        ("seccomp, second part", lambda: seccomp.install(calls.assemble())),
    ]
    return attempt(steps)


def own_limits() -> Rule:
    """Limits of this process alone: others' end them as surely as a signal."""
    return Rule("prlimit64", (((Argument(0, values=(0, os.getpid())),), seccomp.ALLOW),), seccomp.refuse(errno.EPERM))


def _libraries() -> landlock.Ruleset:
    """Code may be read, as it is imported late."""
    rules = landlock.Ruleset(net=landlock.BIND_TCP, scoped=landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL)
    roots = {sys.prefix, sys.base_prefix, *(entry for entry in sys.path if entry)}
    rules.allow_existing(roots, landlock.READ)
    rules.allow_existing(("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"), landlock.READ)
    return rules


def _restrict_files(spool_fd: int, folders: Iterable[str]) -> None:
    rules = _libraries()
    names = ("resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf", "services", "ssl", "pki", "localtime")
    rules.allow_existing((f"/etc/{name}" for name in (*names, "ld.so.cache", "ca-certificates")), landlock.READ)
    # where /etc/resolv.conf leads with systemd-resolved, NetworkManager and resolvconf
    rules.allow_existing(("/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"), landlock.READ)
    rules.allow_existing(("/dev/null", "/dev/urandom", "/proc/self"), landlock.READ | landlock.WRITE_FILE)
    rules.allow_fd(spool_fd, landlock.READ_WRITE)
    for folder in folders:
        rules.allow(folder, landlock.READ_WRITE)
    rules.enforce()


def _restrict_calls() -> None:
    me = os.getpid()
    refuse = seccomp.refuse(errno.EPERM)
    rules = (
        # threads only, never a process
        Rule("clone", (((Argument(0, mask=_CLONE_THREAD),), seccomp.ALLOW),), refuse),
        Rule("tgkill", (((Argument(0, values=(me,)),), seccomp.ALLOW),), refuse),
        Rule("fcntl", (((Argument(1, values=_OWNERS),), refuse),)),
        Rule("ioctl", (((Argument(1, values=_OWNERS_OF_SOCKETS),), refuse),)),
        Rule("socket", (((Argument(0, values=(1, *_INTERNET)),), seccomp.ALLOW),), refuse),
    )
    seccomp.install(Filter(denied=NEVER, missing=MISSING, rules=rules).assemble(), all_threads=True)


def _restrict_more() -> None:
    """No new unix sockets: the control socket stands, and behind others are the user's bus, agents and engines, which
    trust whoever has the user's id. Landlock does not cover connecting to them. Nor does it what is in `BEYOND`."""
    refuse = seccomp.refuse(errno.EPERM)
    streams = tuple(socket.SOCK_STREAM | flags for flags in (0, 0x80000, 0x800, 0x80800))  # CLOEXEC, NONBLOCK
    rules = (
        Rule("socket", (((Argument(0, values=_INTERNET),), seccomp.ALLOW),), refuse),
        # the event loop's; a pair of datagram sockets could be pointed elsewhere, one of streams cannot
        Rule("socketpair", (((Argument(1, values=streams),), seccomp.ALLOW),), refuse),
        own_limits(),
    )
    seccomp.install(Filter(denied=BEYOND, rules=rules).assemble(), all_threads=True)
