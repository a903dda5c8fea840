"""What is on disk about a session's container, and its labels: how the next controller, or `cleanup`, finds it. Pure
but for its own small file."""

import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from app.core.model import Snapshot
from app.files import atomic_write, read_bounded

FILE = "container.json"
SESSION, SLUG, HOME, KIND = "carboy.session", "carboy.slug", "carboy.home", "carboy.kind"


class Facts(Snapshot):
    """Of one session. Written before the container exists."""

    url: str
    name: str
    id: str = ""
    image: str = ""

    def save(self, state: Path) -> None:
        atomic_write(state / FILE, self.model_dump_json().encode(), 0o600)


def load(state: Path) -> Facts | None:
    try:
        return Facts.model_validate_json(read_bounded(state / FILE, 65536, follow=False))
    except (OSError, ValidationError):
        return None


def name_of(slug: str, session_id: str) -> str:
    return f"carboy-{slug}-{session_id}"


def home_of(state: Path) -> str:
    """Which carboy's sessions these are: several may share an engine. `state` is a session's state folder."""
    return hashlib.sha256(os.fsencode(state.parent.resolve())).hexdigest()[:16]


def labels(slug: str, session_id: str, state: Path, kind: str = "agent") -> dict[str, str]:
    return {SESSION: session_id, SLUG: slug, HOME: home_of(state), KIND: kind}
