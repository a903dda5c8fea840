"""Keeps a process that others are forked from small: no code that nothing here runs, no pages only its start used."""

import contextlib
import ctypes
import importlib.util
import mmap
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

UNUSED = ("mcp", "mcp.server")
"""Packages of which single modules are used, while their own `__init__` brings in clients and servers."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""
_LARGEST, _KEPT = 32 << 20, 64 << 20
"""Bytes: of a block that comes from the heap, the most that glibc takes; of free heap that is kept."""


class _Later(ModuleType):
    """A package whose `__init__` runs when somebody asks it for more than a module of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks for
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        object.__setattr__(self, "__class__", ModuleType)  # asked once only
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(self)
        return getattr(self, name)


def leave_out(names: tuple[str, ...] = UNUSED) -> None:
    """Have the packages `names` not run before they are needed. What is loaded, or not there, stays as it is."""
    for name in names:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = _Later(name)
        module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
        module.__package__, module.__path__ = name, list(spec.submodule_search_locations or ())
        sys.modules[name] = module


def keep_freed() -> None:
    """Have memory that is freed kept for what comes next, until `give_back`. A body of 5 MB is scanned by way of arrays
    as large as itself: taking each anew from the system, page by page, cost a quarter of the time."""
    with contextlib.suppress(AttributeError, OSError):  # glibc only
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Return what is freed to the system. Without the interpreter's lock; some milliseconds."""
    with contextlib.suppress(AttributeError, OSError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def let_go() -> None:
    """Unmap the pages of programs and libraries that are the same as on disk. Most were for the start alone; what is
    used again comes back from the system's cache, and is then shared."""
    give_back()
    libc = ctypes.CDLL(None)
    try:
        text = Path("/proc/self/smaps").read_text()
    except OSError:  # not Linux
        return
    start = size = 0
    for line in text.splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):  # 7f12a-7f13b r-xp 0000 08:01 1234 /usr/lib/x.so
            low, _, high = fields[0].partition("-")
            start, size = int(low, 16), 0
            if fields[1] in ("r-xp", "r--p") and len(fields) > 5 and fields[5].startswith("/"):
                size = int(high, 16) - start
        elif fields[0] == "Anonymous:" and size and fields[1] == "0":  # nothing of it was ever written
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)
