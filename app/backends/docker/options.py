"""From a BoxSpec to what the engine is asked to create: hardening, limits, labels. Pure, but for our own file limit."""

import resource
from collections.abc import Sequence
from typing import Any

from app.backends.base import BoxSpec
from app.backends.docker import facts, script
from app.backends.docker.covering import Bound
from app.backends.local.finish import HIDDEN_PROC
from app.backends.local.layout import DEFAULT_MEMORY, MIB, TMP_SHARE
from app.core.schema import Limits

OPEN_FILES = (1024, 65536)
PROCESSES = 32768
"""Of one user on the host; the limit of a bottle is its `pids`. Podman lowers its own to the kernel's pid_max, which is
never less."""
KERNEL_THREADS, THREADS_EACH = 256, 8
"""Of gVisor on the host: of itself, and for each process in it (measured: six). At the host's limit all of it ends."""
MASKED = (*(f"/proc/{name}" for name in HIDDEN_PROC), "/proc/interrupts", "/proc/1/mem", "/proc/1/task")
"""What the engine hides in a container that it starts for us and that is not entered: see `entering`."""
LOG_BYTES = 8 * MIB
"""What the engine itself keeps of the agent's output: a re-attachment after the holder's death replays it."""


def container(
    spec: BoxSpec, image: str, folder: str, user: tuple[int, int], seccomp: str, *, podman: bool = False
) -> dict[str, Any]:
    """The arguments of the SDK's `containers.create`."""
    limits = spec.limits
    memory = limits.memory or DEFAULT_MEMORY
    return (
        {
            "image": image,
            "name": facts.name_of(spec.slug, spec.session_id),
            "entrypoint": [
                "/bin/sh",
                f"{script.INSIDE}/{script.GATE}",
                spec.session_id,
            ],  # the name: see `hosts.is_here`
            "command": [],
            "labels": facts.labels(spec.slug, spec.session_id, spec.state),
            "hostname": spec.hostname[:63],
            "user": f"{user[0]}:{user[1]}",
            "working_dir": "/",
            "tty": spec.tty,
            "stdin_open": spec.tty,
            "network_mode": "none",
            "ipc_mode": "private",
            "init": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true", f"seccomp={seccomp}"],
            "healthcheck": {"test": ["NONE"]},
            "volumes": {folder: {"bind": script.INSIDE, "mode": "ro"}},
            "tmpfs": temporary(memory),
            "shm_size": max(memory // TMP_SHARE, 64 * MIB),
            "log_config": {"type": "json-file", "config": {"max-size": str(LOG_BYTES), "max-file": "1"}},
            "runtime": spec.runtime,
        }
        | resources(limits, podman=podman)
    )


def carried(wanted: dict[str, Any], session_id: str, binds: Sequence[Bound], *, own_kernel: bool) -> None:
    """Change the arguments of `container` for one that cannot be entered."""
    wanted["entrypoint"] = ["/bin/sh", "-c", script.WAIT, "sh", session_id]
    wanted["volumes"] = [f"{one.source}:{one.target}:{'rw' if one.writable else 'ro'}" for one in binds]
    if own_kernel:
        # what the host counts are the threads of that kernel; what the bottle has are processes inside
        pids = wanted["pids_limit"]
        wanted["pids_limit"] = pids * THREADS_EACH + KERNEL_THREADS
        wanted["ulimits"].append({"Name": "nproc", "Soft": pids, "Hard": pids})


def helper(image: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    """Of the helper that enters a container for an ordinary user: the host's root folder, and what mounting takes."""
    return {
        "image": image,
        "name": name,
        "command": [],
        "labels": labels,
        "detach": True,
        "auto_remove": True,
        "user": "0:0",
        "network_mode": "none",
        "pid_mode": "host",
        "cap_drop": ["ALL"],
        "cap_add": list(_HELPER_CAPABILITIES),
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined", "no-new-privileges:true"],
        "volumes": {"/": {"bind": "/host", "mode": "rw"}},
        "environment": {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    }


_HELPER_CAPABILITIES = (
    "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "SETUID", "SETGID", "SETPCAP", "CHOWN", "FOWNER", "DAC_OVERRIDE", "KILL",
)  # fmt: skip
"""To look into the container's /proc entries, enter its namespaces, mount there, and step down again."""


def resources(limits: Limits, *, podman: bool = False) -> dict[str, Any]:
    memory = limits.memory or DEFAULT_MEMORY
    found: dict[str, Any] = {
        "mem_limit": memory,
        "memswap_limit": memory,  # memory and swap together: no swap
        "pids_limit": limits.pids or script.DEFAULT_PIDS,
        "ulimits": [
            {"Name": "nofile", "Soft": OPEN_FILES[0], "Hard": _most(resource.RLIMIT_NOFILE, OPEN_FILES[1])},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
    }
    if podman:  # asks for a million by itself, and could not give more than it has
        most = _most(resource.RLIMIT_NPROC, PROCESSES)
        found["ulimits"].append({"Name": "nproc", "Soft": most, "Hard": most})
    if limits.cpus is not None:
        found["nano_cpus"] = int(limits.cpus * 1e9)
    return found


def _most(kind: int, wanted: int) -> int:
    """An engine of this host can give no more than what it has itself; what we have is the best guess at that."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def temporary(memory: int) -> dict[str, str]:
    """Memory file systems: left out of a snapshot, and bounded."""
    share = max(memory // TMP_SHARE, 64 * MIB)
    return {
        "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={share}",  # noqa: S108 - the container's own
        "/var/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={share}",  # noqa: S108
        "/run": f"rw,noexec,nosuid,nodev,mode=755,size={16 * MIB}",
    }
