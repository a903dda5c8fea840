"""What a bottle changed in its copy of the project, and bringing it back: two trees compared by content, by descriptor.

The copy is hostile. No link of either tree is followed, nothing is executed, git is never run; `.git` is left out as a
whole, since what is planted there runs at the operator's next command. Times prove nothing: contents are compared.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from app.backends.local import mounts
from app.backends.workspace import MAX_DEPTH, UNREADABLE, copy_content
from app.core.changed import Brought, Changed, Kind
from app.core.differences import unified
from app.core.schema import Mask
from app.core.text import printable
from app.errors import CarboyError, NotFound

LEFT_OUT = ".git"
MAX_CHANGES = 20_000
MAX_TEXT = 1024 * 1024
MAX_LINES = 20_000
MOST_NAMED = 8
_CHUNK = 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NONBLOCK


type Skip = Callable[[str], bool]
"""Whether a folder at this path is not looked into."""


def changes(project: Path, copy: Path, skip: Skip = lambda _: False) -> list[Changed]:
    """Everything that differs, by path. Raises OSError, or CarboyError where there is too much."""
    work = _Comparing(skip)
    with _root(project) as old, _root(copy) as new:
        work.folders(old, new, "", 0)
    return sorted(work.found, key=lambda change: change.path)


class _Comparing:
    """What cannot be read, is too deep or has no name in Unicode is `other`: one such entry hides no other."""

    def __init__(self, skip: Skip) -> None:
        self.found: list[Changed] = []
        self._skip = skip

    def folders(self, old: int | None, new: int, path: str, depth: int) -> None:
        before = set[str](() if old is None else os.listdir(old))
        names = sorted(os.listdir(new))
        if not path:
            before.discard(LEFT_OUT)
            names = [name for name in names if name != LEFT_OUT]
        for name in names:
            former = old if name in before else None
            before.discard(name)
            with self._entry(path + name):
                self._one(former, new, name, path + name, depth)
        if old is not None:
            for name in sorted(before):
                with self._entry(path + name):
                    self._gone(old, name, path + name, depth)

    @contextlib.contextmanager
    def _entry(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:  # it went while we looked
            pass
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            self._tell(path, "other")

    def _tell(self, path: str, kind: Kind, size: int = 0) -> None:
        name = os.fsencode(path).decode(errors="backslashreplace")
        self.found.append(Changed(path=name, kind=kind if name == path else "other", size=size))
        if len(self.found) > MAX_CHANGES:
            raise CarboyError("There are too many changes to be shown", "Look into the copy itself", "workspace")

    def _one(self, old: int | None, new: int, name: str, path: str, depth: int) -> None:
        info, former = _status(new, name), None if old is None else _status(old, name)
        if stat.S_ISDIR(info.st_mode):
            self._folder(old if former is not None and stat.S_ISDIR(former.st_mode) else None, new, name, path, depth)
        elif stat.S_ISREG(info.st_mode):
            if old is None or former is None or not stat.S_ISREG(former.st_mode):
                _readable(new, name)
                self._tell(path, "added", info.st_size)
            elif not _same(old, new, name, former, info):
                self._tell(path, "changed", info.st_size)
        elif stat.S_ISLNK(info.st_mode):
            same = former is not None and stat.S_ISLNK(former.st_mode)
            if not (same and os.readlink(name, dir_fd=old) == os.readlink(name, dir_fd=new)):
                self._tell(path, "link")
        else:
            self._tell(path, "other")

    def _folder(self, old: int | None, new: int, name: str, path: str, depth: int) -> None:
        if self._skip(path):
            return
        if depth >= MAX_DEPTH:
            self._tell(path, "other")
            return
        with _opened(new, name, _FOLDER) as below:
            if old is None:
                self.folders(None, below, path + "/", depth + 1)
            else:
                with _opened(old, name, _FOLDER) as below_old:
                    self.folders(below_old, below, path + "/", depth + 1)

    def _gone(self, parent: int, name: str, path: str, depth: int) -> None:
        info = _status(parent, name)
        if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
            if stat.S_ISREG(info.st_mode):
                _readable(parent, name)
            self._tell(path, "removed", info.st_size)
        elif not stat.S_ISDIR(info.st_mode):
            self._tell(path, "other")
        elif not self._skip(path):
            if depth >= MAX_DEPTH:
                self._tell(path, "other")
                return
            with _opened(parent, name, _FOLDER) as below:
                for inner in sorted(os.listdir(below)):
                    with self._entry(f"{path}/{inner}"):
                        self._gone(below, inner, f"{path}/{inner}", depth + 1)


def _readable(folder: int, name: str) -> None:
    """Raises OSError for what no copy can hold: that only one side has it is nobody's doing."""
    with _opened(folder, name, _FILE):
        pass


def _status(folder: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _same(old: int, new: int, name: str, before: os.stat_result, after: os.stat_result) -> bool:
    if before.st_size != after.st_size or (before.st_mode ^ after.st_mode) & 0o111:
        return False
    with _opened(old, name, _FILE) as one, _opened(new, name, _FILE) as other:
        while True:
            left, right = os.read(one, _CHUNK), os.read(other, _CHUNK)
            if left != right:
                return False
            if not left:
                return True


# --- one file -------------------------------------------------------------------------------------------------------


def text_diff(project: Path, copy: Path, path: str) -> str:
    """One file's changes as unified diff, printable; in words where it is no text or too large. Raises NotFound where
    neither tree has anything at `path`."""
    if not (_there(project, path) or _there(copy, path)):
        text = f"There is no {printable(path, 200)}, neither before nor after"
        raise NotFound(text, "Write it relative to the project", "no_such_file")
    before, after = _content(project, path), _content(copy, path)
    if before is None or after is None:
        return f"{printable(path, 400)}: too large to be shown\n"
    if b"\0" in before or b"\0" in after:
        return f"{printable(path, 400)}: not text ({len(before)} → {len(after)} bytes)\n"
    old, new = (data.decode(errors="replace").splitlines() for data in (before, after))
    if max(len(old), len(new)) > MAX_LINES:
        return f"{printable(path, 400)}: too long to be shown\n"
    return "".join(printable(line, 2000) + "\n" for line in unified(old, new, path))


def _there(root: Path, path: str) -> bool:
    """Whether there is anything at `path`, be it a link or what cannot be opened."""
    with _root(root) as folder:
        try:
            os.close(mounts.open_beneath(folder, _checked(path), os.O_PATH | os.O_NOFOLLOW))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
    return True


def _content(root: Path, path: str) -> bytes | None:
    """Empty where there is no such file; None where it is too large."""
    with _root(root) as folder:
        try:
            fd = mounts.open_beneath(folder, _checked(path), _FILE)
        except OSError:
            return b""
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # nor can a folder be opened below
            os.close(fd)
            return b""
        with open(fd, "rb") as file:
            data = file.read(MAX_TEXT + 1)
    return data if len(data) <= MAX_TEXT else None


# --- bringing back --------------------------------------------------------------------------------------------------


def covered(path: str, masks: Iterable[Mask]) -> bool:
    """Whether a mask lies over it: the bottle cannot have changed it, or was shown something else. Pure."""
    folded = path.casefold()
    closed = (mask.path.casefold() for mask in masks if mask.mode != "allow")
    return any(folded == mask or folded.startswith(mask + "/") for mask in closed)


def pull(
    project: Path, copy: Path, wanted: Iterable[str], masks: Iterable[Mask], *, delete: bool,
    skip: Skip = lambda _: False, trusted: bool = False,
) -> Brought:  # fmt: skip
    """Bring changes back: all, or those at or below the `wanted` paths. What a mask covers stays as it is; so do nested
    repositories' own data, unless `copy` is `trusted`. Raises CarboyError, and has changed nothing, where nothing
    differs at one of the paths."""
    names, masks = [_checked(path) for path in wanted], tuple(masks)
    written, removed, left = list[str](), list[str](), list[str]()
    found = changes(project, copy, skip)
    for name in names:
        if not any(_at(change.path, name) for change in found):
            raise CarboyError(f"Nothing differs at {printable(name, 200)}", _differing(found), "workspace")
    with _root(project) as target, _root(copy) as source:
        for change in found:
            path = change.path
            if names and not any(_at(path, name) for name in names):
                continue
            if covered(path, masks):
                left.append(f"{path}: masked in the bottle")
            elif not trusted and LEFT_OUT in path.casefold().split("/"):
                left.append(f"{path}: a repository's own data, which can name programs that git runs")
            elif change.kind in ("link", "other"):
                left.append(f"{path}: {'a link' if change.kind == 'link' else 'no file that can be read'}")
            elif change.kind == "removed" and not delete:
                left.append(f"{path}: removed in the bottle (--delete)")
            else:
                try:
                    _bring(source, target, change)
                except OSError as error:
                    left.append(f"{path}: {error.strerror}")
                else:
                    (removed if change.kind == "removed" else written).append(path)
    return Brought(written=tuple(written), removed=tuple(removed), left=tuple(left))


def _at(path: str, name: str) -> bool:
    return path == name or path.startswith(name + "/")


def _differing(found: list[Changed]) -> str:
    """What could have been meant."""
    if not found:
        return "No file has changed"
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"Changed: {', '.join(printable(change.path, 100) for change in found[:MOST_NAMED])}{more}"


def _bring(source: int, target: int, change: Changed) -> None:
    parent, _, name = change.path.rpartition("/")
    with _made(target, parent) as folder:
        if change.kind == "removed":
            os.unlink(name, dir_fd=folder)
            return
        fd = mounts.open_beneath(source, change.path, _FILE)
        with open(fd, "rb"):
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise OSError(0, "no file")
            temporary = f".{secrets.token_hex(8)}.carboy"
            new = mounts.open_beneath(folder, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with open(new, "wb"):
                    copy_content(fd, new, info.st_size)
                    os.fchmod(new, 0o755 if info.st_mode & 0o100 else 0o644)
                    if os.geteuid() == 0:  # as its new folder's owner
                        owner = os.fstat(folder)
                        os.fchown(new, owner.st_uid, owner.st_gid)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise


@contextlib.contextmanager
def _made(root: int, path: str) -> Iterator[int]:
    """The folder below `root`, made where it is missing; past no link."""
    current = os.dup(root)
    try:
        for part in filter(None, path.split("/")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=current)
                if os.geteuid() == 0:
                    owner = os.fstat(current)
                    os.chown(part, owner.st_uid, owner.st_gid, dir_fd=current, follow_symlinks=False)
            deeper = mounts.open_beneath(current, part, _FOLDER)
            os.close(current)
            current = deeper
        yield current
    finally:
        os.close(current)


def _checked(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts or "\0" in path:
        raise CarboyError(f"Not a path in the project: {path[:200]!r}", "Write it relative to the project", "workspace")
    return "/".join(parts)


@contextlib.contextmanager
def _root(path: Path) -> Iterator[int]:
    fd = os.open(path, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(parent: int, name: str, flags: int) -> Iterator[int]:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)
