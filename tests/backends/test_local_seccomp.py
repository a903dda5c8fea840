"""The filter of bottles on both machines, run in the interpreter of the assembler's tests."""

import errno

import pytest

from app.backends.local import seccomp
from app.errors import CarboyError
from sidecar.kernel.seccomp import ALLOW, KILL_PROCESS, refuse
from sidecar.kernel.syscalls import AUDIT_ARCH, TABLES
from tests.sidecar.test_kernel_seccomp import run

MACHINES = sorted(TABLES)
REFUSED = (
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "io_uring_setup", "keyctl", "add_key",
    "userfaultfd", "perf_event_open", "open_by_handle_at", "ptrace", "process_vm_readv", "process_vm_writev",
    "pidfd_getfd", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "move_mount",
    "fsopen", "open_tree", "open_tree_attr", "mount_setattr",
    "reboot", "swapon", "syslog", "quotactl", "settimeofday", "clock_settime",
)  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_denied(machine: str) -> None:
    program, table, arch = seccomp.program(machine=machine), TABLES[machine], AUDIT_ARCH[machine]
    for name in REFUSED:
        assert run(program, table[name], (), arch) == refuse(), name
    assert run(program, table["clone3"], (), arch) == refuse(errno.ENOSYS)
    for name in ("execve", "openat", "read", "kill", "futex", "connect", "prlimit64", "prctl", "mmap"):
        assert run(program, table[name], (), arch) == ALLOW, name
    assert run(program, 1, (), 0x40000003) == KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_by_argument(machine: str) -> None:
    program, table, arch = seccomp.program(machine=machine), TABLES[machine], AUDIT_ARCH[machine]

    def verdict(name: str, *args: int) -> int:
        return run(program, table[name], args, arch)

    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
        assert verdict("clone", bit | 17) == refuse()
    assert verdict("clone", 0x003D0F00) == ALLOW  # a thread
    for command in (0x5412, 0x541C, 0x5423):
        assert verdict("ioctl", 0, command) == verdict("ioctl", 0, command | 1 << 32) == refuse()
    assert verdict("ioctl", 0, 0x5413) == ALLOW
    assert [verdict("socket", family, 1, 0) for family in (1, 2, 10)] == [ALLOW] * 3
    assert verdict("socket", 16, 3, 0) == ALLOW
    for family in (16, 17, 38, 40, 44):
        assert verdict("socket", family, 3, 9) == refuse(errno.EAFNOSUPPORT)
    assert verdict("socket", 2, 1, 262) == refuse(errno.EPROTONOSUPPORT)
    for name, arg in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2)):
        if name in table:
            modes = [verdict(name, *[0] * arg, mode) for mode in (0o4755, 0o6755, 0o755, 0o2755, 0o1777)]
            assert modes == [refuse(), refuse(), ALLOW, ALLOW, ALLOW]
    assert [verdict("fcntl", 3, command) for command in (1024, 1, 6, 1025)] == [refuse(), ALLOW, ALLOW, ALLOW]
    assert verdict("personality", 0xFFFFFFFF) == ALLOW
    assert verdict("personality", 0x0040000) == refuse()


def test_debuggers_by_manifest() -> None:
    for machine in MACHINES:
        program = seccomp.program(ptrace=True, machine=machine)
        assert run(program, TABLES[machine]["ptrace"], (), AUDIT_ARCH[machine]) == ALLOW
        assert run(program, TABLES[machine]["pidfd_getfd"], (), AUDIT_ARCH[machine]) == refuse()


def test_unknown_machines_run_nothing() -> None:
    with pytest.raises(CarboyError) as refused:
        seccomp.program(machine="riscv64")
    assert refused.value.hint
