"""seccomp filters as data: rules in, a classic BPF program out. Pure.

The first rule that matches decides; what no rule matches is allowed. Arguments are compared on their low 32 bits: right
for `int` arguments (flags, domains, ioctl numbers), which is all that is compared here.
"""

import errno
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sidecar.kernel.syscalls import AUDIT_ARCH, NUMBERS

# linux/bpf_common.h
_LD_W_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
# linux/seccomp.h
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARGS = 0, 4, 16
"""Offsets in struct seccomp_data."""
_X32 = 0x40000000
"""Bit in the numbers of the x32 ABI, which reaches the same calls past a filter of plain numbers."""


@dataclass(frozen=True)
class Arg:
    """A condition on one argument: equal to `value`, any bit of `value` set, or none of them."""

    index: int
    op: Literal["eq", "any_bit", "no_bit"]
    value: int


@dataclass(frozen=True)
class Rule:
    """Allow or refuse one system call where all conditions hold. A call unknown on the architecture is skipped."""

    name: str
    action: Literal["allow", "refuse"] = "refuse"
    when: tuple[Arg, ...] = ()
    error: int = errno.EPERM


def refuse(names: Iterable[str], error: int = errno.EPERM) -> list[Rule]:
    return [Rule(name, error=error) for name in names]


def assemble(rules: Sequence[Rule], machine: str) -> bytes:
    """The filter as `struct sock_filter[]`. A call of another architecture kills the process; x32 does not exist.

    Raises KeyError on an architecture without tables.
    """
    numbers = NUMBERS[machine]
    program = [_load(_ARCH), _jump(_JEQ, AUDIT_ARCH[machine], 1, 0), _return(_KILL_PROCESS), _load(_NR)]
    if machine == "x86_64":
        program += [_jump(_JGE, _X32, 0, 1), _return(_ERRNO | errno.ENOSYS)]
    for rule in rules:
        if rule.name in numbers:
            program += _assemble_rule(rule, numbers[rule.name])
    program.append(_return(_ALLOW))
    if len(program) > 4096:
        raise ValueError("a filter has at most 4096 instructions (BPF_MAXINSNS)")
    return b"".join(program)


def _assemble_rule(rule: Rule, number: int) -> list[bytes]:
    """Test number and conditions, each jumping past the rule where it fails; the number is loaded again after."""
    action = _return(_ALLOW if rule.action == "allow" else _ERRNO | rule.error)
    if not rule.when:
        return [_jump(_JEQ, number, 0, 1), action]
    body: list[bytes] = []
    for position, arg in enumerate(rule.when):
        to_end = 2 * (len(rule.when) - position) - 1
        test = _JEQ if arg.op == "eq" else _JSET
        yes, no = (0, to_end) if arg.op != "no_bit" else (to_end, 0)
        body += [_load(_ARGS + 8 * arg.index), _jump(test, arg.value & 0xFFFFFFFF, yes, no)]
    body += [action, _load(_NR)]
    return [_jump(_JEQ, number, 0, len(body)), *body]


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", _LD_W_ABS, 0, 0, offset)


def _jump(code: int, value: int, yes: int, no: int) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def _return(value: int) -> bytes:
    return struct.pack("HBBI", _RET, 0, 0, value)
