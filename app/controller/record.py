"""What is on disk about one session: enough for the next controller to find it again, or to clear it away.

Written whole and atomically before each thing is made, so that whatever exists is on record. It holds the tokens of
our own sockets (the folder is 0700, the file 0600) and no credential.
"""

import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from app.core.model import BottleView, LaunchRequest, Snapshot
from app.core.overnight import Overnight
from app.core.routes import Grant
from app.core.schema import Amount, Manifest
from app.files import atomic_write, read_bounded
from app.processes.identity import ProcessId
from sidecar.contract import Placeholder, Policy, Route

log = logging.getLogger(__name__)

FILE = "session.json"
VERSION = 1
MAX_BYTES = 8 * 1024 * 1024


class Process(Snapshot):
    """A process of ours as it is recorded."""

    pid: int
    start: str

    @property
    def identity(self) -> ProcessId:
        return ProcessId(self.pid, self.start)

    @classmethod
    def of(cls, process: ProcessId) -> "Process":
        return cls(pid=process.pid, start=process.start)


class Applied(Snapshot):
    """The last approval that was put into force, written with it: a controller that is killed before it marks the
    proposal as approved finds it here."""

    proposal_id: str
    state: str
    at: float
    by: str = ""
    reason: str = ""
    scope: str = ""
    outcome: dict[str, Any] = Field(default_factory=dict)
    added: tuple[Route, ...] | None = None
    """What goes into the bottle file, where it only adds."""


class Noted(Snapshot):
    """The last change of routes that no proposal asked for, written with it: its row of the audit trail. A controller
    that is killed before it wrote the row finds it here; `id` is in the row as well."""

    id: str
    action: str
    actor: str
    at: float
    detail: dict[str, Any] = Field(default_factory=dict)


class Crossing(Snapshot):
    """A budget of this session that was used up, and what was done about it. `answered` once an `ask` was; `done` once
    a freeze or kill was: until then it is tried again."""

    scope: str
    policy: Literal["ask", "cutoff", "freeze", "kill"]
    at: float
    answered: bool = False
    done: bool = False


class OrderedCutoff(Snapshot):
    """The operator's own order to close the model's hosts."""

    at: float
    by: str = ""
    reason: str = ""
    scope: Literal["metered", "all"] = "metered"
    providers: tuple[str, ...] = ()
    end_streams: bool = False


class SessionRecord(Snapshot):
    """One session. `view` is what its last controller showed."""

    version: int = VERSION
    view: BottleView
    manifest: Manifest
    policy: Policy
    request: LaunchRequest | None = None
    """What was asked for, without its secrets: what a resume starts from."""
    project: str | None
    holder_token: str
    control_token: str
    holder: Process | None = None
    sidecar: Process | None = None
    ca_certificate: str = ""
    placeholders: tuple[Placeholder, ...] = ()
    canary_name: str = ""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Names of the secrets in use and where each came from."""
    lasting: tuple[Route, ...] | None = None
    """The routes without what is allowed for a while; None: all of the policy's."""
    grants: tuple[Grant, ...] = ()
    former: tuple[tuple[Route, ...], ...] = ()
    """Routes that were in force before, the newest first: proposals may have been made from them."""
    applied: Applied | None = None
    noted: Noted | None = None
    resumed_from: str = ""
    """The folder in `aside` that this session goes on from, until it lives."""
    budget: dict[str, Amount] = Field(default_factory=dict)
    """This launch's own (`--budget`), by provider."""
    earlier: tuple[str, ...] = ()
    """The sessions that this one goes on from, the oldest first: a launch's budget is one for all of them."""
    shutdown: Literal["ask", "cutoff", "freeze", "kill"] | None = None
    """The operator's choice for this session, in place of the manifest's."""
    crossings: dict[str, Crossing] = Field(default_factory=dict)
    cutoff: OrderedCutoff | None = None
    overnight: Overnight = Overnight()
    disk_limit: int = 0
    """Bytes, in place of the manifest's, since the operator let a full one go on; 0: the manifest's."""
    disk_full: int = 0
    """Paused for its disk, at so many bytes."""

    def save(self, folder: Path) -> None:
        atomic_write(folder / FILE, self.model_dump_json(by_alias=True).encode(), 0o600)


def load(folder: Path) -> SessionRecord | None:
    """The record in a session's state folder; None where there is none that this version can read."""
    try:
        return SessionRecord.model_validate_json(read_bounded(folder / FILE, MAX_BYTES, follow=False))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be read: %s", folder / FILE, type(error).__name__)
        return None


def all_sessions(bottles: Path) -> dict[str, SessionRecord | None]:
    """Every session folder below `bottles`, by slug, with its record if it has a readable one."""
    try:
        names = sorted(entry.name for entry in bottles.iterdir() if entry.is_dir() and not entry.is_symlink())
    except FileNotFoundError:
        return {}
    return {name: load(bottles / name) for name in names}
