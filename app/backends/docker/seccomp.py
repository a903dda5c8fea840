"""The system call filter of the local engine as an engine's JSON profile: one policy for every backend. Pure,
but for the file that Podman wants it in.

The profile language cannot say "anything but these", so what is allowed of an argument becomes what is refused: each
small value by itself, and every higher bit. Comparisons look at the low 32 bits, as the kernel does.
"""

import errno
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from app.backends.local import seccomp
from app.files import atomic_write
from sidecar.kernel.seccomp import ALLOW, Filter, Rule

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "arm64": "SCMP_ARCH_AARCH64"}
FILE = "seccomp.json"
_ERRNO_MASK = 0xFFFF
_LOW = 0xFFFFFFFF
_SMALL = 64
"""Values below this are refused one by one: address families and protocols are all smaller."""
_HIGH_BITS = tuple(1 << bit for bit in range(6, 32))
_UNIX, _INET, _INET6, _NETLINK, _MPTCP = 1, 2, 10, 16, 262
_SPECIAL = ("socket", "socketpair", "personality")

type Comparison = tuple[int, int, int]
"""Argument, mask, value: matches where `argument & mask == value`."""


@cache
def profile(machine: str, *, ptrace: bool = False) -> str:
    """The profile for a machine as the engine takes it. Raises KeyError for an unknown machine."""
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [ARCHITECTURES[machine]],
            "syscalls": calls(seccomp.policy(ptrace=ptrace)),
        }
    )


def option(folder: Path, machine: str, *, ptrace: bool = False, as_file: bool = False) -> str:
    """What stands behind `seccomp=` in a request: the profile; for Podman, which takes no other, a file with it."""
    text = profile(machine, ptrace=ptrace)
    if not as_file:
        return text
    file = folder / FILE
    atomic_write(file, text.encode())
    return str(file)


def calls(policy: Filter) -> list[dict[str, Any]]:
    """The rules of `policy`. Raises ValueError for one that this module does not know how to say."""
    found = [_refuse(policy.denied, errno.EPERM), _refuse(policy.missing, errno.ENOSYS)]
    for rule in policy.rules:
        found += _SAID[rule.syscall]() if rule.syscall in _SAID else _plain(rule)
    return found


def _refuse(names: Iterable[str], code: int, *comparisons: Comparison) -> dict[str, Any]:
    args = [
        {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        for index, mask, value in comparisons
    ]
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": code, "args": args}


def _plain(rule: Rule) -> list[dict[str, Any]]:
    """A rule that refuses values or bits of one argument and lets all else through."""
    if rule.otherwise != ALLOW:
        raise ValueError(f"cannot say the rule for {rule.syscall}")
    found: list[dict[str, Any]] = []
    for arguments, action in rule.tests:
        (argument,) = arguments
        code = action & _ERRNO_MASK
        found += [_refuse([rule.syscall], code, (argument.arg, _LOW, value)) for value in argument.values]
        bits = [1 << bit for bit in range(32) if argument.mask >> bit & 1]
        found += [_refuse([rule.syscall], code, (argument.arg, bit, bit)) for bit in bits]
    return found


def _all_but(name: str, allowed: tuple[int, ...], *also: Comparison, arg: int = 0) -> list[dict[str, Any]]:
    code = errno.EAFNOSUPPORT
    small = [_refuse([name], code, *also, (arg, _LOW, value)) for value in range(_SMALL) if value not in allowed]
    return small + [_refuse([name], code, *also, (arg, bit, bit)) for bit in _HIGH_BITS]


def _socket() -> list[dict[str, Any]]:
    multipath = [
        _refuse(["socket"], errno.EPROTONOSUPPORT, (0, _LOW, family), (2, _LOW, _MPTCP)) for family in (_INET, _INET6)
    ]
    families = _all_but("socket", (_UNIX, _INET, _INET6, _NETLINK))
    return multipath + families + _all_but("socket", (0,), (0, _LOW, _NETLINK), arg=2)


def _socketpair() -> list[dict[str, Any]]:
    return _all_but("socketpair", (_UNIX,))


def _personality() -> list[dict[str, Any]]:
    """Allowed are 0, PER_LINUX32 (8), UNAME26 (0x20000), both, and the question 0xffffffff."""
    top = 1 << 31
    asked = [_refuse(["personality"], errno.EPERM, (0, top | 1 << bit, top)) for bit in range(31)]
    other = [bit for bit in range(31) if bit not in (3, 17)]
    return asked + [_refuse(["personality"], errno.EPERM, (0, top | 1 << bit, 1 << bit)) for bit in other]


_SAID = {"socket": _socket, "socketpair": _socketpair, "personality": _personality}
