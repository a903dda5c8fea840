"""What is on disk of sessions beyond their lives: snapshots, sessions that were set aside for a resume, the archive.

Names and moves only. Every move is one rename, so that a power cut leaves each thing in exactly one place.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from app.backends import parts, workspace
from app.controller import leftovers, record
from app.controller.record import SessionRecord
from app.core.model import Snapshot
from app.files import atomic_write, read_bounded
from app.paths import Paths, private_folder

FOLDER, FILE = "snapshot", "snapshot.json"
HELD = ("home", "private", workspace.FOLDER)
"""Folders of a session that hold what the agent wrote: in a snapshot, and moved on by a resume."""
ASIDE, ARCHIVE = "aside", "archive"


class Saved(Snapshot):
    """One snapshot. `files` is the archive beside it and `parts` those with its files (an older one has all in
    `files`); `image` is what of it lies in a container engine."""

    session_id: str
    at: float
    backend: str
    files: str
    parts: tuple[str, ...] = ()
    size: int
    image: str = ""
    reference: str = ""


def load(state: Path) -> Saved | None:
    """The session's snapshot; None where it has none that can be read."""
    try:
        return Saved.model_validate_json(read_bounded(state / FOLDER / FILE, 65536, follow=False))
    except (OSError, ValidationError):
        return None


def keep(state: Path, saved: Saved) -> None:
    """The snapshot counts from here on; what an earlier one, or an interrupted one, left is removed."""
    atomic_write(state / FOLDER / FILE, saved.model_dump_json().encode())
    parts.clear(state / FOLDER, frozenset({FILE, saved.files, *saved.parts}))


def tidy(state: Path, *, whole: bool) -> None:
    """Remove what attempts that were broken off left, but what the next one can take over (`whole`)."""
    taken, folder = load(state), state / FOLDER
    names = {FILE} if taken is None else {FILE, taken.files, *taken.parts}
    names |= {name for name, _ in parts.whole(folder)} if whole else set()
    parts.clear(folder, frozenset(names))


def archives(place: Path, saved: Saved) -> list[Path] | None:
    """A snapshot's files in its folder; None where some are gone."""
    found = [place / name for name in (saved.files, *saved.parts)]
    return found if all(path.is_file() for path in found) else None


def set_aside(paths: Paths, slug: str, session_id: str) -> Path:
    """Move a session's folder out of the way of one that goes on from it."""
    target = private_folder(paths.state / ASIDE) / f"{slug}.{session_id}"
    os.rename(paths.session_state(slug), target)
    return target


def put_back(paths: Paths, aside: Path) -> None:
    """Undo `set_aside`; what had been moved on already comes back first. Idempotent."""
    if not aside.is_dir():
        return
    back = paths.session_state(slug_of(aside))
    for name in HELD:
        if (back / name).exists() and not (aside / name).exists():
            os.rename(back / name, aside / name)
    if back.exists():
        leftovers.remove_tree(back)
    os.rename(aside, back)


def move_on(aside: Path, state: Path) -> list[str]:
    """What the agent wrote, from the former session to the next. Returns what there was."""
    moved: list[str] = []
    for name in HELD:
        if (aside / name).is_dir() and not (aside / name).is_symlink():
            os.rename(aside / name, state / name)
            moved.append(name)
    return moved


def finish(aside: Path, state: Path) -> None:
    """The next session lives: it takes over the snapshot and the transcripts, and the rest goes. Idempotent."""
    if not aside.is_dir():
        return
    if (aside / FOLDER).is_dir() and not (state / FOLDER).exists():
        os.rename(aside / FOLDER, state / FOLDER)
    _, _, session_id = aside.name.rpartition(".")
    for kept in sorted([*aside.glob("transcript*.cast"), *aside.glob("egress*.jsonl")]):
        own = not kept.name.startswith(leftovers.FORMER)
        os.rename(kept, state / (f"{kept.stem}-{session_id}{kept.suffix}" if own else kept.name))
    leftovers.remove_tree(aside)


def waiting(paths: Paths) -> list[Path]:
    """Sessions that are set aside."""
    return list(_folders(paths.state / ASIDE))


def slug_of(folder: Path) -> str:
    return folder.name.rpartition(".")[0]


def archived(paths: Paths) -> list[tuple[Path, SessionRecord]]:
    """The archive's sessions, the newest last."""
    found = [(folder, record.load(folder)) for folder in _folders(paths.state / ARCHIVE)]
    known = [(folder, kept) for folder, kept in found if kept is not None]
    return sorted(known, key=lambda one: one[1].view.ended_at or 0.0)


def archive(paths: Paths, slug: str, session_id: str) -> Path:
    target = private_folder(paths.state / ARCHIVE) / f"{slug}.{session_id}"
    os.rename(paths.session_state(slug), target)
    return target


def kept_ids(paths: Paths) -> frozenset[str]:
    """Session ids of all that is on disk: nothing of theirs may be cleaned up."""
    ids = {folder.name.rpartition(".")[2] for place in (ASIDE, ARCHIVE) for folder in _folders(paths.state / place)}
    known = record.all_sessions(paths.state / "bottles").values()
    ids |= {kept.view.session_id for kept in known if kept is not None}
    # a snapshot goes along to the next session, and names the one that it was taken of
    folders = [folder for place in (ASIDE, ARCHIVE, "bottles") for folder in _folders(paths.state / place)]
    return frozenset(ids | {taken.session_id for taken in map(load, folders) if taken is not None})


def _folders(place: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    yield from (Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
