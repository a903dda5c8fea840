"""Attacks on files: reading and writing what is outside, devices, mounts, masks. See `kit`."""

# ruff: noqa: S103, S105 - it attacks the very places, modes and addresses that these rules are about

import contextlib
import ctypes
import fcntl
import hashlib
import os
import stat
import struct

from kit import LIBC, Refused, Untestable, errno_of, probe, syscall

SECRET = "carboy-victim-secret"


def holds_secret(path):
    with open(path, errors="replace") as stream:
        return SECRET in stream.read(65536)


@probe("files.home_secret")
def _(facts):
    return holds_secret(facts["home_file"])


@probe("files.ssh_key")
def _(facts):
    return holds_secret(facts["ssh_key"])


@probe("files.other_project")
def _(facts):
    return "code.py" in os.listdir(facts["other_project"])


@probe("files.write_outside")
def _(facts):
    with open(os.path.join(facts["open_folder"], "planted"), "w") as stream:
        stream.write("x")
    return True


@probe("files.parent_of_project")
def _(facts):
    return facts["beside_project"] in os.listdir(os.path.dirname(facts["project"]))


@probe("files.dot_dot")
def _(facts):
    return holds_secret(os.path.join(facts["project"], *[".."] * 40, facts["home_file"].lstrip("/")))


@probe("files.proc_1_root")
def _(facts):
    return holds_secret("/proc/1/root" + facts["home_file"])


@probe("files.any_proc_root")
def _(facts):
    for name in os.listdir("/proc"):
        if name.isdigit():
            for part in ("root", "cwd"):
                try:
                    if holds_secret("/proc/{}/{}{}".format(name, part, facts["home_file"])):
                        return True
                except OSError:
                    continue
    return False


@probe("files.symlink_from_project")
def _(facts):
    link = os.path.join(facts["project"], "link-out")
    os.symlink(facts["home_file"], link)
    try:
        return holds_secret(link)
    finally:
        os.unlink(link)


@probe("files.hardlink_from_outside")
def _(facts):
    link = os.path.join(facts["project"], "hard-out")
    os.link(facts["home_file"], link)
    os.unlink(link)
    return True


def own_and_read_only(target, fd):
    # a file that the bottle can open by its name as well (libffi keeps itself open) was not brought in
    try:
        same = os.path.samestat(os.stat(target), os.fstat(fd))
        return same and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except OSError:
        return False


@probe("files.inherited_descriptors")
def _(facts):
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                target = os.readlink("/proc/self/fd/" + name)
            except OSError:
                continue
            if own_and_read_only(target, int(name)):
                continue
            if target.startswith("/") and "/fd" not in target and facts["facts"] not in target:
                return True
            if target.startswith("socket:"):
                return True
    return False


@probe("files.open_by_handle")
def _(facts):
    # a handle of the root folder's inode on ext4 and xfs: past every mount, where it is allowed
    for inode in (2, 128, 64):
        handle = struct.pack("=IiII", 8, 1, inode, 0)
        root = os.open("/usr", os.O_RDONLY)
        code = errno_of(304, 265, root, ctypes.create_string_buffer(handle), os.O_RDONLY)
        if code in (0, 116):  # ESTALE: it was allowed to ask
            return True
    return False


@probe("files.name_to_handle")
def _(facts):
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + b"\0" * 128)
    mount = ctypes.c_int()
    return syscall(303, 264, -100, b"/usr\0", buffer, ctypes.byref(mount), 0) == 0


@probe("files.shadow")
def _(facts):
    with open("/etc/shadow") as stream:
        return bool(stream.read())


@probe("files.host_passwd")
def _(facts):
    with open("/etc/passwd", "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest() == facts["accounts"]


@probe("files.root_home")
def _(facts):
    return bool(set(os.listdir("/root")) - set(facts["project"].split("/")))


@probe("files.write_usr")
def _(facts):
    with open("/usr/bin/carboy-planted", "w"):
        pass
    os.unlink("/usr/bin/carboy-planted")
    return True


@probe("files.write_etc")
def _(facts):
    with open("/etc/carboy-planted", "w"):
        pass
    os.unlink("/etc/carboy-planted")
    return True


@probe("files.write_root")
def _(facts):
    with open("/carboy-planted", "w"):
        pass
    os.unlink("/carboy-planted")
    return True


@probe("files.devices")
def _(facts):
    names = ("mem", "kmem", "port", "kmsg", "kvm", "fuse", "net/tun", "vhost-net", "vsock", "loop-control",
             "sda", "vda", "nvme0n1", "dm-0", "mapper/control", "uinput", "snapshot", "autofs")  # fmt: skip
    for name in names:
        try:
            os.close(os.open("/dev/" + name, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue
        return True
    return False


@probe("files.mknod_disk")
def _(facts):
    path = os.path.join(facts["project"], "disk")
    os.mknod(path, 0o60600, os.makedev(*facts["disk"]))
    try:
        os.close(os.open(path, os.O_RDONLY))
    finally:
        os.unlink(path)
    return True


@probe("files.cgroupfs")
def _(facts):
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"):
        if os.path.isdir(root):
            try:
                os.mkdir(root + "/carboy-planted")
            except OSError:
                continue
            os.rmdir(root + "/carboy-planted")
            return True
    return False


@probe("files.sysfs")
def _(facts):
    return bool(os.listdir("/sys/class"))


def writable(path):
    os.close(os.open(path, os.O_WRONLY))
    return True


@probe("files.core_pattern")
def _(facts):
    return writable("/proc/sys/kernel/core_pattern")


@probe("files.modprobe_path")
def _(facts):
    return writable("/proc/sys/kernel/modprobe")


@probe("files.user_namespaces_switch")
def _(facts):
    return writable("/proc/sys/user/max_user_namespaces")


@probe("files.sysrq")
def _(facts):
    return writable("/proc/sysrq-trigger")


@probe("files.kcore")
def _(facts):
    with open("/proc/kcore", "rb") as stream:
        return stream.read(4) == b"\x7fELF"


@probe("files.kernel_symbols")
def _(facts):
    with open("/proc/kallsyms") as stream:
        return any(line[:16].strip("0 ") for line in stream.readlines()[:200])


@probe("files.mount")
def _(facts):
    return LIBC.mount(b"x", b"/tmp", b"tmpfs", 0, None) == 0 and LIBC.umount2(b"/tmp", 2) == 0


@probe("files.remount_writable")
def _(facts):
    return LIBC.mount(None, b"/usr", None, ctypes.c_ulong(32 | 4096), None) == 0


@probe("files.unmount_mask")
def _(facts):
    target = os.path.join(facts["project"], ".git/hooks").encode()
    return LIBC.umount2(target, 2) == 0 or LIBC.umount2(b"/proc/sys", 2) == 0


@probe("files.chroot")
def _(facts):
    return syscall(161, 51, b"/tmp\0") == 0


@probe("files.new_mount_api")
def _(facts):
    return syscall(430, 430, b"tmpfs\0", 0) >= 0


@probe("files.clone_mount")
def _(facts):
    return syscall(428, 428, -100, b"/\0", 1) >= 0


@probe("files.pivot_root")
def _(facts):
    code = errno_of(155, 41, b"/tmp\0", b"/tmp\0")
    return code != 1  # EPERM; EINVAL or EBUSY would mean that it was tried


@probe("files.git_hook")
def _(facts):
    path = os.path.join(facts["project"], ".git/hooks/post-checkout")
    with open(path, "w") as stream:
        stream.write("#!/bin/sh\n")
    return True


@probe("files.git_hooks_chmod")
def _(facts):
    os.chmod(os.path.join(facts["project"], ".git/hooks"), 0o777)
    return True


@probe("files.git_replaced")
def _(facts):
    git = os.path.join(facts["project"], ".git")
    os.rename(git, git + ".moved")
    os.rename(git + ".moved", git)
    return True


@probe("files.editor_settings")
def _(facts):
    for name in (".vscode", ".idea", ".claude", ".cursor"):
        folder = os.path.join(facts["project"], name)
        try:
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "planted.json"), "w"):
                return True
        except OSError:
            continue
    return False


@probe("files.envrc")
def _(facts):
    path = os.path.join(facts["project"], ".envrc")
    with contextlib.suppress(OSError):
        os.rmdir(path)
    with open(path, "w"):
        return True


@probe("files.git_common_folder")
def _(facts):
    if not facts.get("repository", True):
        raise Untestable("the project has no repository: its .git is the bottle's own")
    path = os.path.join(facts["project"], ".git/commondir")
    with open(path, "w") as stream:
        stream.write("../evil\n")
    return True


@probe("files.git_config")
def _(facts):
    # whether it reached the host is looked at from there (`victims`): inside, writing works on a private copy
    with open(os.path.join(facts["project"], ".git/config"), "a") as stream:
        stream.write("[core]\n\tfsmonitor = planted\n")
    raise Untestable("judged from outside")


@probe("files.setuid_program")
def _(facts):
    with open("/proc/self/status") as stream:
        fields = dict(line.split(":", 1) for line in stream if ":" in line)
    if fields["NoNewPrivs"].strip() != "1":
        return True
    return any(int(fields[field], 16) for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))


@probe("files.set_uid_bit")
def _(facts):
    # outside, the project's files have its owner: whoever starts such a program there runs as that one
    path = os.path.join(facts["project"], "set-uid")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o4755))
    try:
        with open(path, "wb") as stream:
            stream.write(b"#!/bin/sh\n")
        with contextlib.suppress(OSError):
            os.chmod(path, 0o4755)
        return bool(os.stat(path).st_mode & stat.S_ISUID)
    finally:
        os.unlink(path)


@probe("files.lease")
def _(facts):
    # whoever opens the file outside would wait
    path = os.path.join(facts["project"], "leased")
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.fcntl(file, 1024, fcntl.F_WRLCK)
        return True
    finally:
        os.close(file)
        os.unlink(path)


@probe("files.seccomp_on")
def _(facts):
    with open("/proc/self/status") as stream:
        fields = dict(line.split(":", 1) for line in stream if ":" in line)
    return fields["Seccomp"].strip() != "2"


@probe("files.proc_1_memory")
def _(facts):
    # process 1 is the keeper: were it writable, it would be a place to run unseen and unlimited
    try:
        memory = os.open("/proc/1/mem", os.O_RDWR)
    except OSError as error:
        raise Refused(str(error)) from None
    try:
        return not stat.S_ISCHR(os.fstat(memory).st_mode)  # an engine covers it with /dev/null
    finally:
        os.close(memory)
