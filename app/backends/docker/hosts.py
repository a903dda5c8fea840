"""Where an engine may answer on this host, in the order in which they are tried. Looks; connects to nothing."""

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from app.errors import CarboyError, NotSupported

SYSTEM = ("/var/run/docker.sock", "/run/podman/podman.sock")
_PERSONAL = ("docker.sock", "podman/podman.sock")
_UNIX = "unix://"
SETTLES = 3.0


def candidates(environ: Mapping[str, str]) -> tuple[str, ...]:
    """URLs: the one that DOCKER_HOST names and no other, else the sockets that exist. Raises NotSupported."""
    named = environ.get("DOCKER_HOST", "")
    if named:
        if not named.startswith(_UNIX):
            raise NotSupported(
                f"The Docker backend speaks to an engine of this host; DOCKER_HOST names {named[:100]}",
                "Unset DOCKER_HOST, or let it name a unix socket",
            )
        return (named,)
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    places = [*SYSTEM, *(f"{runtime}/{name}" for name in _PERSONAL if os.path.isabs(runtime))]
    return tuple(_UNIX + place for place in places if _is_socket(place))


def is_here(pid: int, word: str) -> bool:
    """Whether this process of this host is the container whose command line has `word` in it. An engine in a virtual
    machine, or behind a forwarded socket, tells the number of a process of another kernel: here it is a stranger's.
    Blocks for a moment: one that has just started becomes its program a little later."""
    deadline = time.monotonic() + SETTLES
    while True:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if word.encode() in file.read(65536).split(b"\0"):
                    return True
        except OSError:
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)


def elsewhere(url: str) -> NotSupported:
    return NotSupported(
        f"The containers of the engine at {url} do not run on this host's kernel (a virtual machine such as Docker "
        "Desktop's, or another host), and it does not show them this host's folders",
        "Share the folders with it (Docker Desktop: Settings, Resources, File sharing), use an engine of this machine "
        "itself (`sudo apt install docker.io`), or the local backend",
    )


def socket_path(url: str) -> str:
    """The path in a URL of `candidates`."""
    if not url.startswith(_UNIX):
        raise CarboyError(f"Not a unix socket: {url[:100]}", "", "docker")
    return url.removeprefix(_UNIX)


def _is_socket(place: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(place).stat().st_mode)
    except OSError:
        return False
