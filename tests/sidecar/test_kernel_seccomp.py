"""The filter assembler, checked by running its programs in a small BPF interpreter for both machines."""

import errno
import os
import struct

import pytest

from sidecar.kernel import landlock, libc, seccomp
from sidecar.kernel.seccomp import ALLOW, KILL_PROCESS, Argument, Filter, Rule, refuse
from sidecar.kernel.syscalls import AUDIT_ARCH, TABLES, UnknownMachine, machine_name

EXAMPLE = Filter(
    denied=("ptrace", "bpf", "iopl"),
    missing=("clone3",),
    rules=(
        Rule("clone", (((Argument(0, mask=0x7E020000),), refuse()),)),
        Rule("ioctl", (((Argument(1, values=(0x5412, 0x541C)),), refuse()),)),
        Rule(
            "socket",
            (
                ((Argument(0, values=(2, 10)), Argument(2, values=(262,))), refuse(errno.EPROTONOSUPPORT)),
                ((Argument(0, values=(1, 2, 10)),), ALLOW),
                ((Argument(0, values=(16,)), Argument(2, values=(0,))), ALLOW),
            ),
            otherwise=refuse(errno.EAFNOSUPPORT),
        ),
    ),
)


def run(program: bytes, number: int, args: tuple[int, ...] = (), arch: int = 0) -> int:
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(args + (0,) * 6)[:6])
    code = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == seccomp.LOAD:
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif op == seccomp.RETURN:
            return k
        else:
            hit = {
                seccomp.JUMP_EQUAL: accumulator == k,
                seccomp.JUMP_AT_LEAST: accumulator >= k,
                seccomp.JUMP_SET: bool(accumulator & k),
            }[op]
            at += yes if hit else no


@pytest.mark.parametrize("machine", sorted(TABLES))
def test_verdicts(machine: str) -> None:
    program, table, arch = EXAMPLE.assemble(machine), TABLES[machine], AUDIT_ARCH[machine]

    def verdict(name: str, *args: int) -> int:
        return run(program, table[name], args, arch)

    assert verdict("ptrace") == refuse()
    assert verdict("clone3") == refuse(errno.ENOSYS)
    assert verdict("clone", 0x11) == ALLOW
    assert verdict("clone", 0x10000011) == refuse()
    assert verdict("ioctl", 0, 0x5412) == refuse()
    assert verdict("ioctl", 0, 0x5412 | 1 << 40) == refuse(), "the kernel looks at 32 bits of a command"
    assert verdict("ioctl", 0, 0x5413) == ALLOW
    for family in (1, 2, 10):
        assert verdict("socket", family, 1, 0) == ALLOW
    assert verdict("socket", 2, 1, 262) == refuse(errno.EPROTONOSUPPORT)
    assert verdict("socket", 1, 1, 262) == ALLOW
    assert verdict("socket", 16, 3, 0) == ALLOW
    assert verdict("socket", 16, 3, 12) == refuse(errno.EAFNOSUPPORT)
    assert verdict("socket", 40, 1, 0) == refuse(errno.EAFNOSUPPORT)
    assert run(program, table["execve"], (), arch) == ALLOW


@pytest.mark.parametrize("machine", sorted(TABLES))
def test_foreign_architectures_are_killed(machine: str) -> None:
    program = EXAMPLE.assemble(machine)
    for arch in (0x40000003, 0x40000028, 0, *(value for name, value in AUDIT_ARCH.items() if name != machine)):
        assert run(program, 1, (), arch) == KILL_PROCESS


def test_x32_is_killed_and_no_call_is_not() -> None:
    program, arch = EXAMPLE.assemble("x86_64"), AUDIT_ARCH["x86_64"]
    assert run(program, 0x40000000 + 101, (), arch) == KILL_PROCESS
    assert run(program, 0xFFFFFFFF, (), arch) == ALLOW
    assert run(program, 101, (), arch) == refuse()


def test_known_numbers() -> None:
    assert TABLES["x86_64"]["seccomp"] == 317
    assert TABLES["aarch64"]["seccomp"] == 277


def test_unknown_machine_and_names_are_refused() -> None:
    with pytest.raises(UnknownMachine):
        EXAMPLE.assemble("riscv64")
    with pytest.raises(ValueError):
        Filter(denied=("no_such_call",)).assemble()
    assert machine_name("ARM64") == "aarch64"


def test_installed_for_real() -> None:
    program = Filter(denied=("sethostname",), rules=(Rule("personality", otherwise=refuse(errno.EXDEV)),)).assemble()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            libc.no_new_privileges()
            libc.drop_capabilities()
            seccomp.install(program)
            for name, want in (("sethostname", errno.EPERM), ("personality", errno.EXDEV)):
                try:
                    libc.syscall(name, 0, 0)
                except OSError as error:
                    if error.errno != want:
                        os._exit(2)
                else:
                    os._exit(3)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
def test_landlock_lets_only_the_listed_through(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("x")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            libc.no_new_privileges()
            ruleset = landlock.Ruleset()
            ruleset.allow(tmp_path / "in", landlock.FULL)
            ruleset.allow_existing([tmp_path / "missing"], landlock.READ)
            ruleset.enforce()
            (tmp_path / "in" / "new").write_text("y")
            try:
                (tmp_path / "out").read_text()
            except PermissionError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
