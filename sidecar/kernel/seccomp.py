"""A small seccomp-BPF assembler: rules in, a program out, for any known machine. Only `install` touches the kernel.

A program lets everything through but what its rules name. Rules are blocks that either return or fall through to
the next; the instruction set and `struct seccomp_data` are in include/uapi/linux/{bpf_common,filter,seccomp}.h.
"""

import ctypes
import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from sidecar.kernel import libc
from sidecar.kernel.syscalls import AUDIT_ARCH, TABLES, X32_BIT, machine_name

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_SET_MODE_FILTER, _TSYNC = 1, 1

type Instruction = tuple[int, int, int, int]


def refuse(code: int = errno.EPERM) -> int:
    """The action that makes a call fail with `code` without being made."""
    return _ERRNO | code


@dataclass(frozen=True)
class Argument:
    """Of the low 32 bits of argument `arg`: equal to one of `values`, or with any bit of `mask` set.

    Only for arguments that the kernel itself takes as 32 bits (or whose meaning lies in the low ones), so that the
    upper half cannot be used to slip past.
    """

    arg: int
    values: tuple[int, ...] = ()
    mask: int = 0


@dataclass(frozen=True)
class Rule:
    """What happens to one call: the first test that matches gives its action, else `otherwise`.

    `tests` pairs each test (or a tuple of tests that must all match) with an action.
    """

    syscall: str
    tests: tuple[tuple[tuple[Argument, ...], int], ...] = ()
    otherwise: int = ALLOW


@dataclass(frozen=True)
class Filter:
    """A deny-list. Names that a machine has no number for are left out on it."""

    denied: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Answered with ENOSYS, so that callers fall back to an older call."""
    rules: tuple[Rule, ...] = field(default=())

    def assemble(self, machine: str | None = None) -> bytes:
        """The program for `machine` (this one by default). Raises UnknownMachine, or ValueError for a bad name."""
        name = machine_name(machine)
        table = TABLES[name]
        _check_names([*self.denied, *self.missing, *(rule.syscall for rule in self.rules)])
        program: list[Instruction] = _preamble(name)
        for group, action in ((self.denied, refuse()), (self.missing, refuse(errno.ENOSYS))):
            numbers = sorted(table[call] for call in group if call in table)
            for value in numbers:
                program += [(JUMP_EQUAL, 0, 1, value), (RETURN, 0, 0, action)]
        for rule in self.rules:
            if rule.syscall in table:
                program += _block(table[rule.syscall], rule)
        program.append((RETURN, 0, 0, ALLOW))
        return b"".join(struct.pack("=HBBI", *item) for item in program)


def _check_names(names: Iterable[str]) -> None:
    known = {name for table in TABLES.values() for name in table}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"no machine has these system calls: {', '.join(unknown)}")


def _preamble(machine: str) -> list[Instruction]:
    """A foreign architecture, or x32, would give the same numbers another meaning: such a process is killed."""
    program: list[Instruction] = [
        (LOAD, 0, 0, _ARCH),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        # -1 is no call at all (programs use it to probe); everything else from the bit on is x32
        program += [
            (JUMP_EQUAL, 2, 0, 0xFFFFFFFF),
            (JUMP_AT_LEAST, 0, 1, X32_BIT),
            (RETURN, 0, 0, KILL_PROCESS),
        ]
    return program


def _block(value: int, rule: Rule) -> list[Instruction]:
    body: list[Instruction] = []
    for tests, action in rule.tests:
        body += _tests(tests, action)
    body.append((RETURN, 0, 0, rule.otherwise))
    if len(body) > 255:
        raise ValueError(f"too many tests for {rule.syscall}")
    return [(JUMP_EQUAL, 0, len(body), value), *body]


def _tests(tests: tuple[Argument, ...], action: int) -> list[Instruction]:
    """All of `tests` → return `action`; the first that fails jumps behind it."""
    body: list[Instruction] = [(RETURN, 0, 0, action)]
    for test in reversed(tests):
        jumps: list[Instruction] = []
        checks = [(JUMP_EQUAL, value) for value in test.values] + ([(JUMP_SET, test.mask)] if test.mask else [])
        for index, (code, operand) in enumerate(checks):
            left = len(checks) - 1 - index
            jumps.append((code, left, 0 if left else len(body), operand))
        body = [(LOAD, 0, 0, _ARGUMENTS + 8 * test.arg), *jumps, *body]
    return body


def install(program: bytes, *, all_threads: bool = False) -> None:
    """Confine this process by `program`, for good and with all it will start. Needs no_new_privileges first."""
    if not program or len(program) % 8:
        raise ValueError("not a seccomp program")
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    libc.syscall("seccomp", _SET_MODE_FILTER, _TSYNC if all_threads else 0, header)
