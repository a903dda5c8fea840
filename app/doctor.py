"""What works on this host, what is missing and how to get it. Looks, and changes nothing.

Each check is a small function that never raises; what a backend can do is asked of the backend itself, which really
tries it.
"""

import asyncio
import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from app import keyrings, night
from app.core.model import BackendReport, Doctor, DoctorCheck
from app.core.units import plural
from app.paths import MAX_RUN_PATH, Paths

OLDEST = (3, 13)
USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
APPARMOR_SWITCH = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
"""Ubuntu 23.10 and later: 1 where an unprivileged user namespace is stripped of its capabilities."""


async def examine(reports: Sequence[BackendReport] = ()) -> Doctor:
    """All checks that can be made without a controller, with the backends' `reports`."""
    found = await asyncio.to_thread(_all_checks)
    return Doctor(checks=tuple(found), backends=tuple(reports))


def _all_checks() -> list[DoctorCheck]:
    checks = (
        python_check,
        platform_check,
        bubblewrap_check,
        namespaces_check,
        landlock_check,
        cgroup_check,
        keyring_check,
        config_check,
        runtime_check,
        node_check,
        night.sleep_check,
        night.logout_check,
    )
    return [*(_safely(check) for check in checks), *agent_checks()]


def _safely(check: Callable[[], DoctorCheck]) -> DoctorCheck:
    try:
        return check()
    except Exception as error:
        name = check.__name__.removesuffix("_check")
        return DoctorCheck(name=name, ok=False, text=f"could not be looked at: {type(error).__name__}: {error}")


def python_check() -> DoctorCheck:
    ok = sys.version_info[:2] >= OLDEST
    text = f"{platform.python_version()} ({sys.executable})"
    return DoctorCheck(name="python", ok=ok, text=text, fix="Python 3.13 or later: run `make setup`")


def platform_check() -> DoctorCheck:
    known = sys.platform in ("linux", "darwin")
    text = (
        f"{platform.system()} {platform.release()} {platform.machine()}, as {'root' if os.geteuid() == 0 else 'user'}"
    )
    return DoctorCheck(name="system", ok=known, text=text, fix="Linux or macOS is needed")


def bubblewrap_check() -> DoctorCheck:
    found = shutil.which("bwrap")
    text = found or "not installed: the built-in engine serves instead"
    return DoctorCheck(name="bubblewrap", ok=found is not None, text=text, fix="apt install bubblewrap")


def namespaces_check() -> DoctorCheck:
    """Whether user namespaces may be made; whether they work is what the backends' own trial shows."""
    if sys.platform != "linux":
        return DoctorCheck(name="namespaces", ok=False, text="only Linux has them", fix="Use a container backend")
    allowed = int(USER_NAMESPACES.read_text()) if USER_NAMESPACES.exists() else 0
    restricted = APPARMOR_SWITCH.exists() and APPARMOR_SWITCH.read_text().strip() == "1" and os.geteuid() != 0
    if allowed <= 0:
        fix = "As root: sysctl user.max_user_namespaces=15000"
        return DoctorCheck(name="namespaces", ok=False, text="user namespaces are switched off", fix=fix)
    if restricted:
        fix = f"Install bubblewrap with its AppArmor profile, or as root: sysctl kernel.{APPARMOR_SWITCH.name}=0"
        return DoctorCheck(name="namespaces", ok=False, text="AppArmor restricts user namespaces", fix=fix)
    return DoctorCheck(name="namespaces", ok=True, text=f"user namespaces allowed (at most {allowed})")


def landlock_check() -> DoctorCheck:
    from sidecar.kernel import landlock

    abi = landlock.abi()
    text = f"ABI {abi}" if abi else "this kernel has none: bottles run with the other layers"
    return DoctorCheck(name="landlock", ok=abi > 0, text=text, fix="Linux 5.13 or later with Landlock in its LSM list")


def cgroup_check() -> DoctorCheck:
    root = Path("/sys/fs/cgroup")
    if os.access(root / "memory", os.W_OK) and os.access(root / "pids", os.W_OK):
        return DoctorCheck(name="cgroups", ok=True, text="v1, and we may make groups")
    if not (root / "cgroup.controllers").exists():
        fix = "Boot with cgroup v2; limits are held by rlimits and a watchdog until then"
        return DoctorCheck(name="cgroups", ok=False, text="none that we may use", fix=fix)
    own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
    writable = os.access(root / own, os.W_OK)
    text = "v2, and we may make groups" if writable else "v2, but none that we may make groups in"
    fix = "A systemd user session delegates one; limits are held by rlimits and a watchdog until then"
    return DoctorCheck(name="cgroups", ok=writable, text=text, fix=fix)


def keyring_check() -> DoctorCheck:
    chosen = keyrings.choose()
    return DoctorCheck(name="keyring", ok=chosen.backend is not None, text=chosen.name or chosen.why, fix=keyrings.WAYS)


def config_check() -> DoctorCheck:
    paths = Paths.resolve()
    if not paths.bottles.is_dir():
        return DoctorCheck(name="config", ok=False, text=f"{paths.config} is empty", fix="Run: carboy init")
    from app.manifests import load_catalogue

    catalogue = load_catalogue(paths, None)
    broken = [entry for entry in (*catalogue.agents, *catalogue.bottles) if entry.error]
    agents, files = len(catalogue.agents), len(catalogue.bottles)
    text = f"{paths.config}: {agents} {plural('agent', agents)}, {files} {plural('bottle file', files)}"
    if broken:
        return DoctorCheck(name="config", ok=False, text=f"{text}, {len(broken)} broken", fix=broken[0].error or "")
    return DoctorCheck(name="config", ok=True, text=text)


def runtime_check() -> DoctorCheck:
    run = Paths.resolve().run
    place = next(folder for folder in (run, *run.parents) if folder.exists())
    ok = os.access(place, os.W_OK) and len(os.fsencode(run)) <= MAX_RUN_PATH
    text = f"{run}{'' if ok else ' cannot be written'}"
    return DoctorCheck(name="runtime", ok=ok, text=text, fix="Set XDG_RUNTIME_DIR or CARBOY_HOME to a folder of yours")


def node_check() -> DoctorCheck:
    found = shutil.which("npm")
    text = found or "npm is not installed: most agent CLIs come through it"
    return DoctorCheck(name="npm", ok=found is not None, text=text, fix="apt install npm, or https://nodejs.org")


def agent_checks() -> list[DoctorCheck]:
    """One for each provider: is its CLI here?"""
    from app.providers.registry import names, provider

    checks: list[DoctorCheck] = []
    for name in names():

        def look(name: str = name) -> DoctorCheck:
            chosen = provider(name)
            try:
                found = chosen.find(dict(os.environ))
            except Exception as error:
                fix = getattr(error, "hint", "") or chosen.install_hint
                return DoctorCheck(name=name, ok=False, text=str(error), fix=fix)
            version = f" {found.version}" if found.version else ""
            tried = f", tried with {chosen.tested_versions}" if chosen.tested_versions else ""
            text = f"{chosen.title}{version} ({found.host_path or found.program}){tried}"
            return DoctorCheck(name=name, ok=True, text="; ".join((text, *found.warnings)))

        checks.append(_safely(look))
    return checks


def terminal_check() -> DoctorCheck:
    """Of the terminal that asks, so it is the client's to make."""
    term, colors = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    utf8 = "utf" in (os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "").lower()
    ok = bool(term) and term != "dumb" and utf8
    size = ""
    with contextlib.suppress(OSError):
        found = os.get_terminal_size()
        size = f", {found.columns}x{found.lines}"
    text = f"TERM={term or '(unset)'} {colors or '16 or 256 colours'}{size}{'' if utf8 else ', no UTF-8 locale'}"
    return DoctorCheck(name="terminal", ok=ok, text=text, fix="Use a terminal with a UTF-8 locale, 80x24 or larger")
