"""Listing and reading manifest files: the operator's own folder, and a project's `.carboy/agents`.

It opens regular files only and within fixed bounds. Below a project no symbolic link is followed at any step: the
text becomes a prompt inside a bottle, and a link would carry a host file in there.
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.core.frontmatter import MAX_FILE
from app.core.manifest import AgentFile, BottleFile, parse_agent, parse_bottle
from app.core.schema import NAME_PATTERN
from app.errors import ConfigError
from app.files import NotAFile, TooLarge, read_bounded
from app.manifests.suffixes import shared_domain
from app.paths import Paths

MAX_FILES = 1000
"""Of one folder. More is a folder that was not meant for us."""
MAX_PROJECT_FILES = 200
MAX_ENTRIES = 10_000
"""Directory entries that are looked at, whatever their names."""
MAX_WARNINGS = 50
MAX_NAME = 63

_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class Listing:
    """Manifest names of one folder in order; `warnings` say what was passed over."""

    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def valid_name(name: str) -> bool:
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def list_home(folder: Path) -> Listing:
    """What lies in one of the operator's folders. A missing folder is an empty one."""
    try:
        return _sort(_entries(folder), str(folder), MAX_FILES)
    except FileNotFoundError:
        return Listing()
    except OSError as error:
        return Listing(warnings=(f"{folder} cannot be read: {error.strerror}",))


def list_project(project: Path) -> Listing:
    """Names of the agents that a project brings, and warnings about what it brings beyond them."""
    warnings = list(_project_bottles(project))
    try:
        with _project_folder(project, "agents") as folder:
            found = _sort(_entries(folder), str(project / ".carboy" / "agents"), MAX_PROJECT_FILES)
    except FileNotFoundError:
        return Listing(warnings=tuple(warnings))
    except OSError as error:
        place = project / ".carboy" / "agents"
        return Listing(warnings=(*warnings, f"{place} is ignored: {_link_or_reason(error)}"))
    return Listing(found.names, (*warnings, *found.warnings))


def read_bottle(paths: Paths, name: str) -> BottleFile | None:
    """The bottle of that name, None if there is none. Raises ConfigError for a broken one."""
    file = paths.bottles / f"{name}.md"
    if not valid_name(name):
        return None
    data = _read_home(file)
    if data is None:
        return None
    return _with_dockerfile(parse_bottle(data, name, str(file), shared_domain), file.parent)


def read_home_agent(paths: Paths, name: str) -> AgentFile | None:
    """The operator's agent of that name. Raises ConfigError for a broken one."""
    file = paths.agents / f"{name}.md"
    data = _read_home(file) if valid_name(name) else None
    return None if data is None else parse_agent(data, name, str(file))


def read_project_agent(project: Path, name: str) -> AgentFile | None:
    """The project's agent of that name, with the digest that the operator confirms."""
    file = str(project / ".carboy" / "agents" / f"{name}.md")
    if not valid_name(name):
        return None
    try:
        with _project_folder(project, "agents") as folder:
            data = read_bounded(f"{name}.md", MAX_FILE, folder=folder, follow=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(error, file) from None
    return parse_agent(data, name, file, origin="project", digest=digest(name, data))


def digest(name: str, data: bytes) -> str:
    """What a confirmation is bound to: the content, and the name, since a name can take another agent's place."""
    return hashlib.sha256(name.encode() + b"\0" + data).hexdigest()


def _with_dockerfile(parsed: BottleFile, folder: Path) -> BottleFile:
    """The Dockerfile must exist; relative paths count from the bottle file's folder."""
    provider = parsed.bottle.agent_provider
    if provider.dockerfile is None:
        return parsed
    file = folder / os.path.expanduser(provider.dockerfile)
    if not file.is_file():
        hint = "Correct the path: it is absolute, begins with ~, or counts from the bottle file's folder"
        raise parsed.fault(f"there is no Dockerfile at {file}", hint, ("agent_provider", "dockerfile"))
    changed = parsed.bottle.model_copy(update={"agent_provider": provider.model_copy(update={"dockerfile": str(file)})})
    return BottleFile(parsed.name, parsed.file, changed, parsed.notes, parsed.document)


def _read_home(file: Path) -> bytes | None:
    try:
        return read_bounded(file, MAX_FILE)
    except FileNotFoundError:
        if file.is_symlink():  # its name is listed: "there is none of that name" would deny what one sees
            message = f"the link leads nowhere: there is no {_plain(os.readlink(file))}"
            raise ConfigError(message, "Put the file there, or remove the link", file=str(file)) from None
        return None
    except OSError as error:
        raise _unreadable(error, str(file)) from None


def _unreadable(error: OSError, file: str) -> ConfigError:
    if isinstance(error, TooLarge):
        hint = "Shorten it: long reference text belongs in the project or in a skill"
        return ConfigError(f"the file is larger than {MAX_FILE // 1024} KiB", hint, file=file)
    if isinstance(error, NotAFile):
        return ConfigError("not a regular file", "Put a text file there", file=file)
    return ConfigError(f"cannot be read: {_link_or_reason(error)}", "Check the file and its permissions", file=file)


def _link_or_reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
        return "it is a symbolic link or not a folder"
    return error.strerror or type(error).__name__


@contextmanager
def _project_folder(project: Path, name: str) -> Iterator[int]:
    """A descriptor of `<project>/.carboy/<name>`, opened step by step without following a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    root = os.open(project, flags & ~os.O_NOFOLLOW)
    try:
        ours = os.open(".carboy", flags, dir_fd=root)
        try:
            folder = os.open(name, flags, dir_fd=ours)
        finally:
            os.close(ours)
    finally:
        os.close(root)
    try:
        yield folder
    finally:
        os.close(folder)


def _project_bottles(project: Path) -> Iterator[str]:
    try:
        with _project_folder(project, "bottles") as folder:
            names = sorted(_entries(folder))
    except OSError:
        return
    place = project / ".carboy" / "bottles"
    shown = ", ".join(_plain(name) for name in names[:10]) + (" …" if len(names) > 10 else "")
    if names:
        yield f"{place} is ignored ({shown}): a project must not widen its own sandbox; bottles lie in your own folder"


def _entries(folder: Path | int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, MAX_ENTRIES)]


def _sort(files: list[str], place: str, most: int) -> Listing:
    """Names of manifests among the files of a folder; what begins with a dot is nobody's business."""
    names: list[str] = []
    warnings: list[str] = []
    for file in sorted(file for file in files if not file.startswith(".")):
        stem = file.removesuffix(".md")
        if stem == file:
            warnings.append(f"{place}/{_plain(file)} is skipped: its name does not end in .md")
        elif not valid_name(stem):
            why = "a name has lower case letters, digits and hyphens, begins with a letter, and at most 63 characters"
            warnings.append(f"{place}/{_plain(file)} is skipped: {why}")
        else:
            names.append(stem)
    if len(names) > most:
        warnings.insert(0, f"{place} holds {len(names)} files; only the first {most} are listed")
    return Listing(tuple(names[:most]), tuple(warnings[:MAX_WARNINGS]))


def _plain(name: str) -> str:
    """A file name that may hold anything, for a message."""
    return "".join(char if char.isprintable() else "?" for char in name[:100])
