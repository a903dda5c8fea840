"""Applies masks to the project, from inside, before the agent runs. Every step is by descriptor, below the project,
past no symlink: an earlier session may have prepared the place.

A folder that holds something masked is pinned by mounting it onto itself: a mountpoint cannot be renamed away and
replaced. What is missing is covered too, or the agent could create it: an empty folder stands there meanwhile.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.backends.local import mounts
from app.backends.local.finish import empty_tree
from app.backends.local.layout import PRIVATE
from app.backends.masks import (
    GUARD,
    LOCKED,
    MOST_WORKTREES,
    OWN_WORKTREES,
    PRIVATE_COPIES,
    STAND_INS,
    WORKTREES,
    stand_in,
    worktrees,
)
from app.core.schema import Mask

GIT = ".git"
_LINKS = "/run/.links"
MAX_COPY = 1024 * 1024
_OPEN_LINK = os.O_PATH | os.O_NOFOLLOW


@dataclass
class Cover:
    """One project's masks being applied. `placeholders` are the project-relative empty folders in use."""

    project: str
    writable: bool
    placeholders: list[str] = field(default_factory=list[str])
    _pinned: set[str] = field(default_factory=set[str])
    _replaced: set[str] = field(default_factory=set[str])
    _names: list[str] = field(default_factory=list[str])
    _root: int = -1

    def apply(self, masks: tuple[Mask, ...]) -> None:
        self._root = os.open(self.project, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._begin()
        try:
            masks = (*masks, *self._worktrees(masks))
            for mask in sorted(masks, key=lambda mask: mask.path):
                if mask.mode != "allow":
                    for path in self._spellings(mask.path):
                        self._mask(path, mask)
        finally:
            os.close(self._root)

    def _begin(self) -> None:
        os.mkdir(_LINKS, 0o755)

    def _worktrees(self, masks: tuple[Mask, ...]) -> list[Mask]:
        """Those of each folder that git has made for a worktree: there is no other with a `commondir`."""
        names: list[str] = []
        with contextlib.suppress(OSError), self._opened(WORKTREES, os.O_RDONLY | os.O_DIRECTORY) as folder:
            names = os.listdir(folder)
        if len(names) <= MOST_WORKTREES:
            names = self._names = [name for name in names if self._is_there(f"{WORKTREES}/{name}/commondir")]
        return worktrees(masks, names)

    def _is_there(self, path: str) -> bool:
        try:
            with self._opened(path):
                return True
        except OSError:
            return False

    def _spellings(self, path: str) -> list[str]:
        """The path, and the same in other letter cases where the project has such: on a shared disk the operator may
        look at it from a system that does not tell them apart."""
        first, _, rest = path.partition("/")
        with self._opened("", os.O_RDONLY | os.O_DIRECTORY) as folder:
            names = [name for name in os.listdir(folder) if name != first and name.casefold() == first.casefold()]
        return [path, *(f"{name}/{rest}" if rest else name for name in names)]

    @contextmanager
    def _opened(self, path: str, flags: int = _OPEN_LINK) -> Iterator[int]:
        fd = mounts.open_beneath(self._root, path or ".", flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def _mask(self, path: str, mask: Mask) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            last = depth == len(parts)
            try:
                with self._opened(here) as fd:
                    kind = os.fstat(fd).st_mode
            except FileNotFoundError:
                self._missing(here, mask)
                return
            if here in self._replaced:
                return
            if here == GIT and not last and stat.S_ISDIR(kind) and self.writable and self._is_empty(here):
                self._private_repository()  # no repository: what stands there is another session's placeholder
                return
            if last and here == WORKTREES and mask is OWN_WORKTREES and stat.S_ISDIR(kind) and self.writable:
                self._private_worktrees()
            elif last:
                self._cover(here, kind, mask)
            elif stat.S_ISDIR(kind):
                self._pin(here)
            else:
                # a link, or the file that stands for a worktree's .git: it must not be pointed elsewhere
                self._read_only(here, kind)
                return

    def _cover(self, path: str, kind: int, mask: Mask) -> None:
        if path in self._pinned:
            return
        self._pinned.add(path)
        if mask.mode == "hide" or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            self._empty(path, folder=stat.S_ISDIR(kind))
        elif mask.path in PRIVATE_COPIES and stat.S_ISREG(kind) and self.writable:
            self._private_copy(path)
        else:
            self._read_only(path, kind)
        if mask.mode == "read-only" and (stand_in(path) is not None or (stat.S_ISDIR(kind) and self._is_empty(path))):
            self.placeholders.append(path)  # perhaps another session's: whoever ends last removes it

    def _is_empty(self, path: str) -> bool:
        with self._opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            return not os.listdir(fd)

    def _empty(self, path: str, *, folder: bool) -> None:
        self._attach(empty_tree(folder=folder), path)

    def _attach(self, tree: int, path: str) -> None:
        try:
            with self._opened(path) as fd:
                mounts.attach_at(tree, fd)
        finally:
            os.close(tree)

    def _pin(self, path: str) -> None:
        if path not in self._pinned:
            self._pinned.add(path)
            with self._opened(path) as fd:
                self._attach(mounts.clone_tree("", folder=fd), path)

    def _read_only(self, path: str, kind: int) -> None:
        if stat.S_ISLNK(kind):
            self._empty(path, folder=False)
            return
        with self._opened(path) as fd:
            tree = mounts.clone_tree("", folder=fd)
        mounts.set_attributes(tree, mounts.ATTR_RDONLY, recursive=True)
        self._attach(tree, path)

    def _missing(self, path: str, mask: Mask) -> None:
        """Stand an empty folder there, and cover it. A missing `.git` becomes a private one: `git init` works, and
        what it makes is the bottle's, not a repository that the operator's shell would look into."""
        if not self.writable or path in self._pinned:
            return
        parent, _, name = path.rpartition("/")
        content = stand_in(path)
        # another bottle in this project may be as far as this one
        with self._opened(parent, os.O_RDONLY | os.O_DIRECTORY) as folder, contextlib.suppress(FileExistsError):
            if content is not None:
                _write_new(folder, name, content)
            else:
                os.mkdir(name, 0o755, dir_fd=folder)
        if path == GIT:
            self._private_repository()
            return
        if path == WORKTREES and mask is OWN_WORKTREES:
            self._private_worktrees()
            return
        self.placeholders.append(path)
        self._pinned.add(path)
        if content is not None:
            self._read_only(path, stat.S_IFREG)
        else:
            self._empty(path, folder=True)

    def _private_repository(self) -> None:
        self.placeholders.append(GIT)
        self._replaced.add(GIT)
        os.makedirs(f"{PRIVATE}/git", exist_ok=True)
        self._attach(mounts.clone_tree(f"{PRIVATE}/git"), GIT)

    def _private_worktrees(self) -> None:
        """A folder of the bottle's own, in which those stand that are there now: git can add others inside. Of one that
        is added outside meanwhile it sees nothing, or it would tell the operator's git there which config to read."""
        self._guard()
        self._pinned.add(WORKTREES)
        self._show_worktrees()

    def _guard(self) -> None:
        """Without it the operator's git would remove the folder with its last worktree, and what is mounted there."""
        self.placeholders += [WORKTREES, GUARD, LOCKED]
        with self._opened(WORKTREES, os.O_RDONLY | os.O_DIRECTORY) as folder, contextlib.suppress(FileExistsError):
            os.mkdir(os.path.basename(GUARD), 0o755, dir_fd=folder)
        with self._opened(GUARD, os.O_RDONLY | os.O_DIRECTORY) as folder, contextlib.suppress(FileExistsError):
            _write_new(folder, os.path.basename(LOCKED), STAND_INS[LOCKED])

    def _show_worktrees(self) -> None:
        trees: list[tuple[str, int]] = []
        for name in self._names:
            with self._opened(f"{WORKTREES}/{name}") as fd:
                trees.append((name, mounts.clone_tree("", folder=fd)))
        self._attach(mounts.clone_tree(own_worktrees(PRIVATE, self._names)), WORKTREES)
        for name, tree in trees:
            self._attach(tree, f"{WORKTREES}/{name}")
            self._pinned.add(f"{WORKTREES}/{name}")

    def _content(self, path: str) -> bytes:
        with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
            return os.read(fd, MAX_COPY)

    def _private_copy(self, path: str) -> None:
        """A copy that git can also replace by renaming. A mounted file cannot be replaced, but git follows links:
        so what is mounted there is a *link* to the copy, which only this bottle sees."""
        content, name = self._content(path), path.replace("/", "-").lstrip(".")
        folder = os.open(PRIVATE, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            copy = mounts.open_beneath(folder, name, flags, 0o644)
        finally:
            os.close(folder)
        os.write(copy, content)
        os.close(copy)
        link = f"{_LINKS}/{len(self._pinned)}"
        os.symlink(f"{PRIVATE}/{name}", link)
        tree = mounts.clone_tree(link, recursive=False, follow=False)
        mounts.set_attributes(tree, mounts.ATTR_RDONLY)
        self._attach(tree, path)


def own_worktrees(private: str, names: Iterable[str]) -> str:
    """The bottle's own folder of worktrees, with a place for each of these. One of a former launch whose worktree is
    gone is empty, and goes."""
    own = f"{private}/worktrees"
    os.makedirs(own, exist_ok=True)
    for name in os.listdir(own):
        with contextlib.suppress(OSError):
            os.rmdir(f"{own}/{name}")
    for name in names:
        os.makedirs(f"{own}/{name}", exist_ok=True)
    return own


def _write_new(folder: int, name: str, content: bytes) -> None:
    fd = mounts.open_beneath(folder, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
