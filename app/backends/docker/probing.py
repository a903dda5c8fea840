"""Which engine works here, found by really running a container from an empty image of our own: no registry is asked."""

import asyncio
import io
import os
import platform
import re
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.backends.docker import facts, hosts, options, seccomp, tiny
from app.backends.docker.engine import OLDEST, Engine
from app.core.model import BackendReport
from app.core.schema import Limits
from app.errors import CarboyError

INSTALL = "Install one: `sudo apt install docker.io` (or podman), or https://docs.docker.com/engine/install/"
STARTS = (
    ("dockerd", "Docker", "`sudo systemctl start docker`"),
    ("podman", "Podman", "`systemctl --user start podman.socket` (as root: without `--user`)"),
)
"""An engine's program, its name, and what makes it listen."""
IMAGE = "localhost/carboy/probe"
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
CAPABILITIES = {"pause": True, "commit": True, "limits": True, "reattach": True, "gpu": False, "disk_quota": False}
NO_CONTROL = (
    "this rootless engine has no control groups: memory and processes are bounded by resource limits and a watchdog, "
    "`limits.cpus` is not held"
)
ELSEWHERE = (
    "its containers do not run on this host's kernel (a virtual machine): bottles have masked files as copies, and "
    "`git config` in a project fails"
)
_SHARED = "/shared"
_NOBODY = "65534:65534"


async def probe(engine: Callable[[str], Engine]) -> tuple[BackendReport, str]:
    """The report, and the URL of the engine that works (empty where none does)."""
    try:
        urls = hosts.candidates(os.environ)
    except CarboyError as error:
        return _no(error.message, error.hint), ""
    if not urls:
        return _no(*_absent()), ""
    refusals: list[CarboyError] = []
    for url in urls:
        try:
            return await _try(engine(url)), url
        except CarboyError as error:
            refusals.append(error)
    return _no("; ".join(error.message for error in refusals), refusals[0].hint), ""


def _absent() -> tuple[str, str]:
    """What is said where no socket is there, and how to get one."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"  # a user's own often lacks the second
    for program, title, start in STARTS:
        if shutil.which(program, path=path):
            return f"{title} is installed, and does not run", f"Start it: {start}"
    return "No Docker or Podman engine was found on this host", INSTALL


async def _try(engine: Engine) -> BackendReport:
    version = await engine.call(lambda client: client.version())
    api = tuple(int(part) for part in str(version.get("ApiVersion", "0.0")).split(".")[:2])
    if api < OLDEST:
        raise CarboyError(
            f"The engine at {engine.url} is too old (API {version.get('ApiVersion')})", "20.10 or later", "docker_old"
        )
    if engine.rootless and not engine.podman:
        raise CarboyError(
            f"The engine at {engine.url} is a rootless Docker: an agent's files would not be its user's",
            "Use rootless Podman (`systemctl --user start podman.socket`), or Docker's system service",
            "docker_rootless",
        )
    with tempfile.TemporaryDirectory(prefix="carboy-") as folder:
        walls = await asyncio.to_thread(seccomp.option, Path(folder), platform.machine(), as_file=engine.podman)
        await engine.call(lambda client: _run_one(client, walls, engine, Path(folder)))
    name = "podman" if engine.podman else "docker"
    notes = [] if engine.controls else [NO_CONTROL]
    notes += [ELSEWHERE] if engine.elsewhere else []
    return BackendReport(
        name="docker", engine=name, works=True, isolation="container", version=_version(version, engine),
        capabilities=CAPABILITIES, notes=tuple(notes),
    )  # fmt: skip


def _version(said: Mapping[str, Any], engine: Engine) -> str:
    """With the names that may stand behind `runtime:` in a bottle file."""
    more = sorted(
        name for name in engine.runtimes if not name.startswith("io.containerd.") and name not in facts.ENTERED
    )
    words = f" (runtimes: {', '.join(more)})" if more and not engine.podman else ""
    return str(said.get("Version", "")) + words


def _run_one(client: Any, walls: str, engine: Engine, folder: Path) -> None:
    """A container with the walls of a bottle starts, runs, and is gone again. Whether it is a process of this host, and
    where it is not, whether it is shown this host's folders. Raises CarboyError."""
    machine, word = platform.machine(), secrets.token_hex(8)
    made = client.containers.create(
        _image(client, machine), entrypoint=[tiny.PATH, word], command=[], network_mode="none", init=True,
        cap_drop=["ALL"], user=_NOBODY if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}",
        labels={facts.KIND: "probe"}, security_opt=["no-new-privileges:true", f"seccomp={walls}"],
        volumes={str(folder): {"bind": _SHARED, "mode": "ro"}}, **options.resources(Limits(), podman=engine.podman),
    )  # fmt: skip
    try:
        made.start()
        made.reload()
        if made.status != "running":
            raise CarboyError(f"A container does not run: {made.attrs['State'].get('Error')}", "", "docker")
        engine.elsewhere = not hosts.is_here(int(made.attrs["State"]["Pid"]), word)
        if engine.elsewhere and (engine.podman or not _shares(client, made, folder, word)):
            raise hosts.elsewhere(engine.url)
    finally:
        made.remove(force=True)


def _shares(client: Any, made: Any, folder: Path, word: str) -> bool:
    """Whether a file that is written here now is in the container too."""
    (folder / word).write_text(word)
    try:
        pieces, _ = client.api.get_archive(made.id, f"{_SHARED}/{word}")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            file = archive.extractfile(word)
            return file is not None and file.read(64) == word.encode()
    except Exception as error:
        if getattr(error, "response", None) is None and not isinstance(error, (tarfile.TarError, KeyError)):
            raise
        return False


def _image(client: Any, machine: str) -> str:
    name = f"{IMAGE}:{machine}"
    if not client.api.images(name=IMAGE, quiet=True):
        import_image(client, tiny.image(machine), IMAGE, machine)
    return name


def import_image(client: Any, source: bytes | Path, repository: str, tag: str) -> str:
    """The new image's id. Named by a second call: Podman 4 does not heed the tag of an import."""
    api = client.api
    take = api.import_image_from_data if isinstance(source, bytes) else api.import_image_from_file
    said = str(take(source if isinstance(source, bytes) else str(source)))
    found = _IMAGE_ID.findall(said)
    if not found:
        raise CarboyError(f"The engine imported no image: {said[:300]}", "Look at the engine's own log", "docker")
    client.api.tag(found[-1], repository, tag)
    return found[-1]


def _no(reason: str, fix: str) -> BackendReport:
    return BackendReport(
        name="docker", works=False, isolation="container", reason=reason, fix=fix, capabilities=CAPABILITIES
    )
