"""What a launch goes on from. A value."""

from dataclasses import dataclass
from pathlib import Path

from app.controller.saved import Saved


@dataclass(frozen=True)
class Origin:
    """What a launch goes on from: a session that has ended (`fork` is False), or any session's snapshot."""

    slug: str
    session_id: str
    state: Path
    saved: Saved | None
    fork: bool
    backend: str
    image: str | None = None
    notes: tuple[str, ...] = ()
    asked: bool = True
    """Whether its agent is known to have begun a conversation."""
    earlier: tuple[str, ...] = ()
    """Sessions that a resume goes on from, this one included."""
