"""What a carried container is shown, as mounts of the engine's own: they are made from outside, before it exists, as
nobody can enter it. Prepares folders on this host and speaks to no engine.

A mount's source is a path that the engine resolves, and follows links in. So masks are covered with copies of ours, in
the session's own folder, where nobody else writes. Only a folder that is pinned (`.git`, mounted onto itself) has its
source in the project: whether it was that one is proved from inside before the agent starts (`carried`).
"""

import contextlib
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.backends import workspace
from app.backends.base import BoxSpec
from app.backends.docker import placing
from app.backends.local import homes, mounts, placeholders
from app.backends.local.cover import GIT, MAX_COPY, Cover, own_worktrees
from app.backends.local.identity import Account
from app.backends.local.layout import checked_project
from app.backends.masks import WORKTREES
from app.errors import CarboyError

FOLDER = "covers"
"""Its name in a session's state folder."""
_MOST = (20_000, 64 * 1024 * 1024)
"""Files and bytes of one masked folder that is copied."""
_HINT = "Use `workspace: copy`, take `runtime` out of the bottle file, or set the mask's mode to `hide` or `allow`"


@dataclass(frozen=True)
class Bound:
    """`source` of this host seen at `target`."""

    source: str
    target: str
    writable: bool = False


@dataclass
class Shown:
    """All mounts of one container, and which folders of the project are pinned (relative to it)."""

    binds: list[Bound] = field(default_factory=list[Bound])
    pins: list[str] = field(default_factory=list[str])


def account(spec: BoxSpec) -> Account:
    """Whose files the agent makes. As root: the project's owner, where the agent writes to it: nothing can be mapped
    here, and files are to keep their owner. Raises CarboyError where that would be root."""
    own = Account.of_this_process()
    if not own.dropped or spec.project is None or spec.project_copy is not None:
        return own
    info = os.stat(checked_project(spec))
    if info.st_uid and info.st_gid:
        return Account(info.st_uid, info.st_gid, dropped=True)
    if not spec.project_writable:
        return own
    raise CarboyError(
        f"The project {spec.project} belongs to root, and under this runtime an agent's files cannot be given to it",
        "Use `workspace: copy`, or give the project to an ordinary user (chown -R)",
        "no_idmap",
    )


def prepare(spec: BoxSpec, who: Account) -> Shown:
    """Make what is to be shown, and place what stands for missing masked files. Raises CarboyError, OSError."""
    homes.prepare(spec)
    found = Shown([Bound(os.path.realpath(mount.source), mount.target, mount.writable) for mount in spec.mounts])
    found.binds.append(Bound(str((spec.state / "home").resolve()), spec.home, writable=True))
    _give(spec.state / "home", who)
    resolver = spec.state / FOLDER / "resolv.conf"
    resolver.parent.mkdir(mode=0o755, exist_ok=True)
    resolver.parent.chmod(0o755)
    found.binds.append(Bound(str(resolver.resolve()), "/etc/resolv.conf"))
    resolver.write_bytes(placing.NO_RESOLVER)
    resolver.chmod(0o644)
    hidden = resolver.with_name("empty")
    hidden.mkdir(mode=0o555, exist_ok=True)
    found.binds.append(Bound(str(hidden.resolve()), "/sys"))
    if spec.project is not None:
        project = checked_project(spec)
        shown = project if spec.project_copy is None else str(spec.project_copy.resolve())
        if spec.project_copy is not None:
            _give(spec.project_copy, who)
        found.binds.append(Bound(shown, project, spec.project_writable))
        with placeholders.placing(spec.state, shown, spec.masks, writable=spec.project_writable) as stand:
            cover = Covers(shown, spec.project_writable, into=found, at=project, state=spec.state)
            cover.apply(spec.masks)
            stand(cover.placeholders)
        _give(spec.state / "private", who)
    return found


@dataclass
class Covers(Cover):
    """The same masks as in `Cover`, noted as mounts instead of made. `at`: where the project is inside."""

    into: Shown = field(default_factory=Shown)
    at: str = ""
    state: Path = Path()

    def _begin(self) -> None:
        self._folder = (self.state / FOLDER).resolve()
        self._count = 0
        (self._folder / "empty-file").touch(mode=0o444)

    def _bind(self, source: str, path: str, *, writable: bool = False) -> None:
        self.into.binds.append(Bound(source, f"{self.at}/{path}", writable))

    def _empty(self, path: str, *, folder: bool) -> None:
        with self._opened(path) as fd:
            if stat.S_ISLNK(os.fstat(fd).st_mode):  # a mount onto it would go where it points to
                raise CarboyError(
                    f"The masked {path} is a link: it cannot be covered under this runtime", _HINT, "sandbox"
                )
        self._bind(str(self._folder / ("empty" if folder else "empty-file")), path)

    def _pin(self, path: str) -> None:
        if path not in self._pinned and self.writable:
            self._pinned.add(path)
            self._bind(f"{self.project}/{path}", path, writable=True)
            self.into.pins.append(path)

    def _read_only(self, path: str, kind: int) -> None:
        if stat.S_ISLNK(kind):
            self._empty(path, folder=False)
        elif self.writable:
            self._count += 1
            copy = self._folder / f"{self._count}-{path.replace('/', '-')[-80:]}"
            if stat.S_ISDIR(kind):
                self._copied(path, copy)
            else:
                copy.write_bytes(self._content(path))
                copy.chmod(0o644)
            self._bind(str(copy), path)

    def _copied(self, path: str, copy: Path) -> None:
        with self._opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            try:
                workspace.copy_opened(fd, copy, threading.Event(), most=_MOST)
            except workspace.TooLarge:
                raise CarboyError(
                    f"The masked folder {path} is too large to be shown read-only under this runtime", _HINT, "sandbox"
                ) from None

    def _content(self, path: str) -> bytes:
        content = super()._content(path)
        if len(content) == MAX_COPY:
            raise CarboyError(f"The masked file {path} is too large", _HINT, "sandbox")
        return content

    def _private_repository(self) -> None:
        self.placeholders.append(GIT)
        self._replaced.add(GIT)
        own = self.state.resolve() / "private/git"
        own.mkdir(exist_ok=True)
        self._bind(str(own), GIT, writable=True)

    def _show_worktrees(self) -> None:
        self._bind(own_worktrees(str(self.state.resolve() / "private"), self._names), WORKTREES, writable=True)
        for name in self._names:
            self._pin(f"{WORKTREES}/{name}")

    def _private_copy(self, path: str) -> None:
        """To be written in place: what is mounted cannot be replaced by renaming, as `git config` does."""
        own = self.state.resolve() / "private" / path.replace("/", "-").lstrip(".")
        folder = os.open(own.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            new = mounts.open_beneath(folder, own.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        finally:
            os.close(folder)
        with os.fdopen(new, "wb") as file:
            file.write(self._content(path))
        self._bind(str(own), path, writable=True)


def _give(folder: Path, who: Account) -> None:
    """As root: the account's from here on, links as links. What a session before had under another stays readable."""
    if not who.dropped or os.stat(folder).st_uid == who.uid:
        return
    for path, names, files, fd in os.fwalk(folder, follow_symlinks=False):
        del path
        for name in (*names, *files):
            os.chown(name, who.uid, who.gid, dir_fd=fd, follow_symlinks=False)
    os.chown(folder, who.uid, who.gid, follow_symlinks=False)


def forget(state: Path) -> None:
    """Of a session that is over: the copies are of no use to a resume."""
    shutil.rmtree(state / FOLDER, ignore_errors=True)


@contextmanager
def words(project: str, pins: tuple[str, ...], word: str) -> Iterator[list[str]]:
    """Put an empty file of that name into each pinned folder, as it is reached now past no link; gives their paths in
    the project, and removes them at the end."""
    root = os.open(project, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    folders: list[int] = []
    try:
        for pin in pins:
            folder = mounts.open_beneath(root, pin, os.O_PATH | os.O_DIRECTORY)
            folders.append(folder)
            os.close(mounts.open_beneath(folder, word, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield [f"{pin}/{word}" for pin in pins]
    finally:
        os.close(root)
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(word, dir_fd=folder)
            os.close(folder)
