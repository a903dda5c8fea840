"""Thin, typed access to system calls that Python has no function for. Does what it is told; decides nothing."""

import contextlib
import ctypes
import os
import struct

from sidecar.kernel.syscalls import number

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h


def syscall(name: str, *args: int | bytes | None) -> int:
    """Call `name`; bytes are passed by address. Raises OSError with the call's name."""
    packed = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = _libc.syscall(ctypes.c_long(number(name)), *packed)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def prctl(option: int, value: int = 0, value2: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    result = _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(value2), zero, zero)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), f"prctl {option}")
    return result


def no_new_privileges() -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_dumpable(dumpable: bool) -> None:
    """A process that is not dumpable cannot be read, traced or looked into through /proc by others of its user."""
    prctl(PR_SET_DUMPABLE, int(dumpable))


def set_name(name: str) -> None:
    """What `ps` shows this process as: the first fifteen bytes."""
    named = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(named))


def drop_capabilities() -> None:
    """Give up every capability for good: bounding, ambient, permitted, effective and inheritable sets."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # unknown to this kernel, or we have no CAP_SETPCAP and thus none to lose
            continue
    with contextlib.suppress(OSError):  # before Linux 4.3 there were none
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("II", _CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, struct.pack("6I", 0, 0, 0, 0, 0, 0)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "capset")
