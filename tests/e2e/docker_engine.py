"""A Docker engine for the tests, where the machine can run one: from the distribution, with data root and socket
of its own, without a bridge or a rule in the host's firewall, and stopped afterwards. Its base image is made of the
host's own installed packages: no registry is asked.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from app.backends.docker.probing import import_image

BASE = "localhost/carboy-test/base:host"
SEEDS = (
    "dash",
    "bash",
    "coreutils",
    "grep",
    "sed",
    "findutils",
    "python3",
    "git",
    "curl",
    "ca-certificates",
    "procps",
    "tar",
)
_LEFT_OUT = re.compile(r"/usr/(share/(doc|man|locale|info|lintian|bug)|include)/")
_MERGED = ("/bin", "/sbin", "/lib", "/lib64")
_FOLDERS = ("/tmp", "/proc", "/sys", "/dev", "/run", "/root", "/home", "/var/tmp", "/etc/alternatives")
_FILES = ("/etc/ld.so.cache", "/etc/ssl/certs/ca-certificates.crt")


PATH = os.environ.get("CARBOY_TEST_ENGINE_PATH", "")
"""A folder with another dockerd and what it starts: to try a version that the distribution does not have."""
OTHERS = os.environ.get("CARBOY_TEST_ENGINE", "")
"""The socket (`unix://…`) of a Docker engine that root started for a test as an ordinary user, who may use it."""


@contextmanager
def engine(
    kind: str = "docker", *, disk: int = 0, apart: bool = False, gvisor: bool = False, without: str = ""
) -> Iterator[str]:
    """The URL of an engine of that kind (`docker`, `podman`); skips with the reason where there can be none. An
    ordinary user gets a Podman of their own (rootless), and the Docker engine that CARBOY_TEST_ENGINE names. `disk`:
    bytes that all its images and containers may take. `apart`: its processes are not this host's, as in a virtual
    machine. `gvisor`: with the runtime `runsc`. `without`: a folder whose content it does not see."""
    if os.geteuid() != 0 and kind == "docker":
        if not OTHERS:
            pytest.skip("only root can start an engine of its own; CARBOY_TEST_ENGINE names one to be used")
        yield OTHERS
        _stop_containers(OTHERS)
        return
    program = {"docker": "dockerd", "podman": "podman"}[kind]
    path = os.pathsep.join(filter(None, (PATH, os.environ["PATH"])))
    if shutil.which(program, path=path) is None and shutil.which("apt-get") is not None:
        _install({"docker": ["docker.io"], "podman": ["podman", "catatonit"]}[kind])
    if shutil.which(program, path=path) is None:
        pytest.skip(f"{kind} is not installed, and could not be")
    if gvisor and shutil.which("runsc", path=path) is None and shutil.which("apt-get") is not None:
        _install(["runsc"])
    if gvisor and shutil.which("runsc", path=path) is None:
        pytest.skip("gVisor (runsc) is not installed, and could not be")
    root = Path(tempfile.mkdtemp(prefix=f"cb-{kind}-"))
    root.chmod(0o755)
    url = f"unix://{root}/engine.sock"
    if disk:
        (root / "data").mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={disk}", "carboy-test", root / "data"]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            shutil.rmtree(root)
            pytest.skip("a small file system for the engine cannot be mounted here")
    if gvisor:  # releases before 2023 take a newer kernel's network namespace for the host's, unless told of none
        runtimes = {"runsc": {"path": shutil.which("runsc", path=path), "runtimeArgs": ["--network=none"]}}
        (root / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))
    hide = ("sh", "-c", f'mount -t tmpfs none {without} && exec "$@"', "sh") if without else ()
    under = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *hide) if apart else ()
    process = start(kind, root, path, under)
    try:
        _wait(process, root / "engine.sock", root / "log")
        yield url
    finally:
        _stop_containers(url)
        stop(root)
        for place in ("data/overlay", "data"):
            subprocess.run(["umount", root / place], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)


def start(
    kind: str, root: Path, path: str = os.environ["PATH"], under: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    """The engine in `root`; again, where it was stopped."""
    url = f"unix://{root}/engine.sock"
    if kind == "docker":
        command = ["dockerd", "-H", url, "-p", root / "pid", "--data-root", root / "data", "--exec-root", root / "exec"]
        command += ["--bridge", "none", "--iptables=false", "--live-restore", "--config-file", root / "daemon.json"]
        if not (root / "daemon.json").exists():
            (root / "daemon.json").write_text("{}")
    else:
        command = ["podman", "--root", root / "data", "--runroot", root / "run", "--cgroup-manager", "cgroupfs"]
        command += ["--events-backend", "file", "system", "service", "-t", "0", url]
    with (root / "log").open("ab") as log:
        process = subprocess.Popen(
            [*under, *command], stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": path}
        )
    _RUNNING[root] = process
    return process


def _install(packages: list[str]) -> None:
    subprocess.run(["apt-get", "install", "-y", "-q", *packages], capture_output=True, timeout=300, check=False)


_RUNNING: dict[Path, subprocess.Popen[bytes]] = {}


def running(root: Path) -> subprocess.Popen[bytes]:
    """The engine's process, to be killed."""
    return _RUNNING[root]


def stop(root: Path) -> None:
    """Its containers run on."""
    process = _RUNNING.pop(root)
    if "unshare" in cast("list[Any]", process.args):  # heeds no SIGTERM, and takes the engine with it
        process.kill()
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def again(url: str, kind: str) -> None:
    """Bring back an engine that was stopped or killed; a busy machine may need a second try."""
    root = Path(url.removeprefix("unix://")).parent
    path = os.pathsep.join(filter(None, (PATH, os.environ["PATH"])))
    for _ in range(4):
        process = start(kind, root, path)
        try:
            return _wait(process, root / "engine.sock", root / "log")
        except pytest.skip.Exception:
            stop(root)
    pytest.fail("the engine does not come back")


def _wait(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    import docker

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if socket.exists():
            try:
                docker.DockerClient(base_url=f"unix://{socket}").ping()
                return
            except Exception:
                pass
        time.sleep(0.1)
    pytest.skip(f"an engine does not run here: {log.read_text(errors='replace')[-300:]}")


def _stop_containers(url: str) -> None:
    import docker

    try:
        for container in docker.DockerClient(base_url=url, timeout=20).containers.list(all=True):
            container.remove(force=True)
    except Exception:
        return


def import_base(url: str) -> None:
    """The base image: the seeds and all that they depend on, as this host has them."""
    import docker

    if not Path("/var/lib/dpkg/status").exists():
        pytest.skip("the base image is made of Debian packages, and this host has none")
    with tempfile.NamedTemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in _paths():
                archive.inodes = {}  # type: ignore[attr-defined]  # no hard links: their other name may be left out
                archive.add(path, arcname=path.lstrip("/"), recursive=False)
        file.flush()
        repository, _, tag = BASE.rpartition(":")
        client = docker.DockerClient(base_url=url, timeout=120)
        import_image(client, Path(file.name), repository, tag)


def _paths() -> list[str]:
    found = {*_MERGED, *_FOLDERS, *_FILES}
    for package in _closure():
        for name in (package, f"{package}:amd64", f"{package}:arm64"):
            listing = Path(f"/var/lib/dpkg/info/{name}.list")
            if listing.exists():
                found |= {_merged(line) for line in listing.read_text().splitlines() if line.startswith("/")}
    for link in Path("/etc/alternatives").iterdir():
        if os.path.realpath(link) in found:
            found.add(str(link))
            name = next((line for line in _alternative(link.name) if os.path.lexists(line)), "")
            found |= {name} - {""}
    return sorted(path for path in found if path != "/." and os.path.lexists(path) and not _LEFT_OUT.match(path))


def _alternative(name: str) -> list[str]:
    try:
        return [_merged(Path("/var/lib/dpkg/alternatives", name).read_text().splitlines()[1])]
    except (OSError, IndexError):
        return []


def _merged(path: str) -> str:
    top, slash, rest = path[1:].partition("/")
    return f"/usr/{top}/{rest}" if slash and f"/{top}" in _MERGED and os.path.islink(f"/{top}") else path


def _closure() -> set[str]:
    packages: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    for block in Path("/var/lib/dpkg/status").read_text(errors="replace").split("\n\n"):
        fields = dict(re.findall(r"(?m)^([A-Za-z-]+): (.*)$", block))
        if "installed" in fields.get("Status", ""):
            needs = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"
            packages[fields["Package"]] = [need for need in needs.split(",") if need.strip()]
            for virtual in filter(None, fields.get("Provides", "").split(",")):
                provided.setdefault(virtual.split()[0], fields["Package"])
    waiting, seen = list(SEEDS), set[str]()
    while waiting:
        name = waiting.pop()
        name = name if name in packages else provided.get(name, "")
        if not name or name in seen:
            continue
        seen.add(name)
        for need in packages[name]:
            choices = [choice.split()[0].partition(":")[0] for choice in need.split("|")]
            waiting += [choice for choice in choices if choice in packages or choice in provided][:1]
    return seen
