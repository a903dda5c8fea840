"""A newer git, and gitleaks, from the next release of this machine's distribution: unpacked into a cache and made to
run beside the system's own (its libraries and loader by their paths). apt's configuration says where from.

Skips with the reason where this is no Debian, or nothing can be fetched.
"""

import fcntl
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.packages import cache

SUITES = ("trixie", "forky")
"""Debian's releases after the ones that carboy supports, the oldest first: git 2.47 and later."""
PACKAGES = ("git", "gitleaks", "patchelf")


def newer(program: str) -> Path:
    """A folder to be put in front of PATH: in it is `program`, and nothing else."""
    problem = "no apt here" if shutil.which("apt-get") is None else ""
    for suite in () if problem else SUITES:
        root = cache() / f"debian-{suite}"
        problem = _unpacked(root, suite)
        if not problem:
            return root / f"only-{program}"
    pytest.skip(f"{program} of a newer Debian cannot be fetched: {problem}")


def _unpacked(root: Path, suite: str) -> str:
    """Fetch once, whoever comes first; says why it cannot be."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / "done").exists():
            return ""
        try:
            _fetch(root, suite)
            _unpack(root)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            return f"{error} {said.decode(errors='replace').strip()[-300:]}"
        (root / "done").touch()
    return ""


def _run(*command: str | Path) -> str:
    ran = subprocess.run(command, check=True, capture_output=True, timeout=250, stdin=subprocess.DEVNULL)
    return ran.stdout.decode()


def _fetch(root: Path, suite: str) -> None:
    """The packages with all that they need, resolved by apt as for an empty system: nothing of this one is touched."""
    sources = _run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"
    )
    rows = [line.split() for line in sources.splitlines()]
    usual = [uri for uri, name, part in rows if part == "main" and "-" not in name]
    if not usual:
        raise OSError("apt knows no Debian archive")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "state/status").touch()
    (root / "etc/list").write_text(f"deb [signed-by={keyring}] {usual[0]} {suite} main\n")
    settings = {
        "Dir::State": root / "state", "Dir::State::status": root / "state/status", "Dir::Cache": root / "cache",
        "Dir::Etc::sourcelist": root / "etc/list", "Dir::Etc::sourceparts": "/dev/null", "Debug::NoLocking": "1",
        "Acquire::Languages": "none", "APT::Sandbox::User": "root",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    _run("apt-get", *options, "update")
    _run("apt-get", *options, "install", "-y", "--download-only", "--no-install-recommends", *PACKAGES)


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _unpack(root: Path) -> None:
    files = root / "root"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    for package in (root / "cache/archives").glob("*.deb"):
        _run("dpkg-deb", "-x", package, files)
    libraries = files / f"usr/lib/{platform.machine()}-linux-gnu"
    loader = next(libraries.glob("ld-linux-*.so.*"))
    core = files / "usr/lib/git-core"
    for path in (files / "usr/bin/git", files / "usr/bin/gitleaks", *core.rglob("*")):
        if path.is_file() and not path.is_symlink() and _begins(path) == b"\x7fELF":
            patch = ("--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, path)
            _run(loader, "--library-path", libraries, files / "usr/bin/patchelf", *patch)
    variables = f"GIT_EXEC_PATH={core} GIT_TEMPLATE_DIR={files}/usr/share/git-core/templates"
    for name, before in (("git", variables), ("gitleaks", "")):
        wrapper = root / f"only-{name}" / name  # the gate lets its git read what is beside the program's folder
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\n{before} exec {files}/usr/bin/{name} "$@"\n')
        wrapper.chmod(0o755)
    shutil.rmtree(root / "cache")
    shutil.rmtree(root / "state")
