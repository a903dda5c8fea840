"""The contract every backend keeps: one hostile process tree without a network, and one socket out of it.

A `Backend` makes a `Box`; a `Box` is one sandbox. `create` brings it up with nothing of the agent running in it,
`check` proves from inside that only the sidecar can be reached, `start` runs the agent on a pseudo-terminal that
outlives the controller. What a backend cannot do raises `NotSupported` with its name and the way round.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.core.model import BackendReport, Isolation
from app.core.schema import Limits, Mask
from app.errors import CarboyError, NotSupported
from sidecar.secret import Secret


@dataclass(frozen=True)
class Mount:
    """A host path that the sandbox sees. `target` is absolute; parents are made."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class FileIn:
    """A small file that exists in the sandbox only (CA bundle, provider config). Not for secrets: there are none."""

    target: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class BoxSpec:
    """All that a backend needs to make one sandbox. No secret is ever in here."""

    slug: str
    session_id: str
    state: Path
    """The session's state folder (0700), for the home and whatever the backend keeps."""
    run: Path
    """The session's runtime folder (0700), for sockets."""
    project: Path | None
    """Seen at the same absolute path inside; None for workspace `none`."""
    project_writable: bool = True
    project_copy: Path | None = None
    """Shown at the project's path in its place (`workspace: copy`)."""
    home: str = "/home/agent"
    """Inside; backed by `state/home`, so that it outlives the sandbox."""
    mounts: tuple[Mount, ...] = ()
    """Read-only runtime of the provider (the CLI, its interpreter)."""
    files: tuple[FileIn, ...] = ()
    """Placed before the agent starts; below `home` they are written into the backing folder once."""
    env: dict[str, str] = field(default_factory=dict[str, str])
    hostname: str = "bottle"
    listen_port: int = 7878
    limits: Limits = field(default_factory=Limits)
    masks: tuple[Mask, ...] = ()
    """Project-relative, already complete with the default pivot masks (`app.backends.masks`)."""
    engine: str | None = None
    image: str | None = None
    """What a container is made from, as `app.backends.docker.images` names it; None: the backend's own."""
    image_base: str | None = None
    """What the backend's own images start from, where the operator says it."""
    runtime: str | None = None
    tty: bool = True
    """Whether the agent will have a terminal: a container must know when it is made."""


@dataclass(frozen=True)
class Command:
    """What to run inside. `tty=False` gives pipes (headless): no terminal, stdout and stderr merged in order."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = field(default_factory=dict[str, str])
    rows: int = 24
    cols: int = 80
    tty: bool = True


@dataclass(frozen=True)
class Check:
    """One finding of the start-up self-test. `ok` means that the wall held (or, for `proxy`, that it answers)."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class ExecResult:
    code: int
    output: bytes
    timed_out: bool = False


@dataclass(frozen=True)
class Usage:
    """Of the whole process tree: bytes, count, seconds of CPU since the start."""

    memory: int
    pids: int
    cpu_seconds: float
    disk: int | None = None


@dataclass(frozen=True)
class Exit:
    """How the agent ended. `code` follows the shell: 128 + signal number where a signal ended it."""

    code: int
    at: float


class Terminal(ABC):
    """One attachment to an agent's terminal. Reading yields, first, a redraw of the screen as it is (VT bytes), then
    everything that follows. Closing it leaves the agent alone."""

    @abstractmethod
    def output(self) -> AsyncIterator[bytes]: ...

    @abstractmethod
    async def write(self, data: bytes) -> None: ...

    @abstractmethod
    async def resize(self, rows: int, cols: int) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...


class Box(ABC):
    """One sandbox. Methods are safe to call again after a controller restart, through `Backend.adopt`."""

    session_id: str
    engine: str = ""
    notes: Callable[[str, dict[str, Any]], None] | None = None
    """Called with what the sandbox tells by itself: `title {text}`, `activity {}`, `exited {code, at, reason}`."""

    @abstractmethod
    async def listener(self) -> socket.socket:
        """A duplicate of the listening socket on the sandbox's own loopback: what the sidecar accepts on."""

    @abstractmethod
    async def check(self) -> list[Check]:
        """Prove from inside that the proxy answers and that a raw address, DNS and the metadata address do not."""

    @abstractmethod
    async def start(self, command: Command) -> None:
        """Run the agent. Once only."""

    @abstractmethod
    async def attach(self, rows: int = 24, cols: int = 80) -> Terminal: ...

    @abstractmethod
    async def wait(self) -> Exit:
        """Wait for the agent's end. Returns at once where it has ended already."""

    @abstractmethod
    async def exec(self, argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None) -> ExecResult:
        """Run a command beside the agent, without a terminal; its whole process group is killed at the timeout."""

    @abstractmethod
    async def stop(self, grace: float = 5.0) -> None:
        """Ask the agent to end (SIGTERM, then the pid namespace's init is killed after `grace` seconds)."""

    @abstractmethod
    async def kill(self) -> None: ...

    @abstractmethod
    async def release(self) -> None:
        """Let go of everything but the state folder: sockets, holder, namespaces. Idempotent."""

    async def keep(self, values: dict[str, Secret]) -> None:
        """Hold these in memory as long as the sandbox lives, beyond the controller: what a restarted sidecar needs."""
        raise NotSupported(f"{type(self).__name__} cannot keep a sidecar's keys", "")

    async def kept(self, name: str) -> Secret:
        """What `keep` was given. Raises NotFound."""
        raise NotSupported(f"{type(self).__name__} cannot keep a sidecar's keys", "")

    async def pause(self) -> None:
        raise NotSupported(f"{type(self).__name__} cannot pause", "Stop the bottle instead")

    async def unpause(self) -> None:
        raise NotSupported(f"{type(self).__name__} cannot pause", "Stop the bottle instead")

    async def usage(self) -> Usage:
        raise NotSupported(f"{type(self).__name__} does not measure usage", "")

    async def unlinked(self) -> int:
        """Bytes on the disk of its folders that are in no folder any more, since only an open file holds them."""
        raise NotSupported(f"{type(self).__name__} does not look at open files", "")


Capability = Literal["pause", "commit", "limits", "reattach", "gpu", "disk_quota"]
Progress = Callable[[str], None]


class Backend(ABC):
    """Makes sandboxes of one kind. Cheap to construct; anything slow happens in `probe` and later."""

    name: str
    isolation: Isolation
    capabilities: frozenset[Capability] = frozenset()
    uses_images: bool = False
    """Whether its sandboxes are made from images, which bring the agent's CLI along."""

    @abstractmethod
    async def probe(self) -> BackendReport:
        """Whether it works here, found by really launching something; the reason and the fix where it does not."""

    @abstractmethod
    def plan(self, spec: BoxSpec) -> list[str]:
        """What `create` would make, one line each. No side effects."""

    @abstractmethod
    async def create(self, spec: BoxSpec, progress: Progress = lambda _: None) -> Box:
        """Bring up the sandbox, empty. On failure everything it made is gone again before the error is raised."""

    @abstractmethod
    async def adopt(self, slug: str, session_id: str, state: Path, run: Path) -> Box | None:
        """The running sandbox of that session, found by what is on disk and in the backend; None if it is dead."""

    async def rehold(self, slug: str, session_id: str, state: Path, run: Path) -> Box | None:
        """The running sandbox of a session whose holder was killed, with a new holder; None where it went with it."""
        del slug, session_id, state, run
        return None

    @abstractmethod
    async def cleanup(self, live: frozenset[str], kept: frozenset[str]) -> list[str]:
        """Remove what sessions not in `live` (session ids) left behind; returns a line for each thing removed. Of those
        in `kept` what a resume needs stays."""

    def runtime_problem(self, runtime: str | None) -> CarboyError | None:
        """Why a bottle cannot run under this container runtime; None where it can."""
        if not runtime:
            return None
        return NotSupported(
            f"The backend {self.name} has no container runtimes: a bottle cannot run under {runtime} there",
            "Write `backend: docker` beside it, or take `runtime` out of the bottle file",
        )

    async def layer(self, state: Path) -> int:
        """Bytes that a session's sandbox has written outside its state folder and the project."""
        del state
        return 0

    async def commit(self, state: Path, name: str) -> tuple[str, str]:
        """Save what of a session's sandbox lies outside its state folder: the image's id and its name for people, both
        empty where nothing does. The bottle runs on. Raises NotFound where the sandbox is gone."""
        del state, name
        return "", ""

    async def has_image(self, state: Path, image: str) -> bool:
        """Whether an image that `commit` made still exists."""
        del state, image
        return False

    async def discard(self, state: Path, image: str) -> None:
        """Remove an image that `commit` made; one that is still used stays."""
        del state, image

    async def preserve(self, state: Path) -> None:
        """A session ended badly: release what costs or endangers, keep what a resume needs outside its folder."""
        await self.forget(state)

    async def purge(self, state: Path, session_id: str) -> None:
        """Remove all that is left of a session outside its folder."""
        del session_id
        await self.forget(state)

    async def forget(self, state: Path) -> list[str]:
        """Remove what a dead session's sandbox left outside its own folders (in the project); a line for each thing.
        Idempotent."""
        del state
        return []
