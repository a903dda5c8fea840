"""System call numbers of the architectures we filter on. Pure data.

From the kernel's arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl (aarch64 uses the generic table); the
numbers are part of the kernel's stable interface. A name missing for an architecture does not exist there.
"""

import platform

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h, as seccomp shows it to a filter."""

# fmt: off
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "ioctl": 16, "shmget": 29, "shmat": 30, "socket": 41, "connect": 42, "accept": 43, "bind": 49,
        "listen": 50, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
        "uname": 63, "semget": 64, "msgget": 68, "chmod": 90, "fchmod": 91, "ptrace": 101, "syslog": 103,
        "setuid": 105, "setgid": 106, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117,
        "setresgid": 119, "setfsuid": 122, "setfsgid": 123, "capset": 126, "rt_sigqueueinfo": 129, "mknod":
        133, "uselib": 134, "personality": 135, "ustat": 136, "sysfs": 139, "setpriority": 141,
        "sched_setscheduler": 144, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156,
        "prctl": 157, "adjtimex": 159, "setrlimit": 160, "chroot": 161, "acct": 163, "settimeofday": 164,
        "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170,
        "setdomainname": 171, "iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175,
        "delete_module": 176, "get_kernel_syms": 177, "query_module": 178, "quotactl": 179, "nfsservctl":
        180, "getpmsg": 181, "putpmsg": 182, "afs_syscall": 183, "tuxcall": 184, "security": 185,
        "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "tkill": 200, "sched_setaffinity": 203,
        "lookup_dcookie": 212, "epoll_ctl_old": 214, "epoll_wait_old": 215, "remap_file_pages": 216,
        "clock_settime": 227, "tgkill": 234, "vserver": 236, "mbind": 237, "set_mempolicy": 238, "mq_open":
        240, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "ioprio_set": 251,
        "migrate_pages": 256, "mknodat": 259, "fchmodat": 268, "unshare": 272, "vmsplice": 278,
        "move_pages": 279, "accept4": 288, "rt_tgsigqueueinfo": 297, "perf_event_open": 298,
        "fanotify_init": 300, "fanotify_mark": 301, "prlimit64": 302, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "sched_setattr": 314, "seccomp": 317,
        "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323, "pkey_mprotect": 329,
        "pkey_alloc": 330, "pkey_free": 331, "pidfd_send_signal": 424, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435, "pidfd_getfd":
        438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset":
        444, "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447,
        "process_mrelease": 448, "set_mempolicy_home_node": 450, "fchmodat2": 452,
    },
    "aarch64": {
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "lookup_dcookie": 18, "ioctl": 29, "ioprio_set": 30,
        "mknodat": 33, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51,
        "fchmod": 52, "fchmodat": 53, "vhangup": 58, "quotactl": 60, "vmsplice": 75, "acct": 89, "capset":
        91, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
        "clock_settime": 112, "syslog": 116, "ptrace": 117, "sched_setscheduler": 119, "sched_setaffinity":
        122, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "setpriority": 140, "reboot":
        142, "setregid": 143, "setgid": 144, "setreuid": 145, "setuid": 146, "setresuid": 147, "setresgid":
        149, "setfsuid": 151, "setfsgid": 152, "setgroups": 159, "uname": 160, "sethostname": 161,
        "setdomainname": 162, "setrlimit": 164, "prctl": 167, "settimeofday": 170, "adjtimex": 171,
        "mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194, "shmat": 196, "socket": 198,
        "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203, "add_key": 217,
        "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "swapon": 224, "swapoff": 225,
        "remap_file_pages": 234, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238, "move_pages":
        239, "rt_tgsigqueueinfo": 240, "perf_event_open": 241, "accept4": 242, "prlimit64": 261,
        "fanotify_init": 262, "fanotify_mark": 263, "clock_adjtime": 266, "setns": 268, "process_vm_readv":
        270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "sched_setattr": 274, "seccomp":
        277, "bpf": 280, "execveat": 281, "userfaultfd": 282, "pkey_mprotect": 288, "pkey_alloc": 289,
        "pkey_free": 290, "kexec_file_load": 294, "pidfd_send_signal": 424, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435, "pidfd_getfd":
        438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset":
        444, "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447,
        "process_mrelease": 448, "set_mempolicy_home_node": 450, "fchmodat2": 452,
    },
}
# fmt: on


def machine() -> str:
    """This machine's key in the tables, which may be missing there (`arm64` is macOS's word for aarch64)."""
    name = platform.machine()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name)
