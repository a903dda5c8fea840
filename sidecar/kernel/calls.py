"""The few system calls Python lacks, by ctypes. Raises OSError as Python's own would. Linux only."""

import ctypes
import os
import sys
from typing import Any

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
"""linux/prctl.h"""

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_POSSIBLE_CAP = 63

_libc: Any = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *args: int | bytes | ctypes.Array[Any] | None) -> int:
    """System call `number`; integers go as C longs, bytes and buffers as pointers."""
    _linux_only()
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return check(_libc.syscall(ctypes.c_long(number), *values), f"system call {number}")


def prctl(option: int, *args: int) -> int:
    _linux_only()
    values = [ctypes.c_ulong(arg) for arg in (*args, 0, 0, 0, 0)[:4]]
    return check(_libc.prctl(ctypes.c_int(option), *values), f"prctl {option}")


def unshare(flags: int) -> None:
    _linux_only()
    check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def install_filter(program: bytes, machine: str) -> None:
    """Put a seccomp filter on all threads of this process. Needs no_new_privs. There is no way back."""
    _linux_only()

    class Program(ctypes.Structure):
        """struct sock_fprog (linux/filter.h)."""

        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    prog = Program(len(program) // 8, program)
    number = ctypes.c_long(_SECCOMP[machine])
    mode, flags = ctypes.c_long(_SECCOMP_SET_MODE_FILTER), ctypes.c_long(_SECCOMP_FILTER_FLAG_TSYNC)
    result = check(_libc.syscall(number, mode, flags, ctypes.byref(prog)), "seccomp")
    if result:
        raise OSError(0, f"seccomp: thread {result} could not be filtered")


def drop_capabilities() -> None:
    """Give up every capability of this process, now and for whatever it executes."""
    _linux_only()
    for capability in range(_LAST_POSSIBLE_CAP + 1):
        # refused with EINVAL past the kernel's last, EPERM without CAP_SETPCAP (then there is nothing to drop)
        _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    _libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    check(_libc.capset(header, nothing), "capset")


def _linux_only() -> None:
    if not sys.platform.startswith("linux"):
        raise OSError(38, "this system call exists on Linux only")
