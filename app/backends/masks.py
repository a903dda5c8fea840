"""Pivot masks: project files through which an agent could plant code that the *operator* later runs. Pure.

A repository's hooks and config, agents' and editors' settings are kept from being written from inside a bottle. Build
files (Makefile, package.json) are not: their changes are shown, not prevented.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from app.core.schema import Mask
from app.errors import CarboyError

DEFAULT: tuple[Mask, ...] = (
    Mask(path=".git/hooks", mode="read-only"),
    Mask(path=".git/config", mode="read-only"),
    Mask(path=".git/config.worktree", mode="read-only"),
    Mask(path=".git/commondir", mode="read-only"),
    Mask(path=".carboy", mode="hide"),
    Mask(path=".claude", mode="read-only"),
    Mask(path=".mcp.json", mode="read-only"),
    Mask(path=".codex", mode="read-only"),
    Mask(path=".cursor", mode="read-only"),
    Mask(path=".gemini", mode="read-only"),
    Mask(path=".vscode", mode="read-only"),
    Mask(path=".idea", mode="read-only"),
    Mask(path=".envrc", mode="read-only"),
    Mask(path=".husky", mode="read-only"),
)
"""backends.md, pivot masks. A manifest's entry for the same path replaces one of these."""

WORKTREES = ".git/worktrees"
MOST_WORKTREES = 100
GUARD = f"{WORKTREES}/carboy-bottle-runs"
LOCKED = f"{GUARD}/locked"
"""Of no worktree, and locked: git passes it over, prunes it not, and so never removes the folder, which a bottle has
something mounted on, with the last of the worktrees."""
STAND_INS: dict[str, bytes] = {
    ".git/commondir": b".\n",
    ".git/config.worktree": b"",
    LOCKED: b"by carboy, as long as a bottle runs here\n",
}
"""What stands for a missing file where an empty folder would break git. Each says what git assumes without the file:
`commondir` names the folder that holds the config (an agent that could write it would point git to one of its own)."""

OWN_WORKTREES = Mask(path=WORKTREES, mode="read-only")
"""Not read-only but the bottle's own, with those in it that are there at launch: what is added outside meanwhile does
not come into it."""


def stand_in(path: str) -> bytes | None:
    """What stands for this file where it is missing; None for what an empty folder stands for."""
    parts = path.split("/")
    if parts[:2] == WORKTREES.split("/") and len(parts) == 4 and parts[3] == "config.worktree":
        return b""
    return STAND_INS.get(path)


def worktrees(masks: Iterable[Mask], names: Sequence[str]) -> list[Mask]:
    """For a repository with worktrees of these names elsewhere, in which the operator runs git: which config that reads
    is said by two files here. So many that they cannot be theirs: all of them as a whole. None where the manifest says
    what is to become of the folder."""
    masks = tuple(masks)
    allowed = any(mask.mode == "allow" and f"{WORKTREES}/".startswith(f"{mask.path}/") for mask in masks)
    if allowed or any(mask.path == WORKTREES for mask in masks):
        return []
    if len(names) > MOST_WORKTREES:
        return [Mask(path=WORKTREES, mode="read-only")]
    files = [f"{WORKTREES}/{name}/{file}" for name in names for file in ("commondir", "config.worktree")]
    return [OWN_WORKTREES, *(Mask(path=file, mode="read-only") for file in files)]


PRIVATE_COPIES = frozenset({".git/config", ".git/config.worktree"})
"""Read-only would break `git config`: of these the bottle gets a copy of its own, to read and write."""


def complete(own: Iterable[Mask] = (), named: Iterable[Mask] = ()) -> tuple[Mask, ...]:
    """The defaults and what git's config has `named` in the project, with the manifest's own masks over them, by path.
    Raises CarboyError for a path that leaves the project or is all of it."""
    chosen = {mask.path: mask for mask in DEFAULT}
    for mask in sorted(named, key=lambda mask: mask.path):
        if not _within(mask.path, chosen):
            chosen[mask.path] = mask
    for mask in own:
        path = _clean(mask.path)
        chosen[path] = Mask(path=path, mode=mask.mode)
        if mask.mode == "allow":
            for below in [other for other in chosen if other.startswith(path + "/")]:
                chosen[below] = Mask(path=below, mode="allow")
    return tuple(chosen[path] for path in sorted(chosen))


def _within(path: str, masked: Iterable[str]) -> bool:
    return any(path == mask or path.startswith(mask + "/") for mask in masked)


def describe(masks: Iterable[Mask]) -> list[str]:
    """A line for each, for a preflight."""
    texts = {"hide": "hidden", "read-only": "read-only", "allow": "open (by the manifest)"}
    lines: list[str] = []
    for mask in masks:
        copied = mask.mode == "read-only" and mask.path in PRIVATE_COPIES
        lines.append(f"{mask.path}: {'a private copy' if copied else texts[mask.mode]}")
    return lines


def _clean(path: str) -> str:
    pure = PurePosixPath(path)
    parts = [part for part in pure.parts if part != "."]
    if pure.is_absolute() or ".." in parts or not parts or "\0" in path:
        raise CarboyError(f"A mask is a path below the project: {path!r}", "Write it relative to the project", "mask")
    return "/".join(parts)
