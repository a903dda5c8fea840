"""Keeps the compiled rules of the outbound scan on disk, so that a process has them in milliseconds, not seconds.

The file holds rules only, never anything of a bottle. It is as trusted as the code: it lies in a private folder, and
one that others could have written is not read. What cannot be read or written costs time, nothing else.
"""

import gc
import hashlib
import logging
import os
import platform
import signal
import stat
import struct
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from sidecar import lean

log = logging.getLogger(__name__)

VARIABLE = "CARBOY_SCANS"
"""Names the folder. Without it the rules are compiled anew."""
MAX_BYTES = 64 * 1024 * 1024
COMPILE_SECONDS = 120.0
COMPILING = "compiling the rules of the scan, which takes 15 to 60 s, once for each version"
KEPT = 8
"""Files of other versions that stay: a development tree and an installed one share the folder."""
_MAGIC = b"carboy-rules-1\n"
_ENTRY = struct.Struct(">64sI")


def prepare() -> None:
    """Have the rules compiled in this process, and nothing left of the work: what a zygote forks is shared."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's would start threads, which no fork survives
    from sidecar.dlp import engine, hyperscan_matcher, injection

    folder = os.environ.get(VARIABLE)
    if folder:
        hyperscan_matcher.offer(make_once(Path(folder)))
    engine.shapes()
    injection.shapes(None)
    gc.collect()
    lean.give_back()


def known(folder: Path) -> bool:
    """Whether the rules lie there: if not, they are compiled first, which takes many seconds."""
    return _path(folder).exists()


def make_once(folder: Path) -> dict[str, bytes]:
    """What the file holds, which is made where it is not there."""
    path = _path(folder)
    if not (known := _read(path)):
        _compile_elsewhere()
        known = _read(path)
    return known


def make(folder: Path) -> None:
    """Compile, and write what came of it. In a process of its own: compiling leaves 30 MB of holes behind."""
    from sidecar.dlp import engine, hyperscan_matcher, injection
    from sidecar.dlp.matcher import backend

    if backend(None).name != "hyperscan":
        return  # nothing is compiled
    backend("hyperscan")  # tries a search when it is first asked for, and nothing is searched while it is recorded
    recording = hyperscan_matcher.Recording()
    engine.shapes()
    injection.shapes(None)
    _write(folder, recording.result())


def _path(folder: Path) -> Path:
    """Where the rules of this very code are kept."""
    source = Path(__file__).parent / "dlp"
    digest = hashlib.sha256(repr((sys.version, platform.machine(), metadata.version("hyperscan"))).encode())
    for file in sorted(source.rglob("*.py")):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return folder / f"rules-{digest.hexdigest()[:24]}.bin"


def _compile_elsewhere() -> None:
    try:
        command = [sys.executable, "-m", "sidecar.prepared", str(os.getpid())]
        subprocess.run(command, check=False, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("the rules could not be prepared: %s", type(error).__name__)


def _read(path: Path) -> dict[str, bytes]:
    """What the file holds; nothing where it is not ours alone, or not whole."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return {}
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        theirs = about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o022 or not stat.S_ISREG(about.st_mode)
        if theirs or about.st_size > MAX_BYTES:
            log.warning("%s is not used: others may write it", path)
            return {}
        data = file.read(MAX_BYTES)
    return _parsed(data)


def _parsed(data: bytes) -> dict[str, bytes]:
    if not data.startswith(_MAGIC):
        return {}
    at, found = len(_MAGIC), dict[str, bytes]()
    while at < len(data):
        if at + _ENTRY.size > len(data):
            return {}
        key, size = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if at + size > len(data):
            return {}
        found[key.decode("ascii", "replace")] = data[at : at + size]
        at += size
    return found


def _write(folder: Path, made: dict[str, bytes]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)  # not its parents: a state folder that was removed stays so
    fd, name = tempfile.mkstemp(dir=folder)  # 0600
    with os.fdopen(fd, "wb") as file:
        file.write(_MAGIC)
        for key, value in made.items():
            file.write(_ENTRY.pack(key.encode(), len(value)) + value)
    Path(name).replace(_path(folder))
    files = sorted(folder.glob("rules-*.bin"), key=lambda path: path.stat().st_mtime_ns)
    for old in files[:-KEPT]:
        old.unlink(missing_ok=True)


def _main(asker: int) -> None:
    """Compile for the process that asked, and end with it: nobody waits for the seconds of work that are left."""
    if sys.platform.startswith("linux"):
        from sidecar.kernel import libc

        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == asker:
        make(Path(os.environ[VARIABLE]))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
