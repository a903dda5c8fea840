"""The kernel's mount and namespace calls, typed. Does what it is told, in the namespaces of the calling process.

Paths that something hostile may have prepared are opened with `open_beneath` and mounted by descriptor; nothing here
follows a symlink that it was not told to follow.
"""

import ctypes
import os
import struct

from sidecar.kernel.libc import syscall

# linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_IDMAP = 1, 2, 4, 8, 1 << 20
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, 0o2000000
_MOVE_FROM_EMPTY, _MOVE_TO_EMPTY = 0x4, 0x40
_AT_FDCWD, _AT_NOFOLLOW, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x100, 0x1000, 0x8000
_DETACH = 2
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08  # linux/openat2.h
_NS_GET_USERNS = 0xB701  # linux/nsfs.h

# linux/sched.h
NEW_NS, NEW_CGROUP, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    values = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _libc.mount(values[0], values[1], values[2], ctypes.c_ulong(flags), values[3])
    _check(result, f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Detach what is mounted there, now, however busy it is."""
    _check(_libc.umount2(os.fsencode(target), _DETACH), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    syscall("pivot_root", os.fsencode(new), os.fsencode(old))


def unshare(kinds: int) -> None:
    _check(_libc.unshare(kinds), "new namespaces")


def enter(namespace: int, kind: int = 0) -> None:
    """Join the namespace that the descriptor stands for."""
    _check(_libc.setns(namespace, kind), "setns")


def owner_of(namespace: int) -> int:
    """The user namespace that owns a namespace, as a new descriptor."""
    result = _libc.ioctl(namespace, ctypes.c_ulong(_NS_GET_USERNS))
    fd = _check(result, "user namespace of a namespace")
    os.set_inheritable(fd, False)
    return fd


def open_beneath(folder: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open `path` below the open folder: no symlink anywhere in it, no way out (openat2). Raises OSError."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    return syscall("openat2", folder, os.fsencode(path), how, len(how))


def clone_tree(path: str, *, folder: int = _AT_FDCWD, recursive: bool = True, follow: bool = True) -> int:
    """A detached copy of the mount tree at `path` (an empty path: at the descriptor `folder` itself)."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    flags |= (_AT_RECURSIVE if recursive else 0) | (0 if follow else _AT_NOFOLLOW) | (0 if path else _AT_EMPTY_PATH)
    return syscall("open_tree", folder, os.fsencode(path), flags)


def attach(tree: int, target: str) -> None:
    """Mount a detached tree at a path of ours."""
    syscall("move_mount", tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_FROM_EMPTY)


def attach_at(tree: int, target: int) -> None:
    """Mount a detached tree on what an open descriptor stands for."""
    syscall("move_mount", tree, b"", target, b"", _MOVE_FROM_EMPTY | _MOVE_TO_EMPTY)


def set_attributes(
    tree: int | str, attributes: int, *, recursive: bool = False, userns: int = 0, clear: int = 0
) -> None:
    """Change mount attributes of a detached tree, or of the mount at a path."""
    data = struct.pack("QQQQ", attributes, clear, 0, userns)
    flags = _AT_RECURSIVE if recursive else 0
    if isinstance(tree, str):
        syscall("mount_setattr", _AT_FDCWD, os.fsencode(tree), flags, data, len(data))
    else:
        syscall("mount_setattr", tree, b"", flags | _AT_EMPTY_PATH, data, len(data))
