"""Where an engine may answer on this host, in the order in which they are tried. Looks; connects to nothing."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from app.errors import CarboyError, NotSupported

SYSTEM = ("/var/run/docker.sock", "/run/podman/podman.sock")
_PERSONAL = ("docker.sock", "podman/podman.sock")
_UNIX = "unix://"


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
