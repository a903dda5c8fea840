"""Which engine works here, found by really running a container from an empty image of our own: no registry is asked."""

import os
import platform
from collections.abc import Callable
from typing import Any

from app.backends.docker import facts, hosts, options, seccomp, tiny
from app.backends.docker.engine import OLDEST, Engine
from app.core.model import BackendReport
from app.core.schema import Limits
from app.errors import CarboyError

INSTALL = "Install one: `sudo apt install docker.io` (or podman), or https://docs.docker.com/engine/install/"
IMAGE = "carboy/probe"
CAPABILITIES = {"pause": True, "commit": True, "limits": True, "reattach": True, "gpu": False, "disk_quota": False}


async def probe(engine: Callable[[str], Engine]) -> tuple[BackendReport, str]:
    """The report, and the URL of the engine that works (empty where none does)."""
    try:
        urls = hosts.candidates(os.environ)
    except CarboyError as error:
        return _no(error.message, error.hint), ""
    if not urls:
        return _no("No Docker or Podman engine was found on this host", INSTALL), ""
    refusals: list[CarboyError] = []
    for url in urls:
        try:
            return await _try(engine(url)), url
        except CarboyError as error:
            refusals.append(error)
    return _no("; ".join(error.message for error in refusals), refusals[0].hint), ""


async def _try(engine: Engine) -> BackendReport:
    version, info = await engine.call(lambda client: (client.version(), client.info()))
    api = tuple(int(part) for part in str(version.get("ApiVersion", "0.0")).split(".")[:2])
    name = "podman" if "podman" in str(version.get("Components", "")).lower() else "docker"
    if api < OLDEST:
        raise CarboyError(
            f"The engine at {engine.url} is too old (API {version.get('ApiVersion')})", "20.10 or later", "docker_old"
        )
    await engine.call(_run_one)
    runtimes = sorted(str(runtime) for runtime in info.get("Runtimes") or {})
    notes = [] if "runsc" not in runtimes else ["the runtime runsc (gVisor) is available: `runtime: runsc`"]
    return BackendReport(
        name="docker", engine=name, works=True, isolation="container", version=str(version.get("Version", "")),
        capabilities=CAPABILITIES, notes=tuple(notes),
    )  # fmt: skip


def _run_one(client: Any) -> None:
    """A container with the walls of a bottle starts, runs, and is gone again. Raises CarboyError."""
    machine = platform.machine()
    if not client.images.list(name=f"{IMAGE}:{machine}"):
        client.api.import_image_from_data(tiny.image(machine), repository=IMAGE, tag=machine)
    made = client.containers.create(
        f"{IMAGE}:{machine}", entrypoint=[tiny.PATH], command=[], network_mode="none", cap_drop=["ALL"],
        user="65534:65534", labels={facts.KIND: "probe"},
        security_opt=["no-new-privileges:true", f"seccomp={seccomp.profile(machine)}"], **options.resources(Limits()),
    )  # fmt: skip
    try:
        made.start()
        made.reload()
        if made.status != "running":
            raise CarboyError(f"A container does not run: {made.attrs['State'].get('Error')}", "", "docker")
    finally:
        made.remove(force=True)


def _no(reason: str, fix: str) -> BackendReport:
    return BackendReport(
        name="docker", works=False, isolation="container", reason=reason, fix=fix, capabilities=CAPABILITIES
    )
