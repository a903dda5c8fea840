"""Attacks on other processes, shared memory, the terminal, the kernel's interfaces, and the machine's resources."""

# ruff: noqa: S105, S108 - it attacks the very places, modes and addresses that these rules are about

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import struct
import time

from kit import LIBC, X86, Refused, Untestable, errno_of, probe, syscall

SECRET = "carboy-victim-secret"


def is_victim(facts):
    """Whether the victim's pid is the victim in our eyes, and not somebody of ours with the same number."""
    with open(f"/proc/{facts['pid']}/cmdline", "rb") as stream:
        return facts["token"].encode() in stream.read()


@probe("process.sees_victim")
def _(facts):
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as stream:
                    if facts["token"].encode() in stream.read() and int(name) != os.getpid():
                        return True
            except OSError:
                continue
    return False


@probe("process.signal")
def _(facts):
    os.kill(facts["pid"], 0)
    return is_victim(facts)


@probe("process.signal_group")
def _(facts):
    os.killpg(facts["pid"], 0)
    return is_victim(facts)


@probe("process.pidfd")
def _(facts):
    fd = syscall(434, 434, facts["pid"], 0)
    if not is_victim(facts):
        return False
    return syscall(438, 438, fd, 0, 0) >= 0


@probe("process.environ")
def _(facts):
    with open(f"/proc/{facts['pid']}/environ", "rb") as stream:
        return SECRET.encode() in stream.read()


@probe("process.own_environ_of_host")
def _(facts):
    return any(SECRET in value for value in os.environ.values())


@probe("process.ptrace_victim")
def _(facts):
    code = errno_of(101, 117, 0x4206, facts["pid"], 0, 0)
    return code == 0 and is_victim(facts)


@probe("process.ptrace_at_all")
def _(facts):
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        return errno_of(101, 117, 0x4206, child, 0, 0) == 0
    finally:
        os.kill(child, signal.SIGKILL)


@probe("process.read_memory")
def _(facts):
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("QQ", facts["address"], 8)
    for target in (facts["pid"], os.getppid()):
        code = errno_of(
            310, 270, target, ctypes.create_string_buffer(local), 1, ctypes.create_string_buffer(remote), 1, 0
        )
        if code in (0, 14):  # EFAULT: allowed to look, wrong place
            return True
    return False


@probe("process.memory_file")
def _(facts):
    os.close(os.open(f"/proc/{facts['pid']}/mem", os.O_RDONLY))
    return is_victim(facts)


@probe("process.victim_descriptors")
def _(facts):
    return bool(os.listdir(f"/proc/{facts['pid']}/fd")) and is_victim(facts)


@probe("process.priority")
def _(facts):
    os.setpriority(os.PRIO_PROCESS, facts["pid"], 19)
    return is_victim(facts)


@probe("process.limits")
def _(facts):
    resource.prlimit(facts["pid"], resource.RLIMIT_CORE)
    return is_victim(facts)


@probe("process.affinity")
def _(facts):
    os.sched_setaffinity(facts["pid"], {0})
    return is_victim(facts)


@probe("process.many_visible")
def _(facts):
    return len([name for name in os.listdir("/proc") if name.isdigit()]) > 12


@probe("ipc.shared_memory")
def _(facts):
    LIBC.shmat.restype = ctypes.c_void_p
    segment = LIBC.shmget(facts["ipc_key"], 0, 0)
    if segment < 0:
        raise Refused(os.strerror(ctypes.get_errno()))
    address = LIBC.shmat(segment, None, 0o10000)
    return address not in (None, ctypes.c_void_p(-1).value) and SECRET.encode() in ctypes.string_at(address, 64)


@probe("ipc.semaphore")
def _(facts):
    return LIBC.semget(facts["ipc_key"], 0, 0) >= 0


@probe("ipc.message_queue")
def _(facts):
    return LIBC.msgget(facts["ipc_key"], 0) >= 0


@probe("ipc.dev_shm")
def _(facts):
    with open("/dev/shm/" + facts["shm_file"]) as stream:
        return SECRET in stream.read()


@probe("ipc.keyring_read")
def _(facts):
    key = syscall(249, 218, b"user\0", facts["key"].encode() + b"\0", None, 0)
    return key > 0


@probe("ipc.keyring_add")
def _(facts):
    return syscall(248, 217, b"user\0", b"carboy-planted\0", b"x\0", 1, -3) > 0


@probe("ipc.keyctl")
def _(facts):
    return syscall(250, 219, 0, -3, 1) >= 0


def terminal():
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return 0


@probe("terminal.push_input")
def _(facts):
    fcntl.ioctl(terminal(), 0x5412, b"\n")
    return True


@probe("terminal.push_input_high_bits")
def _(facts):
    return errno_of(16, 29, terminal(), 0x5412 | 1 << 33, ctypes.create_string_buffer(b"\n")) == 0


@probe("terminal.paste_console")
def _(facts):
    code = errno_of(16, 29, terminal(), 0x541C, ctypes.create_string_buffer(b"\x03"))
    return code not in (1,)


@probe("terminal.line_discipline")
def _(facts):
    fcntl.ioctl(terminal(), 0x5423, struct.pack("i", 0))
    return True


@probe("terminal.others")
def _(facts):
    own = {os.ttyname(fd) for fd in (0, 1, 2) if os.isatty(fd)}
    for name in os.listdir("/dev/pts"):
        path = "/dev/pts/" + name
        if name != "ptmx" and path not in own:
            os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))
            return True
    return False


@probe("terminal.consoles")
def _(facts):
    for name in ("console", "tty0", "tty1", "ttyS0", "vcs"):
        try:
            device = os.open("/dev/" + name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        number = os.fstat(device).st_rdev
        os.close(device)
        if not 136 <= os.major(number) <= 143:  # the bottle's own pseudo-terminal by another name
            return True
    return False


@probe("kernel.user_namespace")
def _(facts):
    return LIBC.unshare(0x10000000) == 0


@probe("kernel.mount_namespace")
def _(facts):
    return LIBC.unshare(0x20000) == 0


@probe("kernel.net_namespace")
def _(facts):
    return LIBC.unshare(0x10000000 | 0x40000000) == 0


@probe("kernel.clone_user_namespace")
def _(facts):
    number = 56 if X86 else 220
    child = LIBC.syscall(ctypes.c_long(number), ctypes.c_long(0x10000000 | 17), None, None, None, None)
    if child == 0:
        os._exit(0)
    return child > 0


@probe("kernel.clone3_user_namespace")
def _(facts):
    arguments = ctypes.create_string_buffer(struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, 17, 0, 0, 0))
    child = LIBC.syscall(ctypes.c_long(435), arguments, ctypes.c_long(64))
    if child == 0:
        os._exit(0)
    return child > 0


@probe("kernel.setns")
def _(facts):
    for name in ("mnt", "net", "pid", "user"):
        try:
            fd = os.open("/proc/1/ns/" + name, os.O_RDONLY)
        except OSError:
            fd = os.open("/proc/self/ns/" + name, os.O_RDONLY)
        if errno_of(308, 268, fd, 0) not in (1,):
            return True
    return False


CALLS = {
    "kernel.bpf": (321, 280, 0, None, 0),
    "kernel.perf": (298, 241, None, 0, -1, -1, 0),
    "kernel.kexec": (246, 104, 0, 0, None, 0),
    "kernel.init_module": (175, 105, None, 0, b"\0"),
    "kernel.finit_module": (313, 273, -1, b"\0", 0),
    "kernel.delete_module": (176, 106, b"carboy-none\0", 0),
    "kernel.dmesg": (103, 116, 10, None, 0),
    "kernel.swap": (167, 224, b"/carboy-none\0", 0),
    "kernel.accounting": (163, 89, b"/carboy-none\0"),
    "kernel.quota": (179, 60, 0x800002 << 8, b"/carboy-none\0", 0, None),
    "kernel.reboot": (169, 142, 0, 0, 0, None),
    "kernel.set_clock": (227, 112, 0, None),
    "kernel.adjust_clock": (305, 266, 99, None),
    "kernel.io_permissions": (173, None, 0x3F8, 1, 1),
    "kernel.io_privilege": (172, None, 3),
    "kernel.move_pages": (279, 239, 1, 0, None, None, None, 0),
    "kernel.fanotify": (300, 262, 0, 0),
    "kernel.io_uring": (425, 425, 1, None),
    "kernel.userfaultfd": (323, 282, 1),
    "kernel.hostname": (170, 161, b"x", -1),
    "kernel.vmsplice": (278, 75, -1, None, 0, 0),
    "kernel.compare": (312, 272, 1, 1, 0, 0, 0),
    "kernel.process_madvise": (440, 440, -1, None, 0, 0, 0),
    "kernel.local_descriptors": (154, None, 0, None, 0),
}
"""Each is called so that it cannot do harm where it is allowed; what counts is whether the kernel even looked at the
arguments. Refused by the filter is EPERM; any other answer means that the call was let in."""


def refused_outright(name, numbers):
    def function(facts):
        if name == "kernel.io_permissions" and not X86:
            raise Untestable("no such call on this machine")
        return errno_of(*numbers) not in (1, 38)

    return function


for _name, _numbers in CALLS.items():
    probe(_name)(refused_outright(_name, _numbers))


@probe("kernel.personality")
def _(facts):
    return syscall(135, 92, 0x0040000) >= 0


@probe("kernel.x32")
def _(facts):
    if not X86:
        raise Untestable("x86_64 only")
    return errno_of(0x40000000 + 39, None) == 0  # getpid


@probe("kernel.int80")
def _(facts):
    if not X86:
        raise Untestable("x86_64 only")
    # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return function() > 0


@probe("kernel.setuid")
def _(facts):
    os.setuid(0)
    return True


@probe("kernel.setgroups")
def _(facts):
    os.setgroups([0])
    return True


@probe("resources.memory")
def _(facts):
    size = facts["limits"]["memory"] + 64 * 1024 * 1024
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, size, 4096):
        block[offset] = 1
    return True


@probe("resources.forks")
def _(facts):
    children = []
    try:
        for _unused in range(facts["limits"]["pids"] + 20):
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            children.append(child)
        return True
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def fill(path, size):
    """Whether `size` bytes fit; what was written is gone again."""
    try:
        with open(path, "wb") as stream:
            for _unused in range(size // (1 << 20)):
                stream.write(b"x" * (1 << 20))
        return True
    finally:
        os.unlink(path)


@probe("resources.tmp")
def _(facts):
    return fill("/tmp/carboy-fill", facts["limits"]["memory"] // 4 + (32 << 20))


@probe("resources.shared_memory_files")
def _(facts):
    return fill("/dev/shm/carboy-fill", facts["limits"]["memory"] // 4 + (32 << 20))


@probe("resources.core_dumps")
def _(facts):
    return resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


@probe("resources.open_files")
def _(facts):
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 65536


@probe("resources.realtime")
def _(facts):
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    return True


@probe("resources.nice")
def _(facts):
    os.nice(-5)
    return True


@probe("resources.locked_memory")
def _(facts):
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] > 64 << 20
