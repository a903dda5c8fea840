"""What no process of a bottle may ask the kernel for, as rules for `sidecar.kernel.seccomp`. Pure.

A deny-list over the whole kernel would be endless; this one is for what lies beyond namespaces and dropped
capabilities: interfaces with a history of holes, ways to look into other processes, and terminal tricks.
"""

import errno
from dataclasses import replace
from functools import cache

from app.errors import CarboyError
from sidecar.kernel.seccomp import ALLOW, Argument, Filter, Rule, refuse
from sidecar.kernel.syscalls import UnknownMachine

_MOUNTS = (
    "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "open_tree_attr",
)  # fmt: skip
_NAMESPACES = ("unshare", "setns")
_HOLES = (
    "io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd", "keyctl",
    "add_key", "request_key", "open_by_handle_at", "name_to_handle_at", "vmsplice", "lookup_dcookie", "modify_ldt",
    "memfd_secret", "fanotify_init", "fanotify_mark", "uselib", "_sysctl", "nfsservctl", "ustat", "sysfs",
    "remap_file_pages", "vserver", "afs_syscall", "tuxcall", "security", "getpmsg", "putpmsg",
)  # fmt: skip
_SYSTEM = (
    "reboot", "swapon", "swapoff", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "quotactl",
    "quotactl_fd", "syslog", "iopl", "ioperm", "vhangup", "sethostname", "setdomainname", "kexec_load",
    "kexec_file_load", "create_module", "init_module", "finit_module", "delete_module", "get_kernel_syms",
    "query_module", "move_pages", "migrate_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node",
)  # fmt: skip
_LOOKING_INTO_OTHERS = ("pidfd_getfd", "process_madvise", "process_mrelease", "kcmp")
_DEBUGGING = ("ptrace", "process_vm_readv", "process_vm_writev")
"""Allowed by `limits.ptrace: true`, for debuggers. Processes outside are out of sight either way."""

_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW* of linux/sched.h, NEWTIME included
_UNIX, _INET, _INET6, _NETLINK, _ROUTE, _MPTCP = 1, 2, 10, 16, 0, 262
_SET_UID = 0o4000
_MODES = (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2))
"""Calls that change a file's mode, and which argument says it."""
_SET_LEASE = 1024  # F_SETLEASE (linux/fcntl.h)
_TERMINAL_TRICKS = (0x5412, 0x541C, 0x5423)  # TIOCSTI, TIOCLINUX, TIOCSETD (asm-generic/ioctls.h)
_PERSONALITIES = (0, 0xFFFFFFFF, 0x8, 0x20000, 0x20008)  # ask, none, PER_LINUX32, UNAME26: as Docker's profile allows


def policy(*, ptrace: bool = False) -> Filter:
    """The deny-list."""
    denied = (*_MOUNTS, *_NAMESPACES, *_HOLES, *_SYSTEM, *_LOOKING_INTO_OTHERS)
    return Filter(
        denied=denied if ptrace else (*denied, *_DEBUGGING),
        # a filter cannot look into clone3's structure: ENOSYS makes every libc fall back to clone
        missing=("clone3",),
        rules=(
            Rule("clone", (((Argument(0, mask=_NEW_NAMESPACES),), refuse()),)),
            Rule("ioctl", (((Argument(1, values=_TERMINAL_TRICKS),), refuse()),)),
            Rule("personality", (((Argument(0, values=_PERSONALITIES),), ALLOW),), otherwise=refuse()),
            # a program in the project that runs as its owner, whoever on the host starts it. A mode given at creation
            # is no way to one: writing to a file takes the bit off
            *(Rule(name, (((Argument(arg, mask=_SET_UID),), refuse()),)) for name, arg in _MODES),
            # whoever opens a leased file, the operator's editor as well, waits for the agent for 45 seconds
            Rule("fcntl", (((Argument(1, values=(_SET_LEASE,)),), refuse()),)),
            _SOCKET,
            Rule("socketpair", (((Argument(0, values=(_UNIX,)),), ALLOW),), otherwise=refuse(errno.EAFNOSUPPORT)),
        ),
    )


_SOCKET = Rule(
    "socket",
    (
        # MPTCP is beyond Landlock's rules for TCP; the network namespace holds it, this is the second layer
        ((Argument(0, values=(_INET, _INET6)), Argument(2, values=(_MPTCP,))), refuse(errno.EPROTONOSUPPORT)),
        ((Argument(0, values=(_UNIX, _INET, _INET6)),), ALLOW),
        # only to ask about the own interfaces
        ((Argument(0, values=(_NETLINK,)), Argument(2, values=(_ROUTE,))), ALLOW),
    ),
    otherwise=refuse(errno.EAFNOSUPPORT),
)


@cache
def program(*, ptrace: bool = False, machine: str | None = None, more: tuple[Rule, ...] = ()) -> bytes:
    """The filter for this machine, with `more` rules in it. Raises CarboyError for an unknown one: nothing runs
    unfiltered."""
    try:
        wanted = policy(ptrace=ptrace)
        return replace(wanted, rules=(*wanted.rules, *more)).assemble(machine)
    except UnknownMachine as unknown:
        raise CarboyError(
            f"local bottles do not run here: {unknown}", "Use another backend (backend: docker)", "unknown_machine"
        ) from None
