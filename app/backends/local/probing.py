"""Which local engine works on this host, found by really launching `true` with each, and what to do where none does.

The launch happens in a process of its own: a sandbox forks, and a controller has threads.
"""

import asyncio
import contextlib
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from app.backends.local.cgroup import stale
from app.core.model import BackendReport

ENGINES = ("bubblewrap", "nsbox")
PROBE_SECONDS = 30.0
_MAX_ANSWER = 65536


@dataclass(frozen=True)
class Finding:
    """Of one engine. `notes` are truths about a sandbox that works."""

    engine: str
    works: bool
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """What this host says about user namespaces; `None` where it has no such switch."""

    clone_switch: str | None = None
    maximum: str | None = None
    apparmor: str | None = None
    in_container: bool = False

    @classmethod
    def look(cls) -> "Host":
        return cls(
            clone_switch=_read("/proc/sys/kernel/unprivileged_userns_clone"),
            maximum=_read("/proc/sys/user/max_user_namespaces"),
            apparmor=_read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            in_container=os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"),
        )


async def probe() -> BackendReport:
    """The report of the local backend. Engines are tried in order; the first that works is taken."""
    if sys.platform != "linux":
        return _report(None, (), "Local bottles need Linux namespaces", "Use another backend (backend: docker)")
    findings: list[Finding] = []
    for engine in ENGINES:
        finding = await _try(engine)
        findings.append(finding)
        if finding.works:
            return _report(finding, tuple(findings[:-1]))
    reason = "; ".join(f"{finding.engine}: {finding.reason}" for finding in findings)
    return _report(None, tuple(findings), reason, fix(findings, Host.look()))


def fix(findings: list[Finding], host: Host) -> str:
    """What to do, exactly. Pure."""
    steps: list[str] = []
    missing = any("not installed" in finding.reason for finding in findings)
    if missing:
        steps.append("install bubblewrap: sudo apt-get install bubblewrap (or dnf, pacman, zypper)")
    if host.clone_switch == "0":
        steps.append("allow user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1")
    if host.maximum == "0":
        steps.append("allow user namespaces: sudo sysctl user.max_user_namespaces=15000")
    if host.apparmor == "1":
        text = "AppArmor keeps programs without a profile from using user namespaces"
        how = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        steps.append(f"{text}: give bwrap one (install the package apparmor-profiles), or {how}")
    if host.in_container and not steps:
        wanted = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
        steps.append(f"this is a container that forbids namespaces: start it with {wanted}, or run carboy on its host")
    if not steps:
        steps.append("use another backend (backend: docker)")
    return _sentence("; ".join(steps))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _report(works: Finding | None, passed_over: tuple[Finding, ...], reason: str = "", fix: str = "") -> BackendReport:
    notes = tuple(f"{finding.engine} was passed over: {finding.reason}" for finding in passed_over)
    return BackendReport(
        name="local",
        engine=works.engine if works else "",
        works=works is not None,
        isolation="process",
        version=f"on Linux {platform.release()}",
        reason=reason,
        fix=fix,
        capabilities={
            "pause": True,
            "limits": True,
            "reattach": True,
            "commit": True,
            "gpu": False,
            "disk_quota": False,
        },
        notes=(*notes, *(works.notes if works else ())),
    )


async def _try(engine: str) -> Finding:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.backends.local.trial", engine,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            out, trouble = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return Finding(engine, False, "it did not start in time")
    try:
        data = json.loads(out[:_MAX_ANSWER])
        return Finding(engine, data["works"] is True, str(data["reason"]), tuple(str(note) for note in data["notes"]))
    except (ValueError, KeyError, TypeError):
        words = trouble.decode(errors="replace").strip().splitlines() or ["no answer"]
        return Finding(engine, False, words[-1][:300])


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def remove_stale_groups(live: frozenset[str]) -> list[str]:
    """Control groups of sessions that are not live; only empty ones can be removed at all."""
    removed: list[str] = []
    for folder in stale(live):
        with contextlib.suppress(OSError):
            folder.rmdir()
            removed.append(f"control group {folder}")
    return removed
