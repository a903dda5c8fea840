"""What is on disk about a session's container, and its labels: how the next controller, or `cleanup`, finds it. Pure
but for its own small file."""

import contextlib
import hashlib
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from app.backends.base import BoxSpec
from app.core.model import Snapshot
from app.core.schema import Limits
from app.files import atomic_write, create, read_bounded

ENTERED = ("", "runc", "crun")
"""Runtimes whose containers share their engine's kernel: only those can be entered (decision 12)."""
FILE = "container.json"
HOME_FILE = ".engine-home"
"""Beside the sessions' state folders: what no other carboy of this path has, and no copy at another path."""
SESSION, SLUG, HOME, KIND = "carboy.session", "carboy.slug", "carboy.home", "carboy.kind"


class Facts(Snapshot):
    """Of one session. Written before the container exists."""

    url: str
    name: str
    id: str = ""
    image: str = ""
    tty: bool = True
    listen_port: int = 0
    image_base: str | None = None
    wall_clock: int | None = None
    bounds: str = ""
    carried: bool = False
    uid: int = 0
    gid: int = 0
    runtime: str = ""
    ptrace: bool = False
    """What a second session holder needs, where the first one was killed. 0: made by an older carboy. `bounds`: shell
    words for what an engine without control groups leaves unbounded. `carried`: it is not entered, and `uid` and `gid`
    are its agent's."""

    @property
    def own_kernel(self) -> bool:
        return self.runtime not in ENTERED

    def save(self, state: Path) -> None:
        atomic_write(state / FILE, self.model_dump_json().encode(), 0o600)


def again(known: Facts, slug: str, session_id: str, state: Path, run: Path, started: str) -> BoxSpec:
    """What a second session holder is told; its clock goes on from the container's start."""
    left = known.wall_clock
    if left is not None:
        with contextlib.suppress(ValueError):
            since = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", started).replace("Z", "+00:00"))
            left = max(1, left - round((datetime.now(UTC) - since).total_seconds()))
    return BoxSpec(
        slug=slug, session_id=session_id, state=state, run=run, project=None, listen_port=known.listen_port,
        tty=known.tty, image_base=known.image_base, limits=Limits(wall_clock=left),
    )  # fmt: skip


def load(state: Path) -> Facts | None:
    try:
        return Facts.model_validate_json(read_bounded(state / FILE, 65536, follow=False))
    except (OSError, ValidationError):
        return None


def name_of(slug: str, session_id: str) -> str:
    return f"carboy-{slug}-{session_id}"


def home_of(state: Path) -> str:
    """Which carboy's sessions these are: several may share an engine, also some whose folders have one path (in
    containers that were given its socket). `state` is a session's state folder."""
    place, drawn = state.parent / HOME_FILE, b""
    with contextlib.suppress(OSError):  # no folder yet, and so no container: nothing has this name
        if not place.exists():
            create(place, secrets.token_hex(8).encode())
        drawn = read_bounded(place, 64, follow=False)
    return hashlib.sha256(os.fsencode(state.parent.resolve()) + drawn).hexdigest()[:16]


def labels(slug: str, session_id: str, state: Path, kind: str = "agent") -> dict[str, str]:
    return {SESSION: session_id, SLUG: slug, HOME: home_of(state), KIND: kind}
